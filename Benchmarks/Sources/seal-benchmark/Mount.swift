/// The same on a mount: system calls as programs make them.

import BenchmarkSupport
import CPlatform
import Foundation
import HoldfastClient

/// A row of the table: median and slowest of a hundred, and the median's ratio to the unit of the table.
private func row(_ what: String, _ samples: Samples, unit: Samples) {
  guard let p50 = samples.percentile(50), let p99 = samples.percentile(99), let base = unit.percentile(50) else {
    return
  }
  func microseconds(_ value: UInt64) -> String { "\(Double(value / 100) / 10) us" }
  let ratio = Double(p50 * 100 / max(base, 1)) / 100
  let name = what + String(repeating: " ", count: max(1, 52 - what.count))
  print("\(name)p50 \(microseconds(p50))   p99 \(microseconds(p99))   \(ratio) x")
}

private func run(_ command: String) -> Int32 { system(command) }

/// FS_IOC_GETFLAGS: an ioctl that does nothing.
private let getFlags: UInt = 0x8008_6601

/// Files that are opened and sealed by turns; the last one is nobody's.
private struct Bench {
  let folder: String
  private let sealed: Int32
  private let plain: Int32
  private let appended: Int32
  private let page = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)

  init(_ folder: String) {
    self.folder = folder
    sealed = open("\(folder)/sealed", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    plain = open("\(folder)/plain", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    appended = open("\(folder)/appended", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    memset(page, 1, 4096)
    for file in [sealed, plain, appended] {
      for block in 0..<16 { precondition(pwrite(file, page, 4096, off_t(block * 4096)) == 4096) }
      fsync(file)
    }
  }

  func end() {
    for file in [sealed, plain, appended] { close(file) }
    page.deallocate()
  }

  /// A daemon that was idle answers its first call late: that one is nobody's. And a seal makes durable what was written
  /// before: that is the writer's.
  func wake() throws {
    try OpenFile(folder).syncMount()
    var flags: Int = 0
    for _ in 0..<3 { _ = ioctl(sealed, getFlags, &flags) }
  }

  func emptyIoctl(_ samples: inout Samples) {
    var flags: Int = 0
    samples.add { _ = ioctl(sealed, getFlags, &flags) }
  }

  func byIoctl(_ acquire: inout Samples, _ release: inout Samples) throws {
    let file = try OpenFile("\(folder)/sealed")
    var request = SealRequest()
    request.kind = .breakable(graceSeconds: 30)
    try acquire.add { try file.seal(request) }
    try release.add { try file.unseal() }
  }

  func byAttribute(_ acquire: inout Samples, _ release: inout Samples) {
    acquire.add { precondition(fsetxattr(sealed, "holdfast.seal", "1", 1, 0) == 0) }
    release.add { precondition(fremovexattr(sealed, "holdfast.seal") == 0) }
  }

  func status(_ samples: inout Samples) throws {
    let file = try OpenFile("\(folder)/sealed")
    try samples.add { _ = try file.recallStatus() }
  }

  func overwrite(_ samples: inout Samples, _ index: Int) {
    samples.add { precondition(pwrite(plain, page, 4096, off_t(index % 16 * 4096)) == 4096) }
  }

  func append(_ samples: inout Samples) { samples.add { precondition(write(appended, page, 4096) == 4096) } }

  func openAndClose(_ samples: inout Samples) { samples.add { close(open("\(folder)/plain", O_RDONLY | O_CLOEXEC)) } }

  /// From POLLPRI on to the answer the one who waited gets.
  func recall(_ samples: inout Samples, toPoll: inout Samples) throws {
    let path = "\(folder)/recalled"
    let breaker = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    defer { close(breaker) }
    precondition(pwrite(breaker, page, 4096, 0) == 4096)
    let file = try OpenFile(path)
    var request = SealRequest()
    request.kind = .breakable(graceSeconds: 30)
    try file.seal(request)
    nonisolated(unsafe) var answered: UInt64 = 0
    nonisolated(unsafe) var asked: UInt64 = 0
    let done = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      asked = now()
      precondition(ftruncate(breaker, 0) == 0)
      answered = now()
      done.signal()
    }
    var waiting = pollfd(fd: file.descriptor, events: Int16(POLLPRI), revents: 0)
    precondition(poll(&waiting, 1, 10_000) == 1)
    let told = now()
    try file.unseal()
    done.wait()
    samples.add(answered - told)
    toPoll.add(told - asked)
  }
}

/// So many files, each with a seal or none.
private func makeMany(_ count: Int, _ folder: String, sealed: Bool) {
  mkdir(folder, 0o755)
  for index in 0..<count {
    let file = open("\(folder)/f\(index)", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    let isSealed = !sealed || fsetxattr(file, "holdfast.seal", "as-is", 5, 0) == 0
    precondition(file >= 0 && isSealed, "sealing file \(index)")
    close(file)
  }
}

func benchmarkMount(program: String) throws {
  // Two mounts side by side, so that both sides of a ratio are of the same minute.
  let base = "/dev/shm/holdfast-seal-benchmark-\(getpid())"
  let many = 100_000
  mkdir(base, 0o755)
  defer { _ = run("rm -rf \(base)") }
  var benches: [Bench] = []
  defer {
    for bench in benches { bench.end() }
    for name in ["none", "many"] { _ = run("\(program) unmount \(base)/\(name) >/dev/null 2>&1") }
  }
  for name in ["none", "many"] {
    mkdir("\(base)/\(name)", 0o755)
    let image = "\(base)/\(name).img"
    let status = run("\(program) mkfs \(image) --size 256M >/dev/null && \(program) mount \(image) \(base)/\(name)")
    precondition(status == 0, "cannot mount \(image)")
    benches.append(Bench("\(base)/\(name)"))
  }
  let start = now()
  makeMany(many, "\(base)/many/others", sealed: true)
  print("\(many) files made and sealed as they are: \((now() - start) / UInt64(many) / 1000) us each")
  makeMany(many, "\(base)/none/others", sealed: false)
  try compare(benches[0], benches[1], many)
}

private func compare(_ none: Bench, _ many: Bench, _ count: Int) throws {
  var empty = Samples()
  var status = Samples()
  var acquire = [Samples(), Samples()]
  var release = [Samples(), Samples()]
  var attribute = [Samples(), Samples()]
  var removal = [Samples(), Samples()]
  var overwrites = [Samples(), Samples()]
  var appends = [Samples(), Samples()]
  var opens = [Samples(), Samples()]
  var recalls = [Samples(), Samples()]
  var polls = [Samples(), Samples()]
  for round in 0..<3000 {
    try none.wake()
    none.emptyIoctl(&empty)
    try none.status(&status)
    // By turns who comes first.
    for side in round % 2 == 0 ? [0, 1] : [1, 0] {
      let bench = side == 0 ? none : many
      try bench.wake()
      try bench.byIoctl(&acquire[side], &release[side])
      bench.byAttribute(&attribute[side], &removal[side])
      bench.overwrite(&overwrites[side], round)
      bench.append(&appends[side])
      bench.openAndClose(&opens[side])
      if round % 10 == 0 { try bench.recall(&recalls[side], toPoll: &polls[side]) }
    }
  }
  print("ratios to FS_IOC_GETFLAGS; a seal's limit is 3")
  row("FS_IOC_GETFLAGS", empty, unit: empty)
  row("RECALL_STATUS", status, unit: empty)
  row("SEAL ioctl", acquire[0], unit: empty)
  row("UNSEAL ioctl", release[0], unit: empty)
  row("setfattr holdfast.seal", attribute[0], unit: empty)
  row("removexattr holdfast.seal", removal[0], unit: empty)
  row("truncate begins to POLLPRI at the holder", polls[0], unit: empty)
  row("POLLPRI, UNSEAL, truncate answered", recalls[0], unit: empty)
  print("with \(count) other seals on the mount; ratios to the same without them")
  let rows = [
    ("SEAL ioctl", acquire), ("UNSEAL ioctl", release), ("setfattr holdfast.seal", attribute),
    ("POLLPRI, UNSEAL, truncate answered", recalls), ("overwrite 4 KiB of an unsealed file", overwrites),
    ("append 4 KiB to an unsealed file", appends), ("open and close an unsealed file", opens),
  ]
  for (what, sides) in rows { row(what, sides[1], unit: sides[0]) }
}
