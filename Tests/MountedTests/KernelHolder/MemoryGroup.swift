/// A memory control group for one process, by which its memory is really given up. MADV_PAGEOUT alone writes pages to swap
/// and leaves them in the swap cache, where reading them again asks no device.

import CMountedSupport
import Glibc

final class MemoryGroup {
  private let folder: String
  private let isVersion2: Bool

  /// nil where there are no such groups.
  init?() {
    let name = "holdfast-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    if access("/sys/fs/cgroup/memory/memory.limit_in_bytes", F_OK) == 0 {
      folder = "/sys/fs/cgroup/memory/\(name)"
      isVersion2 = false
    } else {
      folder = "/sys/fs/cgroup/\(name)"
      isVersion2 = true
    }
    guard mkdir(folder, 0o755) == 0 else { return nil }
    guard access("\(folder)/\(isVersion2 ? "memory.reclaim" : "memory.limit_in_bytes")", W_OK) == 0 else {
      rmdir(folder)
      return nil
    }
  }

  deinit { remove() }

  /// What the process allocates from now on is the group's.
  func add(_ process: pid_t) throws { try write("\(process)", to: "cgroup.procs") }

  /// As much of it as there is goes.
  func reclaim() {
    if isVersion2 {
      try? write("1G", to: "memory.reclaim")
    } else {
      try? write("\(1 << 20)", to: "memory.limit_in_bytes")
      try? write("-1", to: "memory.limit_in_bytes")
    }
  }

  /// After the process has ended.
  func remove() { _ = eventually(within: 5) { rmdir(folder) == 0 || errno == ENOENT } }

  private func write(_ text: String, to name: String) throws(Errno) {
    let file = try Path("\(folder)/\(name)").open(O_WRONLY)
    defer { file.close() }
    try file.write(Array(text.utf8))
  }
}
