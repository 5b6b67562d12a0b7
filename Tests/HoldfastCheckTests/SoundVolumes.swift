import HoldfastBase
import HoldfastFormat
import Testing

@testable import HoldfastCheck

/// Volumes without damage: the check must find nothing.
@Suite struct SoundVolumes {
  func check(_ device: MemoryDevice) -> CheckReport {
    var checker = Checker(device: device)
    return checker.run()
  }

  @Test func bareVolume() {
    let report = check(Sample.bare().build())
    #expect(report.issues == [])
    #expect(report.isSound && !report.wasUnclean && !report.isPartial)
    #expect(report.totals.inodes == 1 && report.totals.directories == 1)
    #expect(report.totals.freeBlocks == 4096 - 1281 - 1024)
  }

  @Test(arguments: [1, 2, 3, 10, 60], [2, 3, 126])
  func oneOfEverything(leafLimit: Int, fanout: Int) {
    var image = Sample.image()
    image.leafLimit = leafLimit
    image.fanout = fanout
    let report = check(image.build())
    #expect(report.issues == [])
    #expect(report.wasUnclean)
    #expect(report.totals.inodes == 14 && report.totals.files == 7 && report.totals.directories == 3)
    #expect(report.totals.symlinks == 2 && report.totals.specials == 2 && report.totals.orphans == 2)
    #expect(report.totals.usedBlocks == 10 + 1 + 18 + 3 + 4)
    #expect(report.totals.quarantinedBlocks == 8)
    #expect(report.volume?.label == "built" && report.volume?.uuid == "00112233-4455-4677-8899-aabbccddeeff")
  }

  @Test func superblockCopiesOneCheckpointApart() {
    let device = Sample.bare().build()
    device.edit(Geometry.superblocks[1]) { $0.put(UInt64(6), 40) }
    #expect(check(device).issues == [])
  }

  @Test func unknownCompatibleFeaturesAreFine() {
    let device = Sample.bare().build()
    device.editSuperblocks {
      $0.put(UInt64(1) << 63, 56)
      $0.put(UInt64(4), 64)
    }
    let report = check(device)
    #expect(report.isSound && report.volume?.unknownReadOnlyFeatures == 4)
  }

  @Test func sharedExtentsMayOverlap() {
    var image = Sample.unsettled()
    image.put(ExtentRecord(physical: 3000, count: 2, flags: .shared), of: Sample.empty, at: 0)
    image.put(ExtentRecord(physical: 3000, count: 2, flags: .shared), of: Sample.withXattrs, at: 0)
    image.edit(Sample.empty) { ($0.size, $0.blocks) = (8192, 2) }
    image.edit(Sample.withXattrs) { ($0.size, $0.blocks) = (8192, 2) }
    image.settle()
    #expect(check(image.build()).issues == [])
  }

  /// The journal moves "file" to another name, unlinks "one", makes a file and a chunk, and deletes what it made.
  @Test func journalIsReplayed() {
    var image = Sample.bare()
    image.state = []
    let free = image.records.keys.first { $0.space == .free }!.object
    let rest = image.totalBlocks - free
    func inode(_ links: UInt32, _ size: UInt64, parent: InodeNumber = 0, type: FileType = .regular) -> [UInt8] {
      var other = ImageBuilder()
      other.inode(200, type, links: links, size: size, parent: parent)
      return other.records[.inode(200)]!
    }
    // Long enough to make the record span blocks, and the ring's end.
    image.xattr("user.long", of: 200, bytes: 6000)
    let long = image.records.filter { $0.key.object == 200 }.map {
      ImageBuilder.Mutation(key: $0.key, value: $0.value)
    }
    for mutation in long { image.records[mutation.key] = nil }
    image.journal = [
      [
        .init(key: .inode(200), value: inode(1, 0)), .init(key: .inode(201), value: inode(1, 0)),
        .init(key: image.entryKey("a", in: 1), value: ImageBuilder.entry("a", 200, .regular)),
        .init(key: image.entryKey("b", in: 1), value: ImageBuilder.entry("b", 201, .regular)),
        .init(key: .inode(1), value: inode(2, 2, parent: 1, type: .directory)),
      ],
      [
        .init(key: .inode(201), value: nil), .init(key: image.entryKey("b", in: 1), value: nil),
        .init(key: .inode(1), value: inode(2, 1, parent: 1, type: .directory)),
      ],
      [
        .init(key: .chunk(free), value: ImageBuilder.length(1024)), .init(key: .free(free), value: nil),
        .init(key: .freeByLength(BlockRange(start: free, count: rest)), value: nil),
        .init(key: .free(free + 1024), value: ImageBuilder.length(rest - 1024)),
        .init(key: .freeByLength(BlockRange(start: free + 1024, count: rest - 1024)), value: []),
      ] + long,
    ]
    let report = check(image.build())
    #expect(report.issues == [])
    #expect(report.wasUnclean && report.totals.journalRecords == 3)
    #expect(report.totals.inodes == 2 && report.totals.metadataBlocks == 2048)
  }

  @Test func recordsOfEarlierLapsAreNoDamage() {
    let image = Sample.image()
    let device = image.build()
    for (index, sequence) in (1...4).enumerated() {
      ImageBuilder.write(
        record: [], sequence: UInt64(sequence), at: UInt64(100 + index), of: image.journalBlocks, device)
    }
    #expect(check(device).issues == [])
  }

  @Test func progressEndsWhereItSays() {
    var seen: [Progress] = []
    var checker = Checker(device: Sample.image().build()) { seen.append($0) }
    _ = checker.run()
    #expect(seen.map(\.phase).last == .space)
    #expect(seen.contains { $0.phase == .tree && $0.done > 3 && $0.done <= $0.total })
  }
}
