import HoldfastBase
import HoldfastFormat
import Testing

/// Values of the tree's records: exact bytes, back again, and nil for bytes that are none.
@Suite struct RecordPins {
  static func inode() -> InodeRecord {
    var record = InodeRecord(
      mode: 0o100644, uid: 0x0102_0304, gid: 0x0506_0708, links: 9, generation: 0x0a0b_0c0d,
      now: Timestamp(seconds: 0, nanoseconds: 0))
    record.size = 0x1112_1314_1516_1718
    record.blocks = 0x21
    record.accessed = Timestamp(seconds: -2, nanoseconds: 0x31)
    record.modified = Timestamp(seconds: 0x42, nanoseconds: 0x32)
    record.changed = Timestamp(seconds: 0x43, nanoseconds: 0x33)
    record.born = Timestamp(seconds: 0x44, nanoseconds: 0x34)
    record.device = 0x5152
    record.flags = [.immutable, .keepPreallocation]
    record.parent = 0x61
    record.mapGeneration = 0x71
    record.extentSizeHint = 0x81
    return record
  }

  private func decode<Record>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Record?) -> Record? {
    bytes.withUnsafeBytes(body)
  }

  @Test func inodeRecord() {
    let record = Self.inode()
    let bytes = encoded(InodeRecord.size) { record.encode(to: $0) }
    let expected = hex(
      """
      a4810000 04030201 08070605 09000000 1817161514131211 2100000000000000
      feffffffffffffff 4200000000000000 4300000000000000 4400000000000000
      31000000 32000000 33000000 34000000 5251000000000000 10000001 0d0c0b0a
      6100000000000000 7100000000000000 81000000 00000000 0000000000000000
      """)
    #expect(InodeRecord.size == 128 && bytes == expected)
    #expect(decode(bytes) { InodeRecord(decoding: $0) } == record)
    #expect(decode(Array(bytes[..<127])) { InodeRecord(decoding: $0) } == nil)
    #expect(decode(bytes + [0]) { InodeRecord(decoding: $0) } == nil)
    #expect(decode([]) { InodeRecord(decoding: $0) } == nil)
    var hostile = bytes
    hostile[1] = 0x31
    #expect(decode(hostile) { InodeRecord(decoding: $0) } == nil, "mode without a type")
    hostile = bytes
    hostile[23] = 0x80
    #expect(decode(hostile) { InodeRecord(decoding: $0) } == nil, "size beyond off_t")
  }

  @Test func typesAndFlags() {
    #expect([1, 2, 4, 6, 8, 10, 12].allSatisfy { FileType(rawValue: $0) != nil })
    #expect((UInt8(0)...255).filter { FileType(rawValue: $0) != nil }.count == 7)
    #expect(InodeFlags.userVisible.rawValue == 0xf8)
    #expect(InodeFlags.synchronous.rawValue == 8 && InodeFlags.immutable.rawValue == 0x10)
    #expect(InodeFlags.appendOnly.rawValue == 0x20 && InodeFlags.noDump.rawValue == 0x40)
    #expect(InodeFlags.noAccessTime.rawValue == 0x80 && InodeFlags.keepPreallocation.rawValue == 0x0100_0000)
    #expect(RootDirectory.inode == 1 && RootDirectory.firstOrdinaryInode == 16)
  }

  @Test func extentRecord() {
    let record = ExtentRecord(physical: 0x0102_0304_0506_0708, count: 0x090a_0b0c, flags: .unwritten)
    let bytes = encoded(ExtentRecord.size) { record.encode(to: $0) }
    #expect(bytes == hex("0807060504030201 0c0b0a09 01000000"))
    #expect(decode(bytes) { ExtentRecord(decoding: $0) } == record)
    #expect(decode(Array(bytes.dropLast())) { ExtentRecord(decoding: $0) } == nil)
    #expect(decode(hex("0000000000000000 00000000 00000000")) { ExtentRecord(decoding: $0) } == nil, "no blocks")
    #expect(decode(hex("0000000000000000 01000000 04000000")) { ExtentRecord(decoding: $0) } == nil, "unknown flag")
    #expect(ExtentRecord.Flags.shared.rawValue == 2 && ExtentRecord.maximumBlocks == 0xffff_ffff)
  }

  @Test func directoryEntry() {
    let name = Array("näme".utf8)
    let bytes = encoded(DirentRecord.headerBytes + name.count) { p in
      let count = name.withUnsafeBytes { DirentRecord.encode(to: p, inode: 0x0102_0304, type: .regular, name: $0) }
      #expect(count == 15)
    }
    #expect(bytes == hex("0403020100000000 08 05 6ec3a46d65"))
    bytes.withUnsafeBytes {
      let found = DirentRecord.decode($0)
      #expect(found?.inode == 0x0102_0304 && found?.type == .regular && found?.name.elementsEqual(name) == true)
    }
    let hostile = [
      "", "00", "0403020100000000 08 00", "0403020100000000 08 02 6e", "0403020100000000 08 01 6e6e",
      "0403020100000000 09 01 6e",
    ]
    for text in hostile { #expect(hex(text).withUnsafeBytes { DirentRecord.decode($0) == nil }, "\(text)") }
  }

  @Test func attribute() {
    let name = Array("user.x".utf8)
    let bytes = encoded(XattrRecord.headerBytes + name.count + 2) { p in
      name.withUnsafeBytes { name in
        [UInt8]([0xaa, 0xbb]).withUnsafeBytes {
          #expect(XattrRecord.encode(to: p, name: name, valueBytes: 2, firstPiece: $0) == 14)
        }
      }
    }
    #expect(bytes == hex("02000000 06 00 757365722e78 aabb"))
    bytes.withUnsafeBytes {
      let found = XattrRecord.decode($0)
      #expect(found?.valueBytes == 2 && found?.name.elementsEqual(name) == true)
      #expect(found?.firstPiece.elementsEqual([0xaa, 0xbb]) == true)
    }
    let hostile = [
      "", "02000000 06 00", "02000000 00 00 aabb", "02000000 06 00 757365722e78 aa",
      "02000000 06 00 757365722e78 aabbcc",
      "01000100 01 00 78", "02000000 ff 00 757365722e78 aabb", "ffffffff 01 00 78",
    ]
    for text in hostile { #expect(hex(text).withUnsafeBytes { XattrRecord.decode($0) == nil }, "\(text)") }
    // The longest first piece fits a leaf three times.
    let longest = XattrRecord.headerBytes + 255 + Key.pieceBytes
    #expect(longest <= TreeNode.maximumValueBytes)
    #expect(TreeNode.headerBytes + 3 * (TreeNode.slotBytes + longest) <= Block.size)
  }

  @Test func intentAndLengthRecords() {
    let orphan = OrphanRecord(kind: .truncating, firstBlock: 0x0102)
    #expect(encoded(OrphanRecord.size) { orphan.encode(to: $0) } == hex("0200000000000000 0201000000000000"))
    #expect(decode(hex("0200000000000000 0201000000000000")) { OrphanRecord(decoding: $0) } == orphan)
    #expect(decode(hex("0300000000000000 0201000000000000")) { OrphanRecord(decoding: $0) } == nil)
    #expect(decode(hex("0000000000000000 0201000000000000")) { OrphanRecord(decoding: $0) } == nil)
    #expect(decode(hex("0200000000000000")) { OrphanRecord(decoding: $0) } == nil)
    #expect(OrphanRecord.Kind.unlinked.rawValue == 1)

    let quarantine = QuarantineRecord(count: 0x0304, inode: 0x0506)
    #expect(encoded(QuarantineRecord.size) { quarantine.encode(to: $0) } == hex("0403000000000000 0605000000000000"))
    #expect(decode(hex("0403000000000000 0605000000000000")) { QuarantineRecord(decoding: $0) } == quarantine)
    #expect(decode(hex("0000000000000000 0605000000000000")) { QuarantineRecord(decoding: $0) } == nil)
    #expect(decode(hex("0403000000000000 06")) { QuarantineRecord(decoding: $0) } == nil)

    #expect(decode(hex("0403000000000000")) { LengthRecord.decode($0) } == 0x0304)
    #expect(decode(hex("0000000000000000")) { LengthRecord.decode($0) } == nil)
    #expect(decode(hex("04030000000000")) { LengthRecord.decode($0) } == nil)
    #expect(decode([]) { LengthRecord.decode($0) } == nil)
  }

  @Test func anyBytesDecodeOrAreNil() {
    let seed = UInt64.random(in: 0...UInt64.max >> 1)
    var random = Seeded(seed)
    for _ in 0..<20_000 {
      let count = [0, 1, 7, 8, 10, 11, 16, 17, 127, 128, 129, 1300].randomElement(using: &random)!
      let mask: UInt8 = [0xff, 0x0f, 0x01, 0x00].randomElement(using: &random)!
      let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) & mask }
      bytes.withUnsafeBytes {
        _ = InodeRecord(decoding: $0)
        _ = ExtentRecord(decoding: $0)
        _ = OrphanRecord(decoding: $0)
        _ = QuarantineRecord(decoding: $0)
        _ = LengthRecord.decode($0)
        if let entry = DirentRecord.decode($0) {
          #expect(entry.name.count == count - DirentRecord.headerBytes && entry.name.count <= 255, "seed \(seed)")
        }
        if let attribute = XattrRecord.decode($0) {
          #expect(attribute.name.count + attribute.firstPiece.count + 6 == count, "seed \(seed)")
        }
      }
    }
  }
}
