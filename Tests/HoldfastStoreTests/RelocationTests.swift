import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import Testing

@testable import HoldfastStore

/// Moving blocks: the same bytes at another place, whatever happens in between.
@Suite struct RelocationTests {
  static let administrator = Actor(credentials: Credentials(uid: 0, gid: 0, pid: 1), handle: nil)
  static let wholeFile = BlockRange(start: 0, count: Store.maximumFileBlocks)

  /// A volume on which files were written block by block in turn and every second one removed.
  static func aged(mebibytes: Int = 32, files: Int = 6, blocks: Int = 40) throws -> (Volume, [InodeNumber]) {
    let volume = try Volume(mebibytes: mebibytes)
    let inodes = try (0..<files).map { try volume.create("file \($0)") }
    for block in 0..<blocks {
      for (number, inode) in inodes.enumerated() {
        try volume.write(
          inode, pattern(Block.size, seed: UInt8(number * 31 + block & 0x7f)), at: UInt64(block * Block.size))
        // No speculative preallocation: every file's next block lies behind another's.
        try volume.store.trimPreallocation(of: inode, ifUnlocked: false)
      }
    }
    for number in stride(from: 0, to: files, by: 2) { try volume.unlink("file \(number)") }
    for inode in inodes.enumerated().filter({ $0.offset % 2 == 0 }).map(\.element) { volume.store.release(inode) }
    try volume.store.housekeep()
    try volume.store.housekeep()
    return (volume, inodes.enumerated().filter { $0.offset % 2 == 1 }.map(\.element))
  }

  private func relocate(
    _ inode: InodeNumber, in volume: Volume, to placement: Placement, by actor: Actor = administrator
  ) throws -> RelocationReport {
    try volume.store.relocate(inode, Self.wholeFile, to: placement, by: actor)
  }

  @Test func intoOneRun() throws {
    var (volume, inodes) = try Self.aged()
    for inode in inodes {
      let before = try volume.read(inode, 1 << 20)
      let generation = try volume.store.mapGeneration(of: inode)
      #expect(try volume.store.extents(of: inode, from: 0, limit: 100).count > 1)
      let report = try relocate(inode, in: volume, to: .contiguous)
      #expect(report.movedBlocks == 40 && report.unplacedBlocks == 0)
      #expect(try volume.store.extents(of: inode, from: 0, limit: 100).count == 1)
      #expect(try volume.read(inode, 1 << 20) == before)
      #expect(try volume.store.mapGeneration(of: inode) != generation)
      #expect(try volume.store.attributes(of: inode).record.blocks == 40)
    }
    let before = try inodes.map { try volume.read($0, 1 << 20) }
    try volume.remount()
    #expect(try inodes.map { try volume.read($0, 1 << 20) } == before)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  @Test func belowABlock() throws {
    let (volume, inodes) = try Self.aged()
    let inode = inodes[0]
    let before = try volume.read(inode, 1 << 20)
    let limit = try #require(try volume.store.extents(of: inode, from: 0, limit: 1000).map(\.physical).max()) >> 12
    let high = BlockRange(start: limit - 20, count: Store.maximumFileBlocks)
    let report = try volume.store.relocate(
      inode, Self.wholeFile, from: high, to: .below(high.start), by: Self.administrator)
    #expect(report.movedBlocks > 0 && report.unplacedBlocks == 0)
    #expect(
      try volume.store.extents(of: inode, from: 0, limit: 1000).allSatisfy {
        ($0.physical + $0.length) >> 12 <= high.start
      })
    #expect(try volume.read(inode, 1 << 20) == before)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  @Test func alignedAndUnwrittenAndHoles() throws {
    let volume = try Volume(mebibytes: 32)
    let inode = try volume.create("file")
    try volume.allocate(inode, .keepSize, 0, 64 << 12)
    try volume.write(inode, pattern(5 << 12), at: 7 << 12)
    try volume.write(inode, pattern(1 << 12, seed: 9), at: 90 << 12)
    let before = try volume.read(inode, 1 << 20)
    let flags = try volume.store.extents(of: inode, from: 0, limit: 100).map(\.flags)
    let report = try relocate(inode, in: volume, to: Placement(alignment: 64, isWhole: true))
    #expect(report.movedBlocks == 65)
    let after = try volume.store.extents(of: inode, from: 0, limit: 100)
    #expect(after.map(\.flags) == flags)
    #expect(after[0].physical % (64 << 12) == 0)
    #expect(try volume.read(inode, 1 << 20) == before)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  @Test func heldBlocksStay() throws {
    let (volume, inodes) = try Self.aged()
    let inode = inodes[1]
    try volume.store.syncAll()
    let pinned = SealRequest(
      scope: .range(byteOffset: 8 << 12, byteCount: 4 << 12), lifetime: .name, name: "pin", taker: Volume.user)
    _ = try volume.store.seal(pinned, createOnly: false, of: inode)
    let places = {
      try (8..<12).map { (block: UInt64) in
        try volume.store.extents(of: inode, from: block << 12, limit: 1).map { $0.physical + block << 12 - $0.logical }
      }
    }
    let before = try places()
    #expect(throws: FSError.self) { try relocate(inode, in: volume, to: .contiguous) }
    let report = try relocate(inode, in: volume, to: .contiguous, by: .daemon)
    #expect(report.skippedBlocks == 4 && report.movedBlocks == 36 && report.refusal?.requestName == "pin")
    #expect(try places() == before)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }

  /// Power goes after every device request of a move in turn: the bytes are there, the image is sound.
  @Test func powerCuts() throws {
    for lost in 0..<60 {
      let (volume, inodes) = try Self.aged(files: 4, blocks: 20)
      let inode = inodes[0]
      try volume.store.syncAll()
      let before = try volume.read(inode, 1 << 20)
      volume.device.rememberUnsyncedWrites()
      let countdown = Countdown(lost)
      volume.device.fault = { _ in countdown.isOver() ? 5 : nil }
      _ = try? relocate(inode, in: volume, to: .contiguous)
      _ = try? volume.store.syncAll()
      volume.device.losePower()
      volume.device.fault = nil
      var next = volume
      try next.crash()
      #expect(try next.read(inode, 1 << 20) == before, "after \(lost) requests")
      try next.store.unmount()
      #expect(next.check().isSound, "after \(lost) requests")
    }
  }

  private final class Countdown: @unchecked Sendable {
    private let lock = Lock()
    private var left: Int
    init(_ left: Int) { self.left = left }
    func isOver() -> Bool {
      lock.withLock {
        left -= 1
        return left < 0
      }
    }
  }

  @Test func givesBackWhatItDoesNotUse() throws {
    let (volume, inodes) = try Self.aged()
    try volume.store.syncAll()
    let free = volume.store.usage.freeBlocks
    var steps = 0
    #expect(throws: FSError.interrupted) {
      try volume.store.relocate(inodes[0], Self.wholeFile, to: .contiguous, by: Self.administrator) {
        steps += 1
        return steps > 1
      }
    }
    try volume.store.housekeep()
    #expect(volume.store.usage.freeBlocks == free)
    try volume.store.unmount()
    #expect(volume.check().isSound)
  }
}
