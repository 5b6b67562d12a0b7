/// The regular files below a directory, on its filesystem: each once, however many names it has; links are not followed.

import Glibc
import HoldfastClient
import HoldfastCommand

enum FileWalk {
  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  /// A directory that cannot be read is told; what is beside it is still visited.
  static func files(below root: String, _ visit: (String) throws -> Void) throws {
    var top = stat()
    guard stat(root, &top) == 0 else { throw CommandError(root, errno: errno) }
    var linked: Set<UInt64> = []
    var pending = [root]
    while let directory = pending.popLast() {
      guard let stream = opendir(directory) else {
        complain("\(directory): \(String(cString: strerror(errno)))")
        continue
      }
      defer { closedir(stream) }
      while let entry = readdir(stream) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name == "." || name == ".." { continue }
        let path = directory.hasSuffix("/") ? directory + name : directory + "/" + name
        var status = stat()
        guard lstat(path, &status) == 0, status.st_dev == top.st_dev else { continue }
        if status.st_mode & S_IFMT == S_IFDIR {
          pending.append(path)
        } else if status.st_mode & S_IFMT == S_IFREG,
          status.st_nlink == 1 || linked.insert(UInt64(status.st_ino)).inserted
        {
          try visit(path)
        }
      }
    }
  }
}
