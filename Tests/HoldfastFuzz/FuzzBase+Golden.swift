/// What the golden tests ask of an image.

import HoldfastBase
import HoldfastFormat
import HoldfastStore

extension FuzzBase {
  /// The kinds of records and nodes in tree and journal, by name.
  public var recordKinds: Set<String> {
    var kinds: Set<String> = structure.journal.isEmpty ? [] : ["journal"]
    for node in structure.internals { kinds.insert("internal level \(BlockHeader.level(memory.block(node)))") }
    for record in structure.allRecords(memory) { kinds.formUnion(Self.kinds(record)) }
    return kinds
  }

  private static func kinds(_ record: TreeRecord) -> [String] {
    guard let space = record.key.space else { return ["unknown space"] }
    return record.value.withUnsafeBytes { value in
      switch (space, record.key.type) {
      case (.orphan, _): ["orphan " + (OrphanRecord(decoding: value).map { "\($0.kind)" } ?? "damaged")]
      case (.file, .inode):
        ["inode", "inode " + (InodeRecord(decoding: value)?.fileType.map { "\($0)" } ?? "damaged")]
      case (.file, .extent):
        ExtentRecord(decoding: value).map { $0.flags == .unwritten ? ["extent unwritten"] : ["extent"] } ?? ["damaged"]
      case (.file, .dirent):
        record.key.offset & (1 << NameHash.direntCollisionBits - 1) > 0 ? ["dirent", "colliding dirent"] : ["dirent"]
      case (.file, .xattr): xattrKinds(record.key)
      case (.file, .symlink): record.key.offset > 0 ? ["symlink piece"] : ["symlink"]
      case (.file, nil): ["unknown type"]
      default: ["\(space)"]
      }
    }
  }

  private static func xattrKinds(_ key: Key) -> [String] {
    let piece = key.offset & (1 << NameHash.xattrPieceBits - 1)
    let collision = key.offset >> NameHash.xattrPieceBits & (1 << NameHash.xattrCollisionBits - 1)
    return [piece > 0 ? "xattr piece" : "xattr"] + (collision > 0 ? ["colliding xattr"] : [])
  }

  /// Makes, writes, renames, removes and checkpoints; leaves `/new folder/new file`.
  public static func exercise(_ store: Store) throws {
    let root = Journey.caller
    let folder = try store.make(0o040755, Array("new folder".utf8), in: RootDirectory.inode, by: root)
    let file = try store.make(0o100644, Array("new file".utf8), in: folder, by: root)
    try store.write(file, [UInt8](repeating: 0x6e, count: 300_000), at: 5000, by: root)
    try store.truncate(file, to: 200_000, by: root)
    try store.setXattr("user.new", of: file, to: [UInt8](repeating: 1, count: 3000), by: root)
    try store.syncAll()
    let files = try store.find(Array("files".utf8), in: RootDirectory.inode)
    try store.write(try store.find(Array("plain".utf8), in: files), [1, 2, 3], at: 100, by: root)
    try store.unlink(Array("pieces".utf8), in: files)
    let colliding = try store.find(Array("colliding".utf8), in: RootDirectory.inode)
    try store.unlink(Array("n08bd4e0".utf8), in: colliding)
    _ = try store.find(Array("n144a233".utf8), in: colliding)
    _ = try store.make(0o100644, Array("n81a9676".utf8), in: colliding, by: root)
    try store.housekeep()
  }
}
