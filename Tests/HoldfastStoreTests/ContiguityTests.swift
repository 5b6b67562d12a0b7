import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import Testing

@testable import HoldfastStore

/// Defragmentation, contiguity on demand and the extent-size hint, on volumes that were aged by a seed.
@Suite struct ContiguityTests {
  /// Files of random sizes written in random pieces, some removed again, until little free space is left in few long
  /// runs. `contents`: what each file must read as.
  private struct Aged {
    var volume: Volume
    var contents: [InodeNumber: [UInt8]] = [:]
    var random: SystemIndependentRandom

    init(seed: UInt64, mebibytes: Int = 32) throws {
      volume = try Volume(mebibytes: mebibytes)
      random = SystemIndependentRandom(seed)
      var files: [(name: String, inode: InodeNumber)] = []
      for number in 0..<200 {
        let name = "file \(number)"
        let inode = try volume.create(name)
        files.append((name, inode))
        contents[inode] = []
        for _ in 0..<random.below(6) { try grow(files[random.below(files.count)].inode) }
      }
      for file in files where random.below(2) == 0 {
        try volume.unlink(file.name)
        contents[file.inode] = nil
        volume.store.release(file.inode)
      }
      for _ in 0..<2 { try volume.store.housekeep() }
    }

    private mutating func grow(_ inode: InodeNumber) throws {
      let bytes = pattern((1 + random.below(12)) * Block.size - random.below(100), seed: UInt8(random.below(256)))
      guard (try? volume.write(inode, bytes, at: UInt64(contents[inode]!.count))) != nil else { return }
      contents[inode]! += bytes
      try volume.store.trimPreallocation(of: inode, ifUnlocked: false)
    }

    func check(_ comment: Comment) throws {
      for (inode, bytes) in contents {
        #expect(try volume.read(inode, bytes.count + 1) == bytes, comment)
      }
    }

    mutating func end(_ comment: Comment) throws {
      try check(comment)
      try volume.remount()
      try check(comment)
      try volume.store.unmount()
      #expect(volume.check().isSound, comment)
    }
  }

  private struct SystemIndependentRandom {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func below(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
  }

  private static let wholeFile = BlockRange(start: 0, count: Store.maximumFileBlocks)

  @Test(arguments: [UInt64(1), 2, 3]) func defragmentsAgedVolume(seed: UInt64) throws {
    var aged = try Aged(seed: seed)
    var before: UInt64 = 0
    var after: UInt64 = 0
    for inode in aged.contents.keys.sorted() {
      let report = try aged.volume.store.defragment(inode, Self.wholeFile, by: RelocationTests.administrator)
      #expect(report.fragmentsAfter <= report.fragmentsBefore, "seed \(seed), inode \(inode)")
      before += report.fragmentsBefore
      after += report.fragmentsAfter
      let generation = try aged.volume.store.mapGeneration(of: inode)
      let again = try aged.volume.store.defragment(inode, Self.wholeFile, by: RelocationTests.administrator)
      if report.fragmentsAfter <= 1 {
        #expect(again.relocation.movedBlocks == 0, "seed \(seed)")
        #expect(try aged.volume.store.mapGeneration(of: inode) == generation, "seed \(seed)")
      }
    }
    #expect(after < before, "seed \(seed): \(before) fragments, \(after) afterwards")
    try aged.end("seed \(seed)")
  }

  @Test(arguments: [UInt64(11), 12, 13]) func makesARunWhereThereIsNone(seed: UInt64) throws {
    var aged = try Aged(seed: seed)
    let store = aged.volume.store
    let longest = try store.reading { () throws(FSError) in try store.longestFreeRun()?.count ?? 0 }
    // Free space is in one long run on a young volume: what is left are splinters, and room for metadata.
    try aged.volume.allocate(try aged.volume.create("filler"), [], 0, (longest - 500) << 12)
    let inode = try aged.volume.create("contiguous")
    let count = min(store.usage.freeBlocks / 2, 512)
    try aged.volume.truncate(inode, count << 12)
    let report = try store.prepareContiguously(
      inode, offset: 0, byteCount: 0, alignment: 64, handle: nil, by: Volume.user)
    let map = try store.extents(of: inode, from: 0, limit: 1000)
    if report.isFulfilled {
      #expect(map.count == 1 && map[0].physical % (64 << 12) == 0, "seed \(seed)")
    } else {
      #expect(!report.obstacles.isEmpty, "seed \(seed): \(report)")
    }
    #expect(map.reduce(0) { $0 + $1.length } == count << 12 && map.allSatisfy(\.flags.isEmpty), "seed \(seed)")
    aged.contents[inode] = [UInt8](repeating: 0, count: Int(count << 12))
    try aged.end("seed \(seed): \(report)")
  }

  /// Every second block of the volume's free space is in the way, and moves out of it.
  @Test func emptiesAWindow() throws {
    let volume = try Volume(mebibytes: 16)
    let comb = try volume.create("comb")
    let teeth = volume.store.usage.freeBlocks - 800
    try volume.allocate(comb, [], 0, teeth << 12)
    // What is left is room for metadata, and shorter than what is wanted.
    try volume.allocate(try volume.create("filler"), [], 0, 400 << 12)
    try volume.write(comb, pattern(64 << 12), at: 0)
    for block in stride(from: UInt64(100), to: teeth - 100, by: 2) {
      try volume.allocate(comb, [.punchHole, .keepSize], block << 12, 1 << 12)
    }
    for _ in 0..<3 { try volume.store.housekeep() }
    let before = try volume.read(comb, Int(teeth << 12))
    let longest = try volume.store.reading { () throws(FSError) in try volume.store.longestFreeRun()?.count ?? 0 }
    let inode = try volume.create("contiguous")
    let count: UInt64 = 512
    #expect(longest < count)
    try volume.truncate(inode, count << 12)
    let report = try volume.store.prepareContiguously(
      inode, offset: 0, byteCount: 0, alignment: 512, handle: nil, by: Volume.user)
    #expect(report.isFulfilled && report.evacuatedBlocks > 0, "\(report)")
    #expect(try volume.store.extents(of: inode, from: 0, limit: 10).count == 1)
    #expect(try volume.read(comb, Int(teeth << 12)) == before)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  @Test func saysWhatIsInTheWay() throws {
    let volume = try Volume(mebibytes: 16)
    let comb = try volume.create("comb")
    let teeth = volume.store.usage.freeBlocks - 800
    try volume.allocate(comb, [], 0, teeth << 12)
    let filler = try volume.create("filler")
    try volume.allocate(filler, [], 0, 400 << 12)
    for block in stride(from: UInt64(0), to: teeth - 2, by: 2) {
      try volume.allocate(comb, [.punchHole, .keepSize], block << 12, 1 << 12)
    }
    for _ in 0..<3 { try volume.store.housekeep() }
    for inode in [comb, filler] { try volume.seal(inode, .asIs, name: "mine") }
    let longest = try volume.store.reading { () throws(FSError) in try volume.store.longestFreeRun()?.count ?? 0 }
    let inode = try volume.create("contiguous")
    try volume.truncate(inode, (longest + 64) << 12)
    let report = try volume.store.prepareContiguously(
      inode, offset: 0, byteCount: 0, alignment: 1, handle: nil, by: Volume.user)
    #expect(
      !report.isFulfilled && report.obstacles.contains(.held) && report.refusal?.requestName == "mine", "\(report)")
    #expect(report.longestFreeBlocks < longest + 64)
    try volume.seal(inode)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  // MARK: The extent-size hint

  @Test func hintedFilesLieOnTheirBorders() throws {
    var volume = try Volume(mebibytes: 64)
    let directory = try volume.makeDirectory("hinted")
    try volume.store.setExtentSize(1 << 20, of: directory, by: Volume.user)
    let nested = try volume.makeDirectory("nested", in: directory)
    let inode = try volume.create("file", in: nested)
    let other = try volume.create("other")
    for block in 0..<300 {
      try volume.write(inode, pattern(4096, seed: UInt8(block & 0x7f)), at: UInt64(block * 4096))
      try volume.write(other, pattern(4096), at: UInt64(block * 4096))
    }
    let map = try volume.store.extents(of: inode, from: 0, limit: 100)
    #expect(map.allSatisfy { $0.logical % (1 << 20) != 0 || $0.physical % (1 << 20) == 0 })
    // 300 blocks of 4 KiB are two units.
    #expect(map.reduce(0) { $0 + $1.length } == 2 << 20)
    // A write into a hole takes the whole unit there.
    try volume.write(inode, pattern(10), at: 5 << 20 + 12345)
    #expect(
      try volume.store.extents(of: inode, from: 5 << 20, limit: 9).first?.physical.isMultiple(of: 1 << 20) == true)
    let before = try volume.read(inode, 6 << 20)
    #expect(before.count == 5 << 20 + 12355)
    #expect(before[(2 << 20)..<(5 << 20)].allSatisfy { $0 == 0 })
    try volume.remount()
    #expect(try volume.read(inode, 6 << 20) == before)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  /// What moves keeps to its hint.
  @Test func movesKeepToTheHint() throws {
    let volume = try Volume(mebibytes: 64)
    let inode = try volume.create("file")
    try volume.store.setExtentSize(1 << 20, of: inode, by: Volume.user)
    try volume.write(inode, pattern(300 << 12))
    let before = try volume.store.extents(of: inode, from: 0, limit: 1)
    let wholeFile = Self.wholeFile
    _ = try volume.store.relocate(inode, wholeFile, to: .contiguous, by: .daemon)
    let after = try volume.store.extents(of: inode, from: 0, limit: 1)
    #expect(after[0].physical != before[0].physical && after[0].physical % (1 << 20) == 0)
    // Splintered, and joined again.
    let elsewhere = Placement(within: BlockRange(start: after[0].physical >> 12 + 2049, count: 4096))
    _ = try volume.store.relocate(inode, BlockRange(start: 7, count: 5), to: elsewhere, by: .daemon)
    #expect(try volume.store.defragment(inode, wholeFile, by: .daemon).fragmentsAfter == 1)
    #expect(try volume.store.extents(of: inode, from: 0, limit: 1)[0].physical % (1 << 20) == 0)
    #expect(try volume.read(inode, 400 << 12) == pattern(300 << 12))
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  @Test func hintsAreChecked() throws {
    let volume = try Volume(mebibytes: 16)
    let inode = try volume.create("file")
    for bytes in [UInt64(1), 4095, 6144, 12288, 2 << 30] {
      #expect(throws: FSError.invalid(.argument)) {
        try volume.store.setExtentSize(bytes, of: inode, by: Volume.user)
      }
    }
    let stranger = Credentials(uid: 7, gid: 7, pid: 0)
    #expect(throws: FSError.notPermitted) { try volume.store.setExtentSize(4096, of: inode, by: stranger) }
    // More than there is: a hint asks, and does not insist.
    try volume.store.setExtentSize(1 << 30, of: inode, by: Volume.user)
    try volume.write(inode, pattern(10000))
    #expect(try volume.read(inode, 10001) == pattern(10000))
    try volume.store.setExtentSize(0, of: inode, by: Volume.user)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }
}
