/// Everything a volume holds, as text: a line an inode in the order of their paths. Two volumes with one manifest have
/// the same names, attributes, maps and contents.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

public enum Manifest {
  /// Of the volume on `device`, mounted read-only.
  public static func text(of device: BlockDevice) throws(FSError) -> String {
    var options = StoreOptions()
    options.readOnly = true
    options.backgroundThread = false
    return try text(of: try Store(mounting: device, options: options))
  }

  public static func text(of store: Store) throws(FSError) -> String {
    var lines: [String] = []
    var open: [(inode: InodeNumber, path: String)] = [(RootDirectory.inode, "/")]
    while let (inode, path) = open.popLast() {
      lines.append(try line(store, inode, path))
      guard try store.attributes(of: inode).record.isDirectory else { continue }
      var entries: [(inode: InodeNumber, name: String)] = []
      try store.readDirectory(inode, after: 2) {
        entries.append(($0.inode, String(decoding: $0.name, as: UTF8.self)))
        return true
      }
      for entry in entries.sorted(by: { $0.name < $1.name }).reversed() {
        open.append((entry.inode, path + (path == "/" ? "" : "/") + entry.name))
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func line(_ store: Store, _ inode: InodeNumber, _ path: String) throws(FSError) -> String {
    let record = try store.attributes(of: inode).record
    var words = [
      shortened(path), "inode=\(inode)", "mode=\(String(record.mode, radix: 8))", "owner=\(record.uid):\(record.gid)",
      "links=\(record.links)", "size=\(record.size)", "blocks=\(record.blocks)", "device=\(record.device)",
      "flags=\(record.flags.rawValue)", "generation=\(record.generation)", "parent=\(record.parent)",
    ]
    for (name, time) in [("m", record.modified), ("c", record.changed), ("b", record.born)] {
      words.append("\(name)time=\(time.seconds).\(time.nanoseconds)")
    }
    for extent in try store.extents(of: inode, from: 0, limit: 1000) {
      let flags = extent.flags.contains(.unwritten) ? "u" : "w"
      words.append("\(extent.logical >> 12)+\(extent.length >> 12)@\(extent.physical >> 12)\(flags)")
    }
    if record.fileType == .symlink { words.append("target=\(sum(try store.readSymlink(inode)))") }
    if record.isRegular { words.append("bytes=\(try contents(store, inode, record.size))") }
    for name in try store.listXattrs(of: inode).split(separator: 0) {
      let value = try withBytes(Array(name)) { raw throws(FSError) in try store.xattr(raw, of: inode) }
      words.append("\(String(decoding: name, as: UTF8.self))=\(value.count):\(sum(value))")
    }
    for request in store.seals.requests(of: inode) {
      words.append("seal=\(request.request.uid):\(request.request.name):\(request.request.specification.text)")
    }
    return words.joined(separator: " ")
  }

  private static func sum(_ bytes: [UInt8]) -> String { String(bytes.withUnsafeBytes { crc32c($0) }, radix: 16) }

  /// Names of 255 bytes would drown the rest.
  private static func shortened(_ path: String) -> String {
    path.utf8.count <= 80 ? path : "\(path.prefix(40))…\(path.utf8.count):\(sum(Array(path.utf8)))"
  }

  /// Checksum of a file's bytes, holes as zeros; only of a mebibyte at each end of a larger one.
  private static func contents(_ store: Store, _ inode: InodeNumber, _ size: UInt64) throws(FSError) -> String {
    let piece: UInt64 = 1 << 20
    var total: UInt32 = 0
    for offset in size > 2 * piece ? [0, size - piece] : [0, piece] where offset < size {
      var buffer = [UInt8](repeating: 0, count: Int(min(piece, size - offset)))
      let outcome = buffer.withUnsafeMutableBytes { raw -> Result<Int, FSError> in
        do throws(FSError) { return .success(try store.read(inode, into: raw, at: offset)) } catch {
          return .failure(error)
        }
      }
      _ = try outcome.get()
      total = buffer.withUnsafeBytes { crc32c($0, seed: total) }
    }
    return String(total, radix: 16)
  }
}
