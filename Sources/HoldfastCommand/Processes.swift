/// What /proc tells of other processes: who runs a file, who keeps a mount busy.

import Glibc

public enum Processes {
  /// Those whose program is the file `device`:`inode` (as stat(2) names it). Processes we may not look at are not seen.
  public static func running(device: UInt64, inode: UInt64) -> [RunningProgram] {
    all.filter { isFile("/proc/\($0)/exe", device, inode) }.map { RunningProgram(pid: $0, command: command(of: $0)) }
  }

  /// Those with an open file, working directory, root or program on the filesystem `device`; at most `limit`.
  public static func using(device: UInt64, limit: Int) -> [RunningProgram] {
    var users: [RunningProgram] = []
    for pid in all where users.count < limit {
      let links =
        ["cwd", "root", "exe"].map { "/proc/\(pid)/\($0)" }
        + names(in: "/proc/\(pid)/fd").map { "/proc/\(pid)/fd/\($0)" }
      if links.contains(where: { isOn($0, device) }) {
        users.append(RunningProgram(pid: pid, command: command(of: pid)))
      }
    }
    return users
  }

  public static func command(of pid: Int32) -> String {
    let name = (try? TextFile.read("/proc/\(pid)/comm")) ?? ""
    return name.split(separator: "\n").first.map(String.init) ?? "?"
  }

  private static var all: [Int32] { names(in: "/proc").compactMap { Int32($0) } }

  /// Entries of a directory but "." and ".."; none where it cannot be read.
  public static func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  private static func isFile(_ path: String, _ device: UInt64, _ inode: UInt64) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && UInt64(status.st_dev) == device && UInt64(status.st_ino) == inode
  }

  private static func isOn(_ path: String, _ device: UInt64) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && UInt64(status.st_dev) == device
  }
}
