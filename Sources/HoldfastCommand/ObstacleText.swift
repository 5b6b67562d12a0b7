/// What was in the way of a shrink, in words.

import HoldfastBase
import HoldfastClient

extension VolumeResize.Obstacle {
  /// One line: which file, which bytes of it, because of whom. `path` nil: it has none, or none was found.
  public func line(path: String?) -> String {
    let file = path.map { "\($0.printable) (inode \(inode))" } ?? "inode \(inode)"
    let part = length == 0 ? "" : ", bytes \(offset) to \(offset + length - 1)"
    return "\(file)\(part): \(cause)"
  }

  private var cause: String {
    switch reason {
    case .request(let name):
      "\(name.isEmpty ? "sealed" : "sealed by request '\(name.printable)'")\(process.map { ", \($0)" } ?? ""), uid \(uid)"
    case .holder: "\(process ?? "a process") may store into its blocks directly"
    case .quarantine: "blocks that left it, where \(process ?? "a process") may still store directly"
    }
  }

  private var process: String? {
    guard pid > 0 else { return nil }
    return command.isEmpty ? "process \(pid)" : "process \(pid) (\(command.printable))"
  }
}

extension VolumeResize {
  /// A size that can be given to the command again, and what it is in words: `43520K (42.5 MiB)`. Volumes have whole blocks.
  public static func exact(_ bytes: UInt64) -> String { "\(bytes / 1024)K (\(ByteSize(bytes: bytes)))" }
}
