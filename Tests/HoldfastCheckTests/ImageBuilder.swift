import HoldfastBase
import HoldfastFormat

/// Builds valid images record by record. Free space, its index and the superblock's totals follow from the
/// records when `settle` and `build` are called: damage what you want in between.
struct ImageBuilder {
  typealias Bytes = [UInt8]
  struct Mutation {
    var key: Key
    var value: Bytes?
  }

  var id = FilesystemID(high: 0x0011_2233_4455_4677, low: 0x8899_aabb_ccdd_eeff)
  var totalBlocks: UInt64 = 4096
  var journalBlocks: UInt64 = 1024
  var seed: UInt64 = 0x5eed
  var generation: UInt64 = 7
  /// Of all nodes: an older checkpoint wrote them.
  var nodeGeneration: UInt64 = 4
  var state: Superblock.State = []
  var nextInode: InodeNumber = 100
  var journalSequence: UInt64 = 5
  /// Near the ring's end, so that records wrap.
  var journalPosition: UInt64 = 1022
  var records: [Key: Bytes] = [:]
  /// Records of the journal, in order; each begins where the one before it ends.
  var journal: [[Mutation]] = []
  /// Records in a leaf, children in an internal node.
  var leafLimit = 10
  var fanout = 4
  /// First block no extent has taken.
  private(set) var nextData: BlockNumber

  var dataStart: BlockNumber { Geometry.journalStart + journalBlocks }
  var chunk: BlockRange { BlockRange(start: dataStart, count: 1024) }

  init() {
    nextData = Geometry.journalStart + 1024 + 1024
    records[.chunk(chunk.start)] = Self.length(chunk.count)
  }

  static func length(_ count: UInt64) -> Bytes { withUnsafeBytes(of: count.littleEndian) { Array($0) } }

  static func encoded(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Void) -> Bytes {
    var bytes = Bytes(repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { body($0.baseAddress!) }
    return bytes
  }

  // Inodes.

  mutating func inode(
    _ number: InodeNumber, _ type: FileType, links: UInt32, size: UInt64 = 0, blocks: UInt64 = 0,
    parent: InodeNumber = 0
  ) {
    var record = InodeRecord(
      mode: UInt32(type.rawValue) << 12 | 0o755, uid: 0, gid: 0, links: links, generation: 1,
      now: Timestamp(seconds: 1_700_000_000, nanoseconds: 5))
    record.size = size
    record.blocks = blocks
    record.parent = parent
    put(record, number)
  }

  mutating func put(_ record: InodeRecord, _ number: InodeNumber) {
    records[.inode(number)] = Self.encoded(InodeRecord.size) { record.encode(to: $0) }
  }

  mutating func edit(_ number: InodeNumber, _ body: (inout InodeRecord) -> Void) {
    var record = records[.inode(number)]!.withUnsafeBytes { InodeRecord(decoding: $0)! }
    body(&record)
    put(record, number)
  }

  // Names.

  func entryKey(_ name: String, in directory: InodeNumber, collision: UInt64 = 0) -> Key {
    var name = name
    return name.withUTF8 {
      .file(directory, .dirent, NameHash.dirent(UnsafeRawBufferPointer($0), seed: seed) | collision)
    }
  }

  static func entry(_ name: String, _ inode: InodeNumber, _ type: FileType) -> Bytes {
    encoded(DirentRecord.headerBytes + name.utf8.count) { p in
      _ = Bytes(name.utf8).withUnsafeBytes { DirentRecord.encode(to: p, inode: inode, type: type, name: $0) }
    }
  }

  mutating func name(
    _ name: String, in directory: InodeNumber, _ inode: InodeNumber, _ type: FileType, collision: UInt64 = 0
  ) {
    records[entryKey(name, in: directory, collision: collision)] = Self.entry(name, inode, type)
  }

  // Attributes and targets.

  func xattrKey(_ name: String, of inode: InodeNumber, collision: UInt64 = 0, piece: UInt64 = 0) -> Key {
    var name = name
    return name.withUTF8 {
      .file(inode, .xattr, NameHash.xattr(UnsafeRawBufferPointer($0), seed: seed) | collision << 8 | piece)
    }
  }

  static func firstPiece(_ name: String, valueBytes: Int, _ first: Bytes) -> Bytes {
    encoded(XattrRecord.headerBytes + name.utf8.count + first.count) { p in
      Bytes(name.utf8).withUnsafeBytes { name in
        first.withUnsafeBytes { first in
          _ = XattrRecord.encode(to: p, name: name, valueBytes: valueBytes, firstPiece: first)
        }
      }
    }
  }

  mutating func xattr(_ name: String, of inode: InodeNumber, bytes: Int, collision: UInt64 = 0) {
    let value = Bytes((0..<bytes).map { UInt8(truncatingIfNeeded: $0) })
    records[xattrKey(name, of: inode, collision: collision)] = Self.firstPiece(
      name, valueBytes: bytes, Bytes(value.prefix(Key.pieceBytes)))
    for (piece, start) in stride(from: Key.pieceBytes, to: bytes, by: Key.pieceBytes).enumerated() {
      records[xattrKey(name, of: inode, collision: collision, piece: UInt64(piece) + 1)] = Bytes(
        value[start..<min(start + Key.pieceBytes, bytes)])
    }
  }

  mutating func target(_ bytes: Int, of inode: InodeNumber) {
    for (piece, start) in stride(from: 0, to: bytes, by: Key.pieceBytes).enumerated() {
      records[.file(inode, .symlink, UInt64(piece))] = Bytes(
        repeating: 0x78, count: min(Key.pieceBytes, bytes - start))
    }
  }

  // Persistent seals.

  func sealKey(_ name: String, of inode: InodeNumber, uid: UInt32 = 1000) -> Key {
    let hashed = withUnsafeBytes(of: uid.littleEndian) { Array($0) } + Array(name.utf8)
    return Key(space: .persistentSeal, object: inode, low: hashed.withUnsafeBytes { NameHash.raw($0, seed: seed) })
  }

  mutating func seal(_ name: String, of inode: InodeNumber, uid: UInt32 = 1000, command: String = "cp") {
    let text = Array(name.utf8) + Array(command.utf8)
    records[sealKey(name, of: inode, uid: uid)] = Self.encoded(60 + text.count) { p in
      p.put(UInt8(1), 0)
      p.put(uid, 24)
      p.put(UInt8(name.utf8.count), 56)
      p.put(UInt8(command.utf8.count), 57)
      for (offset, byte) in text.enumerated() { p.put(byte, 60 + offset) }
    }
  }

  // Space.

  mutating func extent(
    _ inode: InodeNumber, at block: FileBlock, _ count: UInt32, flags: ExtentRecord.Flags = [], gap: UInt64 = 0
  ) {
    put(ExtentRecord(physical: nextData, count: count, flags: flags), of: inode, at: block)
    nextData += UInt64(count) + gap
  }

  mutating func put(_ extent: ExtentRecord, of inode: InodeNumber, at block: FileBlock) {
    records[.extent(inode, block)] = Self.encoded(ExtentRecord.size) { extent.encode(to: $0) }
  }

  mutating func orphan(_ inode: InodeNumber, _ kind: OrphanRecord.Kind, from block: FileBlock = 0) {
    records[.orphan(inode)] = Self.encoded(OrphanRecord.size) {
      OrphanRecord(kind: kind, firstBlock: block).encode(to: $0)
    }
  }

  mutating func quarantine(_ count: UInt64, of inode: InodeNumber) {
    records[.quarantine(nextData)] = Self.encoded(QuarantineRecord.size) {
      QuarantineRecord(count: count, inode: inode).encode(to: $0)
    }
    nextData += count
  }

  mutating func free(_ start: BlockNumber, _ count: UInt64) {
    records[.free(start)] = Self.length(count)
    records[.freeByLength(BlockRange(start: start, count: count))] = []
  }

  mutating func unfree(_ start: BlockNumber, _ count: UInt64) {
    records[.free(start)] = nil
    records[.freeByLength(BlockRange(start: start, count: count))] = nil
  }

  /// Frees what no record owns.
  mutating func settle() {
    var owned = [BlockRange(start: 0, count: dataStart)]
    for (key, value) in records {
      value.withUnsafeBytes { value in
        if key.space == .file, key.type == .extent, let extent = ExtentRecord(decoding: value) {
          owned.append(BlockRange(start: extent.physical, count: UInt64(extent.count)))
        } else if key.space == .quarantine, let record = QuarantineRecord(decoding: value) {
          owned.append(BlockRange(start: key.object, count: record.count))
        } else if key.space == .chunk || key.space == .free, let count = LengthRecord.decode(value) {
          owned.append(BlockRange(start: key.object, count: count))
        }
      }
    }
    var end: UInt64 = 0
    for range in owned.sorted(by: { $0.start < $1.start }) {
      if range.start > end { free(end, range.start - end) }
      end = max(end, range.end)
    }
    if end < totalBlocks { free(end, totalBlocks - end) }
  }
}
