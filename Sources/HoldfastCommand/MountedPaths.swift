/// Names of inodes of a mount, found by going through its directories: the daemon knows numbers only.

import Glibc

public enum MountedPaths {
  /// Entries looked at: some seconds' worth. What is not found by then is told by its number.
  private static let limit = 1_000_000

  /// A path of each inode that was found below `root`, other filesystems mounted there left out.
  public static func find(_ inodes: Set<UInt64>, below root: String) -> [UInt64: String] {
    var status = stat()
    guard !inodes.isEmpty, lstat(root, &status) == 0 else { return [:] }
    let device = status.st_dev
    var found: [UInt64: String] = [:]
    var left = limit
    var directories = [root]
    while found.count < inodes.count, left > 0, let directory = directories.popLast() {
      guard lstat(directory, &status) == 0, status.st_dev == device, let stream = opendir(directory) else { continue }
      defer { closedir(stream) }
      while left > 0, let entry = readdir(stream) {
        left -= 1
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name == "." || name == ".." { continue }
        let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
        let inode = UInt64(entry.pointee.d_ino)
        if inodes.contains(inode), found[inode] == nil { found[inode] = path }
        if Int32(entry.pointee.d_type) == Int32(DT_DIR) { directories.append(path) }
      }
    }
    return found
  }
}
