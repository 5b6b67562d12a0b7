/// Removing a folder with everything in it; a check, too: every listed name must lead somewhere, and a directory
/// whose names are gone must go.

import Glibc

enum FolderRemoval {
  static func remove(_ folder: [UInt8]) throws(StressFailure) {
    for name in try names(in: folder) {
      let path = folder + [UInt8(ascii: "/")] + name
      var status = stat()
      guard call(path, { lstat($0, &status) }) == 0 else { throw failure("a listed name cannot be found", path) }
      if status.st_mode & S_IFMT == S_IFDIR {
        try remove(path)
      } else if call(path, { unlink($0) }) != 0 {
        throw failure("cannot unlink", path)
      }
    }
    guard call(folder, { rmdir($0) }) == 0 else { throw failure("cannot remove", folder) }
  }

  private static func names(in folder: [UInt8]) throws(StressFailure) -> [[UInt8]] {
    var directory: OpaquePointer?
    _ = call(folder) { path in
      directory = opendir(path)
      return 0
    }
    guard let directory else { throw failure("cannot open", folder) }
    defer { closedir(directory) }
    var names: [[UInt8]] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      if name != [0x2e], name != [0x2e, 0x2e] { names.append(name) }
    }
    return names
  }

  private static func call(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Int32) -> Int32 {
    (path + [0]).withUnsafeBytes { body($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
  }

  private static func failure(_ what: String, _ path: [UInt8]) -> StressFailure {
    StressFailure(.outcome, "\(what): \(String(decoding: path, as: UTF8.self)): \(errnoName(errno))")
  }
}
