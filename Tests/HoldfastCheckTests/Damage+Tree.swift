import HoldfastBase
import HoldfastFormat

@testable import HoldfastCheck

extension Damage {
  /// The entries of an internal node lie at 64, 96, …: key 16 bytes, block, generation.
  private static func entry(_ index: Int) -> Int { TreeNode.headerBytes + index * TreeNode.entryBytes }
  private static func slot(_ index: Int) -> Int { TreeNode.headerBytes + index * TreeNode.slotBytes }

  static let tree: [Damage] = [
    .blocks("child outside the volume") { device in
      device.edit(device.internals[0]) { $0.put(UInt64(1) << 60, entry(1) + 16) }
      return [.nodeOutOfBounds(block: 1 << 60)]
    },
    .blocks("child in the journal") { device in
      device.edit(device.internals[0]) { $0.put(UInt64(300), entry(0) + 16) }
      return [.nodeOutOfBounds(block: 300)]
    },
    .blocks("leaf flipped") { device in
      device.flip(device.leaves[1], byte: 2000)
      return [.nodeInvalid(block: device.leaves[1])]
    },
    .blocks("root flipped") { device in
      device.flip(device.internals.last!, byte: 0)
      return [.nodeInvalid(block: device.internals.last!)]
    },
    .blocks("leaf of another volume") { device in
      device.edit(device.leaves[0]) { $0.put(UInt64(1), 24) }
      return [.nodeInvalid(block: device.leaves[0])]
    },
    .blocks("leaf that belongs elsewhere") { device in
      device.edit(device.leaves[0]) { $0.put(device.leaves[1], 32) }
      return [.nodeInvalid(block: device.leaves[0])]
    },
    .blocks("leaf of another type") { device in
      device.edit(device.leaves[0]) { $0.put(UInt16(3), 8) }
      return [.nodeInvalid(block: device.leaves[0])]
    },
    .blocks("stale leaf") { device in
      device.edit(device.leaves[2]) { $0.put(UInt64(3), 40) }
      return [.nodeGeneration(block: device.leaves[2], expected: 4, found: 3)]
    },
    .blocks("leaf of a checkpoint to come") { device in
      device.edit(device.leaves[0]) { $0.put(UInt64(8), 40) }
      device.edit(device.internals[0]) { $0.put(UInt64(8), entry(0) + 24) }
      return [.nodeGeneration(block: device.leaves[0], expected: 7, found: 8)]
    },
    .blocks("leaf with a level") { device in
      device.edit(device.leaves[1]) { $0.put(UInt16(1), 10) }
      return [.nodeLevel(block: device.leaves[1], expected: 0, found: 1)]
    },
    .blocks("tree lower than said") { device in
      device.editSuperblocks { $0.put(UInt32(12), 128) }
      return [.nodeLevel(block: device.internals.last!, expected: 12, found: 2)]
    },
    .blocks("leaf with keys out of order") { device in
      device.edit(device.leaves[1]) { node in
        node.put(UInt64.max, slot(0))
      }
      return [.nodeUnsound(block: device.leaves[1])]
    },
    .blocks("leaf with a value outside") { device in
      device.edit(device.leaves[1]) { $0.put(UInt16(4090), slot(0) + 16) }
      return [.nodeUnsound(block: device.leaves[1])]
    },
    .blocks("leaf with more slots than fit") { device in
      device.edit(device.leaves[1]) { $0.put(UInt32.max, 12) }
      return [.nodeUnsound(block: device.leaves[1])]
    },
    .blocks("internal node without children") { device in
      device.edit(device.internals[0]) { $0.put(UInt32(0), 12) }
      return [.nodeUnsound(block: device.internals[0])]
    },
    .blocks("children exchanged") { device in
      device.edit(device.internals[0]) { node in
        node.put(device.leaves[1], entry(0) + 16)
        node.put(device.leaves[0], entry(1) + 16)
      }
      return [.nodeKeysOutOfBounds(block: device.leaves[0]), .nodeKeysOutOfBounds(block: device.leaves[1])]
    },
    .blocks("parent's key too high") { device in
      // The greatest key of the leaf in front stays below it.
      let key = TreeNode.slotKey(device.block(device.leaves[2]), 0).successor
      device.edit(device.internals[0]) {
        $0.put(key.high, entry(2))
        $0.put(key.low, entry(2) + 8)
      }
      return [.nodeKeysOutOfBounds(block: device.leaves[2])]
    },
    .blocks("leaf with two parents") { device in
      device.edit(device.internals[0]) { $0.put(device.leaves[0], entry(1) + 16) }
      return [.nodeVisitedTwice(block: device.leaves[0])]
    },
    .blocks("node its own child") { device in
      device.edit(device.internals[0]) { $0.put(device.internals[0], entry(1) + 16) }
      return [.nodeVisitedTwice(block: device.internals[0])]
    },
    .blocks("chunk map as a leaf") { device in
      device.edit(device.internals[0]) { $0.put(device.chain[0], entry(1) + 16) }
      return [.nodeVisitedTwice(block: device.chain[0])]
    },
  ]

  static let journal: [Damage] = [
    .records("journal record that does not parse") { image in
      [.journalRecordMalformed(sequence: 5, position: image.journalPosition)]
    }.then { device in
      ImageBuilder.write(payload: [1, 2, 3], count: 1, sequence: 5, at: 1022, of: 1024, device)
    },
    .records("journal record with a value too long") { image in
      [.journalRecordMalformed(sequence: 5, position: image.journalPosition)]
    }.then { device in
      let value = [UInt8](repeating: 0, count: TreeNode.maximumValueBytes + 1)
      ImageBuilder.write(record: [.init(key: .maximum, value: value)], sequence: 5, at: 1022, of: 1024, device)
    },
    .records("journal record with a wrong count, behind a good one") { image in
      image.journal = [[]]
      return [.journalRecordMalformed(sequence: 6, position: 1023)]
    }.then { device in
      ImageBuilder.write(
        record: [.init(key: .orphan(99), value: nil)], sequence: 6, at: 1023, of: 1024, device, count: 2)
    },
    .records("journal record missing") { image in
      image.journal = [[]]
      return [.journalRecordBehindEnd(sequence: 7, position: 0, expected: 6)]
    }.then { device in
      ImageBuilder.write(record: [], sequence: 7, at: 0, of: 1024, device)
    },
    .records("first journal record flipped") { image in
      image.journal = [[], [], []]
      return [.journalRecordBehindEnd(sequence: 6, position: 1023, expected: 5)]
    }.then { device in
      device.flip(Geometry.journalStart + 1022, byte: 3)
    },
    .records("ring full of overlapping later headers") { _ in
      [.journalRecordBehindEnd(sequence: 40, position: 16, expected: 5)]
    }.then { device in
      // No checksum is right; the scan gives up and calls it damage.
      for position in UInt64(0)..<1000 {
        let block = device.block(Geometry.journalStart + position)
        BlockHeader.write(
          to: block, type: .journal, level: 0, count: 0, id: device.id, address: position, generation: 24 + position)
        block.put(UInt32(4_100_000 - position * 4096), 48)
      }
    },
  ]

  private static func badSeal(
    _ name: String, _ body: @escaping @Sendable (inout ImageBuilder.Bytes) -> Void
  ) -> Damage {
    .records("seal \(name)") { image in
      let key = image.sealKey("backup", of: Sample.file)
      body(&image.records[key]!)
      return [.undecodable(key)]
    }
  }

  static let keys: [Damage] = [
    .records("record in an unknown space") { image in
      let key = Key(high: 0x09 << 56 | 3, low: 4)
      image.records[key] = [1]
      return [.unknownSpace(key)]
    },
    .records("record of an unknown type") { image in
      let key = Key(high: Sample.file, low: 9 << 60)
      image.records[key] = [1]
      return [.unknownRecordType(key)]
    },
    .records("inode record at an offset") { image in
      let key = Key.file(Sample.file, .inode, 1)
      image.records[key] = image.records[.inode(Sample.file)]
      return [.strayKey(key)]
    }.then { device in device.editSuperblocks { $0.put(UInt64(15), 200) } },
    .records("orphan record with a low half") { image in
      let key = Key(space: .orphan, object: Sample.file, low: 1)
      image.records[key] = image.records[.orphan(Sample.orphan)]
      return [.strayKey(key)]
    },
    .records("inode cut short") { image in
      image.records[.inode(Sample.fifo)]?.removeLast()
      return [.undecodable(.inode(Sample.fifo))]
    },
    .records("inode of no type") { image in
      image.records[.inode(Sample.directory)]?[1] = 0x30
      return [.undecodable(.inode(Sample.directory))]
    },
    .records("entry cut short") { image in
      let key = image.entryKey("two", in: 1, collision: 3)
      image.records[key]?.removeLast()
      image.edit(Sample.twiceNamed) { $0.links = 1 }
      return [.undecodable(key)]
    },
    .records("extent of no blocks", settled: false) { image in
      image.put(ExtentRecord(physical: 3000, count: 0, flags: []), of: Sample.empty, at: 0)
      return [.undecodable(.extent(Sample.empty, 0))]
    },
    .records("attribute cut short") { image in
      let key = image.xattrKey("user.long", of: Sample.withXattrs, collision: 2)
      image.records[key]?.removeLast()
      return [.undecodable(key)]
    },
    .records("piece of a target without bytes") { image in
      let key = Key.file(Sample.link, .symlink, 1)
      image.records[key] = []
      return [.undecodable(key)]
    },
    .records("orphan of no kind") { image in
      image.records[.orphan(Sample.file)] = [UInt8](repeating: 9, count: 16)
      return [.undecodable(.orphan(Sample.file))]
    },
    .records("free extent of no blocks") { image in
      image.records[.free(2306)] = ImageBuilder.length(0)
      return [.undecodable(.free(2306))]
    },
    .records("chunk cut short") { image in
      image.records[.chunk(3000)] = [1, 0]
      return [.undecodable(.chunk(3000))]
    },
    .records("quarantine of no blocks") { image in
      image.records[.quarantine(3000)] = [UInt8](repeating: 0, count: 16)
      return [.undecodable(.quarantine(3000))]
    },
    .records("seal filed under a wrong hash") { image in
      let key = Key(space: .persistentSeal, object: Sample.file, low: 5)
      image.records[key] = image.records[image.sealKey("backup", of: Sample.file)]
      return [.strayKey(key)]
    },
    badSeal("of another version") { $0[0] = 2 },
    badSeal("of no kind") { $0[1] = 2 },
    badSeal("hard with a grace") { $0[4] = 2 },
    badSeal("of no scope") { $0[2] = 2 },
    badSeal("whole with a range") { $0[16] = 2 },
    badSeal("of no bytes") { $0[2] = 1 },
    badSeal("beyond every file") { ($0[2], $0[16], $0[15]) = (1, 1, 0x80) },
    badSeal("with a bad name") { $0[60] = 0x2f },
    badSeal("with a bad command") { $0[66] = 0xff },
    badSeal("cut short") { $0.removeLast() },
    badSeal("of nothing") { $0 = [] },
    .records("index by length with a value") { image in
      let key = image.records.keys.first { $0.space == .freeByLength }!
      image.records[key] = [0]
      return [.undecodable(key), .freeNotIndexed(start: key.low, count: key.object)]
    },
  ]
}
