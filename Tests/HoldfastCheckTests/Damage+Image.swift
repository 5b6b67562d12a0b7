import HoldfastBase
import HoldfastFormat

@testable import HoldfastCheck

extension Damage {
  static let image: [Damage] = [
    .device("image cut short") {
      // The tree lies in front of the cut.
      let whole = Sample.image().build()
      return (MemoryDevice(cutting: whole, to: 4000), [.imageTruncated(expectedBlocks: 4096, actualBlocks: 4000)])
    },
    .blocks("bad sector under a leaf") { device in
      device.badBlock = device.leaves[2]
      return [
        .unreadable(byteOffset: device.leaves[2] << 12, errno: 5), .nodeInvalid(block: device.leaves[2]),
      ]
    },
    .blocks("bad sector in the journal") { device in
      device.badBlock = Geometry.journalStart + 3
      return [.unreadable(byteOffset: (Geometry.journalStart + 3) << 12, errno: 5)]
    },
    .blocks("first superblock wiped") { device in
      device.zero(0)
      return [.superblockInvalid(copy: 0, block: 0)]
    },
    .blocks("second superblock flipped") { device in
      device.flip(256, byte: 240)
      return [.superblockInvalid(copy: 1, block: 256)]
    },
    .blocks("superblock at the other's place") { device in
      device.block(256).copyMemory(from: device.block(0), byteCount: Block.size)
      return [.superblockInvalid(copy: 1, block: 256)]
    },
    .blocks("both superblocks damaged") { device in
      device.flip(0, byte: 100)
      device.flip(256, byte: 100)
      return [.superblockInvalid(copy: 0, block: 0), .superblockInvalid(copy: 1, block: 256)]
    },
    .blocks("impossible root") { device in
      device.edit(0) { $0.put(UInt64(5000), 112) }
      return [.superblockInconsistent(copy: 0, block: 0)]
    },
    .blocks("journal longer than any") { device in
      device.edit(256) {
        $0.put(UInt64(1) << 40, 80)
        $0.put(UInt64(1) << 30, 96)
        $0.put(UInt64(1) << 30 + Geometry.journalStart, 104)
        $0.put(UInt64(1) << 31, 112)
        $0.put(UInt64(1) << 31, 152)
      }
      return [.superblockInconsistent(copy: 1, block: 256)]
    },
    .blocks("superblocks of two volumes") { device in
      device.edit(256) { $0.put(UInt64(1), 16) }
      return [.superblocksDisagree(field: .uuid)]
    },
    .blocks("superblocks of two sizes") { device in
      // Two checkpoints back: with the one before, it would be a resize that a crash cut short.
      device.edit(256) {
        $0.put(UInt64(5), 40)
        $0.put(UInt64(4097), 80)
      }
      return [.superblocksDisagree(field: .geometry)]
    },
    .blocks("superblocks of one checkpoint that differ") { device in
      device.edit(256) { $0.put(UInt64(5), 168) }
      return [.superblocksDisagree(field: .contents)]
    },
    .blocks("second superblock left behind") { device in
      device.edit(256) { $0.put(UInt64(5), 40) }
      return [.superblockStale(copy: 1, generation: 5, newest: 7)]
    },
    .blocks("first superblock left behind") { device in
      device.edit(0) { $0.put(UInt64(6), 40) }
      return [.superblockStale(copy: 0, generation: 6, newest: 7)]
    },
    .device("clean with a journal") {
      var image = Sample.bare()
      image.journal = [[]]
      return (image.build(), [.cleanWithJournal(records: 1)])
    },
    .records("clean with orphans") { image in
      image.state = .clean
      return [.cleanWithOrphans(orphans: 2)]
    },
  ]

  static let chunks: [Damage] = [
    .blocks("chunk map flipped") { device in
      device.flip(device.chain[0], byte: 90)
      return [.chunkMapInvalid(block: device.chain[0])]
    },
    .blocks("chunk map of an older checkpoint") { device in
      device.edit(device.chain[0]) { $0.put(UInt64(6), 40) }
      return [.chunkMapInvalid(block: device.chain[0])]
    },
    .blocks("chunk map with too many entries") { device in
      device.edit(device.chain[0]) { $0.put(UInt32(29), 12) }
      return [.chunkMapInvalid(block: device.chain[0])]
    },
    .blocks("chunk map points outside") { device in
      device.edit(device.chain[0]) { $0.put(UInt64(4096), 48) }
      return [.chunkMapOutOfBounds(block: 4096)]
    },
    .blocks("chunk map comes back") { device in
      device.edit(device.chain[0]) { $0.put(device.chain[0], 48) }
      return [.chunkMapCycle(block: device.chain[0])]
    },
    .blocks("chunk map shorter than said") { device in
      device.editSuperblocks { $0.put(UInt64(2), 160) }
      return [.chunkMapLength(recorded: 2, found: 1)]
    },
    .blocks("chunk outside the volume") { device in
      device.edit(device.chain[0]) {
        $0.put(UInt32(2), 12)
        $0.put(UInt64.max, 64 + 144)
        $0.put(UInt32(1024), 72 + 144)
      }
      return [.chunkInvalid(start: .max, count: 1024)]
    },
    .blocks("chunk over the journal") { device in
      device.edit(device.chain[0]) {
        $0.put(UInt32(2), 12)
        $0.put(UInt64(1000), 64 + 144)
        $0.put(UInt32(1024), 72 + 144)
      }
      return [.chunkInvalid(start: 1000, count: 1024)]
    },
    .blocks("chunks overlap") { device in
      device.edit(device.chain[0]) {
        $0.put(UInt32(2), 12)
        $0.put(device.chain[0] + 1000, 64 + 144)
        $0.put(UInt32(1024), 72 + 144)
      }
      return [.chunksOverlap(start: device.chain[0] + 1000, other: device.chain[0])]
    },
    .records("chunk shorter than its bits", settled: false) { image in
      image.records[.chunk(image.chunk.start)] = ImageBuilder.length(1000)
      return [.chunkBitsBeyondEnd(start: image.chunk.start)]
    }.then { device in
      device.edit(device.chain[0]) {
        $0.put(UInt32(1000), 72)
        $0.put(UInt8(0x80), 80 + 127)
      }
    },
    .records("chunk without its record", settled: false) { image in
      image.records[.chunk(image.chunk.start)] = nil
      return [.chunkUnrecorded(start: image.chunk.start)]
    },
    .records("chunk record the map does not know", settled: false) { image in
      image.records[.chunk(3000)] = ImageBuilder.length(64)
      return [.chunkUnmapped(start: 3000, count: 64)]
    },
    .device("node in no chunk") {
      // The chunk ends in front of the root, the last node laid out.
      for length in UInt64(5)...100 {
        var image = Sample.unsettled()
        image.records[.chunk(image.chunk.start)] = ImageBuilder.length(length)
        image.settle()
        let device = image.build()
        guard device.internals.last == image.chunk.start + length else { continue }
        device.edit(device.chain[0]) {
          $0.put(UInt32(length), 72)
          let at = 80 + Int(length) / 8
          $0.put(UnsafeRawPointer($0).u8(at) & ~(1 << UInt8(length % 8)), at)
        }
        return (device, [.metadataOutsideChunks(block: image.chunk.start + length)])
      }
      fatalError("no length fits")
    },
    .blocks("node not marked") { device in
      let bit = Int(device.leaves[1] - device.chain[0])
      device.edit(device.chain[0]) { $0.put(UnsafeRawPointer($0).u8(80 + bit / 8) ^ 1 << UInt8(bit % 8), 80 + bit / 8) }
      return [.metadataNotMarked(block: device.leaves[1])]
    },
    .blocks("chunk map block not marked") { device in
      device.edit(device.chain[0]) { $0.put(UnsafeRawPointer($0).u8(80) ^ 1, 80) }
      return [.metadataNotMarked(block: device.chain[0])]
    },
    .blocks("metadata leaked") { device in
      device.edit(device.chain[0]) { $0.put(UInt8(0b0011_1000), 80 + 100) }
      return [.metadataLeaked(start: device.chain[0] + 803, count: 3)]
    },
    .blocks("metadata leaked at a chunk's end") { device in
      device.edit(device.chain[0]) { $0.put(UInt8(0x80), 80 + 127) }
      return [.metadataLeaked(start: device.chain[0] + 1023, count: 1)]
    },
  ]
}
