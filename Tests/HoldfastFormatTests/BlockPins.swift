import HoldfastBase
import HoldfastFormat
import Testing

/// Headers, superblock, chunk map: exact bytes. A change here is a change of the format.
@Suite struct BlockPins {
  private let id = FilesystemID(high: 0x0011_2233_4455_4677, low: 0x8899_aabb_ccdd_eeff)

  @Test func geometry() {
    #expect(Block.size == 4096 && 1 << Block.shift == Block.size)
    #expect(Geometry.superblocks == [0, 256] && Geometry.journalStart == 257)
    #expect(Geometry.minimumJournalBlocks == 1024 && Geometry.maximumJournalBlocks == 8192)
    #expect(Geometry.chunkBlocks == 1024 && Geometry.minimumBlocks == 4096)
    #expect(Geometry.defaultJournalBlocks(totalBlocks: 4096) == 1024)
    #expect(Geometry.defaultJournalBlocks(totalBlocks: 128 * 1024) == 2048)
    #expect(Geometry.defaultJournalBlocks(totalBlocks: 1 << 50) == 8192)
    #expect(Block.count(covering: 0) == 0 && Block.count(covering: 1) == 1)
    #expect(Block.count(covering: 4096) == 1 && Block.count(covering: 4097) == 2)
    #expect(Block.count(covering: .max) == 1 << 52)
  }

  @Test func header() {
    let bytes = encoded(Block.size) {
      BlockHeader.write(
        to: $0, type: .node, level: 0x0102, count: 0x0304_0506, id: id, address: 0x0708_090a_0b0c_0d0e,
        generation: 0x1112_1314_1516_1718)
      BlockHeader.seal($0)
    }
    #expect(BlockHeader.size == 48)
    let expected = hex(
      """
      f6fa54b8 48465354 0200 0201 06050403
      7746554433221100 ffeeddccbbaa9988
      0e0d0c0b0a090807 1817161514131211
      """)
    #expect(Array(bytes[..<48]) == expected)
    #expect(bytes[4..<8].elementsEqual("HFST".utf8))
    bytes.withUnsafeBytes {
      let block = $0.baseAddress!
      #expect(BlockHeader.isValid(block, type: .node, id: id, address: 0x0708_090a_0b0c_0d0e))
      #expect(!BlockHeader.isValid(block, type: .chunkMap, id: id, address: 0x0708_090a_0b0c_0d0e))
      #expect(!BlockHeader.isValid(block, type: .node, id: id, address: 0x0708_090a_0b0c_0d0f))
      let other = FilesystemID(high: id.high, low: id.low ^ 1)
      #expect(!BlockHeader.isValid(block, type: .node, id: other, address: 0x0708_090a_0b0c_0d0e))
      #expect(BlockHeader.level(block) == 0x0102 && BlockHeader.count(block) == 0x0304_0506)
      #expect(BlockHeader.generation(block) == 0x1112_1314_1516_1718)
    }
    #expect(BlockType.superblock.rawValue == 1 && BlockType.node.rawValue == 2)
    #expect(BlockType.chunkMap.rawValue == 3 && BlockType.journal.rawValue == 4)
  }

  @Test func everyBitOfABlockIsChecked() {
    var bytes = encoded(Block.size) {
      BlockHeader.write(to: $0, type: .node, level: 0, count: 0, id: id, address: 9, generation: 1)
      BlockHeader.seal($0)
    }
    for byte in 0..<Block.size {
      bytes[byte] ^= 1 << UInt8(byte & 7)
      #expect(!bytes.withUnsafeBytes { BlockHeader.isValid($0.baseAddress!, type: .node, id: id, address: 9) })
      bytes[byte] ^= 1 << UInt8(byte & 7)
    }
  }

  @Test func identifierReadsAsUUID() {
    #expect(id.description == "00112233-4455-4677-8899-aabbccddeeff")
    let random = FilesystemID.random()
    #expect(random.high >> 12 & 15 == 4 && random.low >> 62 == 2)
  }

  static func superblock(_ id: FilesystemID) -> Superblock {
    var superblock = Superblock(
      id: id, totalBlocks: 0x10_0000, journalBlocks: 0x800, hashSeed: 0x2122_2324_2526_2728, label: "Fjörd", now: 0x31)
    superblock.generation = 0x41
    superblock.compatible = 0x51
    superblock.readOnlyCompatible = 0x52
    superblock.incompatible = 0x53
    superblock.root = NodeReference(block: 0xa001, generation: 0x40)
    superblock.rootLevel = 3
    superblock.state = [.clean, .errors]
    superblock.journalSequence = 0x61
    superblock.journalPosition = 0x62
    superblock.chunkMap = 0xa002
    superblock.chunkMapBlocks = 0x63
    superblock.mountCount = 0x64
    superblock.nextInode = 0x65
    superblock.freeBlocks = 0x66
    superblock.quarantinedBlocks = 0x67
    superblock.inodeCount = 0x68
    superblock.mountedSeconds = -1
    superblock.writtenSeconds = 0x6a
    return superblock
  }

  @Test func superblock() {
    let superblock = Self.superblock(id)
    let bytes = encoded(Block.size) { superblock.encode(to: $0, address: 256) }
    let expected = hex(
      """
      48465354 0100 0000 00000000 7746554433221100 ffeeddccbbaa9988 0001000000000000 4100000000000000
      0000000000000000 5100000000000000 5200000000000000 5300000000000000
      0000100000000000 0101000000000000 0008000000000000 0109000000000000
      01a0000000000000 4000000000000000 03000000 03000000
      6100000000000000 6200000000000000 02a0000000000000 6300000000000000
      6400000000000000 6500000000000000 6600000000000000 6700000000000000 6800000000000000
      2827262524232221 3100000000000000 ffffffffffffffff 6a00000000000000
      466ac3b67264
      """)
    #expect(Array(bytes[4..<4 + expected.count]) == expected)
    #expect(used(bytes) == 246, "all fields lie in the first 512 bytes: one sector writes them whole")
    bytes.withUnsafeBytes {
      #expect(Superblock(decoding: $0.baseAddress!, address: 256) == superblock)
      #expect(Superblock(decoding: $0.baseAddress!, address: 0) == nil)
    }
  }

  @Test func superblockOfAnyBytes() {
    var bytes = encoded(Block.size) { Self.superblock(id).encode(to: $0, address: 0) }
    for byte in [0, 4, 8, 16, 32, 40, 80, 300, 4095] {
      bytes[byte] ^= 0x10
      #expect(bytes.withUnsafeBytes { Superblock(decoding: $0.baseAddress!, address: 0) } == nil)
      bytes[byte] ^= 0x10
    }
    #expect(
      [UInt8](repeating: 0, count: 4096).withUnsafeBytes { Superblock(decoding: $0.baseAddress!, address: 0) } == nil)
  }

  @Test func longestLabel() {
    var superblock = Self.superblock(id)
    superblock.label = String(repeating: "x", count: 64)
    let bytes = encoded(Block.size) { superblock.encode(to: $0, address: 0) }
    #expect(used(bytes) == 304)
    #expect(bytes.withUnsafeBytes { Superblock(decoding: $0.baseAddress!, address: 0)?.label } == superblock.label)
    superblock.label += "y"
    #expect(encoded(Block.size) { superblock.encode(to: $0, address: 0) } == bytes)
  }

  @Test func consistency() {
    #expect(Self.superblock(id).isConsistent)
    let edits: [(inout Superblock) -> Void] = [
      { $0.totalBlocks = 4095 }, { $0.totalBlocks = 1 << 51 }, { $0.journalStart = 256 }, { $0.journalBlocks = 1023 },
      { $0.journalBlocks = .max }, { $0.dataStart -= 1 },
      { ($0.journalBlocks, $0.dataStart) = (8193, 257 + 8193) },
      { ($0.journalBlocks, $0.dataStart) = (0xf_ffff, 0x10_0100) },
      { $0.root.block = $0.dataStart - 1 }, { $0.root.block = $0.totalBlocks }, { $0.rootLevel = 13 },
      { $0.journalPosition = $0.journalBlocks }, { $0.journalSequence = 0 }, { $0.chunkMap = 0 },
      { $0.chunkMap = .max }, { $0.chunkMapBlocks = .max }, { $0.generation = 1 << 62 }, { $0.root.generation = 0x42 },
      { $0.journalSequence = 1 << 62 }, { $0.mountCount = .max }, { $0.freeBlocks = 0x10_0001 },
      { ($0.freeBlocks, $0.quarantinedBlocks) = (0x10_0000, 1) }, { $0.quarantinedBlocks = .max },
      { $0.inodeCount = .max }, { $0.nextInode = 15 }, { $0.nextInode = 1 << 56 },
    ]
    for (index, edit) in edits.enumerated() {
      var superblock = Self.superblock(id)
      edit(&superblock)
      #expect(!superblock.isConsistent, "edit \(index)")
    }
  }

  @Test func freshSuperblock() {
    let superblock = Superblock(id: id, totalBlocks: 8192, journalBlocks: 1024, hashSeed: 1, label: "", now: 7)
    #expect(superblock.dataStart == 1281 && superblock.journalSequence == 1 && superblock.nextInode == 16)
    #expect(superblock.generation == 0 && superblock.state == [] && superblock.createdSeconds == 7)
    #expect(Superblock.knownIncompatible == 0 && Superblock.knownReadOnlyCompatible == 0)
    #expect(Superblock.State.clean.rawValue == 1 && Superblock.State.errors.rawValue == 2)
  }

  @Test func chunkMap() {
    #expect(ChunkMap.headerBytes == 64 && ChunkMap.entryBytes == 144 && ChunkMap.bitmapBytes == 128)
    #expect(ChunkMap.entriesPerBlock == 28)
    #expect(UInt64(ChunkMap.bitmapBytes) * 8 == Geometry.chunkBlocks)
    let bytes = encoded(Block.size) {
      $0.put(UInt64(0x0102_0304), 48)
      $0.put(UInt64(0x1112), 64 + 144)
      $0.put(UInt32(0x0400), 72 + 144)
      $0.put(UInt8(0x81), 80 + 144)
      $0.put(UInt8(0x80), 80 + 144 + 127)
    }
    bytes.withUnsafeBytes {
      #expect(ChunkMap.next($0.baseAddress!) == 0x0102_0304)
      let entry = ChunkMap.entry($0.baseAddress!, 1)
      #expect(entry.blocks == BlockRange(start: 0x1112, count: 0x400))
      #expect(entry.bitmap.count == 128 && entry.bitmap[0] == 0x81 && entry.bitmap[127] == 0x80)
      #expect(ChunkMap.entry($0.baseAddress!, 27).bitmap.baseAddress! + 128 <= $0.baseAddress! + Block.size)
    }
  }
}
