import HoldfastBase
import HoldfastFormat
import HoldfastStore

/// What a user sees of a volume: every path with its inode and all that can be read of it.
struct VolumeDump: Equatable {
  struct File: Equatable {
    var inode: InodeNumber
    /// Type, permissions, size, and a digest of content, target and attributes.
    var text: String
  }

  private(set) var files: [String: File] = [:]

  /// Reads the volume on `device` through the engine, mounted read-only.
  init(_ device: MemoryDevice) throws {
    var options = StoreOptions()
    options.backgroundThread = false
    options.readOnly = true
    let store = try Store(mounting: device, options: options)
    var directories: [(inode: InodeNumber, path: String)] = [(RootDirectory.inode, "")]
    files["/"] = File(inode: 1, text: try Self.text(store, RootDirectory.inode, .directory))
    while let (directory, path) = directories.popLast() {
      var entries: [(inode: InodeNumber, type: FileType, path: String)] = []
      try store.readDirectory(directory, after: 0) {
        let name = String(decoding: $0.name, as: UTF8.self)
        if name != "." && name != ".." { entries.append(($0.inode, $0.type, "\(path)/\(name)")) }
        return true
      }
      for entry in entries {
        files[entry.path] = File(inode: entry.inode, text: try Self.text(store, entry.inode, entry.type))
        if entry.type == .directory { directories.append((entry.inode, entry.path)) }
      }
    }
  }

  private static func text(_ store: Store, _ inode: InodeNumber, _ type: FileType) throws -> String {
    let record = try store.attributes(of: inode).record
    var digest = Digest()
    digest.add(try store.listXattrs(of: inode))
    for name in try store.listXattrs(of: inode).split(separator: 0) {
      digest.add(try Array(name).withUnsafeBytes { try store.xattr($0, of: inode) })
    }
    if type == .symlink { digest.add(try store.readSymlink(inode)) }
    if type == .regular {
      var buffer = [UInt8](repeating: 0, count: Int(min(record.size, 1 << 20)))
      _ = try buffer.withUnsafeMutableBytes { try store.read(inode, into: $0, at: 0) }
      digest.add(buffer)
    }
    let size = type == .directory ? 0 : record.size
    return "\(type) mode \(String(record.mode, radix: 8)) size \(size) digest \(digest.value)"
  }

  /// FNV-1a.
  private struct Digest {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325
    mutating func add(_ bytes: [UInt8]) { for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 } }
  }
}
