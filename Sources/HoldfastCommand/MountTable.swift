/// The mounts this process sees: /proc/self/mountinfo, field by field (proc_pid_mountinfo(5)).

import Glibc

public struct MountEntry: Equatable, Sendable {
  public var device: String
  /// The directory within the filesystem that forms this mount's root.
  public var root: String
  public var mountPoint: String
  public var options: [String]
  public var type: String
  public var source: String
  public var superOptions: [String]

  public var isHoldfast: Bool { type == "fuse.holdfast" || type == "fuseblk.holdfast" }
}

public struct MountTable: Sendable {
  /// In mount order: of two entries for one directory the later one is on top.
  public var entries: [MountEntry]

  public static func current() throws(CommandError) -> MountTable {
    MountTable(parsing: try TextFile.read("/proc/self/mountinfo"))
  }

  public init(parsing text: String) {
    entries = text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
      guard fields.count >= 10, let separator = fields[6...].firstIndex(of: "-"), separator + 3 < fields.count
      else { return nil }
      return MountEntry(
        device: fields[2], root: Self.unescape(fields[3]), mountPoint: Self.unescape(fields[4]),
        options: fields[5].split(separator: ",").map(String.init), type: fields[separator + 1],
        source: Self.unescape(fields[separator + 2]),
        superOptions: fields[separator + 3].split(separator: ",").map(String.init))
    }
  }

  /// The Holdfast mount whose root is exactly `directory` (an absolute path without symlinks).
  public func holdfast(at directory: String) -> MountEntry? {
    guard let top = entries.last(where: { $0.mountPoint == directory }), top.isHoldfast else { return nil }
    return top
  }

  /// The Holdfast mounts of the image at `path` (absolute, without symlinks), be it by another name of the file.
  public func holdfast(ofImage path: String) -> [MountEntry] {
    let file = Self.identity(of: path)
    return entries.filter { entry in
      entry.isHoldfast && (entry.source == path || file != nil && Self.identity(of: entry.source) == file)
    }
  }

  private static func identity(of path: String) -> [UInt64]? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return [UInt64(status.st_dev), UInt64(status.st_ino)]
  }

  public var holdfastMounts: [MountEntry] { entries.filter(\.isHoldfast) }

  /// `\040` and its like back to bytes.
  static func unescape(_ field: String) -> String {
    guard field.utf8.contains(UInt8(ascii: "\\")) else { return field }
    var bytes: [UInt8] = []
    var rest = Array(field.utf8)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest.removeFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
