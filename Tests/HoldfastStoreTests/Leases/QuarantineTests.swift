/// Freed blocks that somebody may still reach: held in quarantine, given back when the holder is gone.

import HoldfastBase
import HoldfastSeal
import Synchronization
import Testing

@testable import HoldfastStore

/// Blocks of a file of `mebibytes` MiB.
private func blocks(mebibytes: UInt64) -> UInt64 { mebibytes << 8 }

extension Volume {
  /// A file of so many MiB that says where it is.
  func makeFile(_ name: String, mebibytes: Int) throws -> InodeNumber {
    let inode = try create(name)
    try write(inode, pattern(mebibytes << 20))
    try store.syncAll()
    return inode
  }

  /// Bytes of the device that the file's blocks are.
  func places(of inode: InodeNumber) throws -> [Range<UInt64>] {
    try store.extents(of: inode, from: 0, limit: 1000).map { $0.physical..<$0.physical + $0.length }
  }

  /// Writes one new file after the other until there is no space; their inodes.
  func fill(_ prefix: String) throws -> [InodeNumber] {
    var made: [InodeNumber] = []
    while true {
      do {
        let inode = try create("\(prefix)-\(made.count)")
        made.append(inode)
        try write(inode, [UInt8](repeating: UInt8(truncatingIfNeeded: made.count), count: 1 << 20))
      } catch FSError.noSpace {
        return made
      }
    }
  }

  /// Everything that can be freed is free.
  func settle() throws { try store.settle() }
}

@Suite("Store: blocks somebody may still reach") struct QuarantineTests {
  /// Decision 7: while the inode is leased nobody gets its blocks, and they count as used; then everybody may.
  @Test func aLeaseHoldsWhatItsFileLost() throws {
    let volume = try Volume(mebibytes: 32)
    let inode = try volume.makeFile("file", mebibytes: 4)
    try volume.settle()
    let free = volume.store.usage.freeBlocks
    let places = try volume.places(of: inode)
    volume.device.leased = [inode]
    try volume.truncate(inode, 1 << 20)
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == blocks(mebibytes: 3))
    #expect(volume.store.usage.freeBlocks == free)

    for other in try volume.fill("other") {
      for place in try volume.places(of: other) { #expect(!places.contains { $0.overlaps(place) }) }
    }
    #expect(volume.store.usage.quarantinedBlocks == blocks(mebibytes: 3))
    #expect(volume.check().issues.map(\.message) == [])

    volume.device.leased = []
    // The next allocation that fails asks; nothing else needs to.
    let more = try volume.fill("more").flatMap { try volume.places(of: $0) }
    #expect(volume.store.usage.quarantinedBlocks == 0)
    #expect(more.contains { taken in places.contains { $0.overlaps(taken) } })
    try volume.store.unmount()
    #expect(volume.check().issues.map(\.message) == [])
  }

  /// Others' blocks come free meanwhile, and a queue of many ranges is not gone through again and again.
  @Test func onlyTheHeldInodeWaits() throws {
    let volume = try Volume()
    let held = try volume.makeFile("held", mebibytes: 1)
    let other = try volume.makeFile("other", mebibytes: 1)
    volume.device.leased = [held]
    try volume.settle()
    let free = volume.store.usage.freeBlocks
    // Every other block: many ranges each.
    for block in stride(from: UInt64(0), to: 256, by: 2) {
      try volume.allocate(held, [.punchHole, .keepSize], block << 12, 4096)
      try volume.allocate(other, [.punchHole, .keepSize], block << 12, 4096)
    }
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 128)
    #expect(volume.store.usage.freeBlocks == free + 128)
    let asked = volume.device.leaseQuestions.load(ordering: .relaxed)
    // What is held already is not asked about with every commit.
    for block in stride(from: UInt64(1), to: 33, by: 2) {
      try volume.allocate(held, [.punchHole, .keepSize], block << 12, 4096)
      try volume.store.syncAll()
    }
    #expect(volume.device.leaseQuestions.load(ordering: .relaxed) == asked)
    #expect(volume.store.usage.quarantinedBlocks == 144)
    volume.device.leased = []
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0 && volume.store.usage.freeBlocks == free + 128 + 144)
    try volume.store.unmount()
    #expect(volume.check().issues.map(\.message) == [])
  }

  /// With nobody's lease one question does for everything that a commit frees.
  @Test func withoutLeasesOneQuestionDoes() throws {
    let volume = try Volume()
    let inodes = try (0..<20).map { try volume.makeFile("file-\($0)", mebibytes: 1) }
    try volume.settle()
    let asked = volume.device.leaseQuestions.load(ordering: .relaxed)
    for inode in inodes { try volume.truncate(inode, 0) }
    try volume.store.syncAll()
    #expect(volume.device.leaseQuestions.load(ordering: .relaxed) == asked + 1)
    try volume.settle()
    #expect(volume.store.awaitsHolders == false)
    #expect(volume.device.leaseQuestions.load(ordering: .relaxed) == asked + 1, "nothing waits")
  }

  /// A question that cannot be answered is no permission.
  @Test func aFailingQuestionHolds() throws {
    let volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 1)
    volume.device.fault = { $0.operation == .findLock ? 5 : nil }
    try volume.truncate(inode, 0)
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == blocks(mebibytes: 1))
    volume.device.fault = nil
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0)
  }

  /// Row 28: a revoked handle's blocks come back when it is closed, not before.
  @Test func aRevokedHandleHoldsWhatItsFileLost() throws {
    let volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 2)
    let request = SealRequest(lifetime: .handle(9), name: "", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: inode)
    #expect(throws: FSError.self) { try volume.truncate(inode, 0) }
    #expect(try volume.store.revoke(RevokeSelection(inode: inode)).count == 1)
    try volume.truncate(inode, 0)
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == blocks(mebibytes: 2))
    volume.store.closed(inode, handle: 9, writing: false)
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0)
  }

  /// The same for a process, whose end the table is told of.
  @Test func aRevokedProcessHoldsWhatItsFileLost() throws {
    let volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 2)
    let request = SealRequest(lifetime: .process(77), name: "", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: inode)
    #expect(try volume.store.revoke(RevokeSelection(inode: inode)).count == 1)
    try volume.unlink("file")
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == blocks(mebibytes: 2))
    #expect(volume.store.usage.inodes == 1, "what was revoked keeps the blocks, not the inode")
    volume.store.seals.processDied(77)
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0)
    #expect(volume.check().issues.map(\.message) == [])
  }

  /// Held records stay on a cleanly unmounted volume, and the next mount goes on holding them.
  @Test func aCleanUnmountKeepsWhatIsHeld() throws {
    var volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 2)
    volume.device.leased = [inode]
    try volume.truncate(inode, 0)
    try volume.unlink("file")
    let before = try volume.makeFile("other", mebibytes: 1)
    try volume.remount()
    #expect(volume.check().issues.map(\.message) == [])
    #expect(volume.store.usage.quarantinedBlocks == blocks(mebibytes: 2))
    #expect(try volume.size(before) == 1 << 20)
    try volume.store.unmount()
    let report = volume.check()
    #expect(report.isSound && !report.wasUnclean && report.totals.quarantinedBlocks == blocks(mebibytes: 2))
    volume.store = try Store(mounting: volume.device, options: volume.options)
    volume.device.leased = []
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0)
    try volume.store.unmount()
    #expect(volume.check().totals.quarantinedBlocks == 0)
  }

  /// A mount that takes no changes leaves everything as it is.
  @Test func aReadOnlyMountHarmsNothing() throws {
    let volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 2)
    volume.device.leased = [inode]
    try volume.truncate(inode, 1 << 20)
    try volume.store.syncAll()
    // As after kill -9.
    let image = Array(volume.device.memory.bytes)
    var options = Volume.options
    options.readOnly = true
    let reader = try Store(mounting: volume.device, options: options)
    #expect(try reader.attributes(of: inode).record.size == 1 << 20)
    #expect(reader.seals.totalCount == 0)
    try reader.housekeep()
    try reader.unmount()
    #expect(volume.device.memory.bytes.elementsEqual(image))
  }
}
