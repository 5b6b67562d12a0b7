/// The device fails at a chosen moment: who is told, what the volume becomes, what the next mount finds.

import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import Testing

@testable import HoldfastStore

@Suite("Store: a failing device") struct DeviceFaultTests {
  private static func options(_ action: StoreOptions.ErrorAction) -> StoreOptions {
    var options = Volume.options
    options.onError = action
    return options
  }

  /// Bytes of the image that hold the file's first extent.
  private func place(of file: InodeNumber, in volume: Volume) throws -> Range<UInt64> {
    let extent = try #require(try volume.store.extents(of: file, from: 0, limit: 1).first)
    return extent.physical..<extent.physical + extent.length
  }

  /// The journal's bytes.
  private func journal(of volume: Volume) -> Range<UInt64> {
    let superblock = volume.store.superblock
    return superblock.journalStart << 12..<superblock.dataStart << 12
  }

  // MARK: Data

  @Test func aReadThatFailsIsOneError() throws {
    let volume = try Volume()
    let bad = try volume.create("bad")
    let good = try volume.create("good")
    try volume.write(bad, pattern(9000))
    try volume.write(good, pattern(9000, seed: 4))
    let place = try place(of: bad, in: volume)
    volume.device.fault = { $0.operation == .read && $0.bytes.overlaps(place) ? EIO : nil }
    #expect(throws: FSError.device(operation: .read, byteOffset: place.lowerBound, errno: EIO)) {
      try volume.read(bad, 9000)
    }
    #expect(try volume.read(good, 9000) == pattern(9000, seed: 4))
    try volume.write(bad, pattern(100, seed: 9))
    try volume.store.sync(bad, dataOnly: false)
    #expect(volume.store.health == .sound)
    volume.device.fault = nil
    #expect(try volume.read(bad, 100) == pattern(100, seed: 9))
  }

  @Test(arguments: [EIO, ENOSPC]) func aWriteThatFailsIsToldToItsWriter(_ code: Int32) throws {
    var volume = try Volume()
    let file = try volume.create("file")
    try volume.write(file, pattern(20_000))
    try volume.store.syncAll()
    let first = volume.store.superblock.dataStart << 12
    volume.device.fault = { $0.operation == .write && $0.bytes.lowerBound >= first ? code : nil }
    // Over what is there, behind the end, into a hole; as copies and as zeros.
    for offset in [0, 20_000, 1_000_000] as [UInt64] {
      let error = #expect(throws: FSError.self) { try volume.write(file, pattern(8192), at: offset) }
      #expect(error?.errno == code)
    }
    #expect(throws: FSError.self) { try volume.allocate(file, [.punchHole, .keepSize], 100, 50) }
    #expect(throws: FSError.self) { try volume.truncate(file, 21_000) }
    #expect(try volume.size(file) == 20_000)
    #expect(volume.store.health == .sound)
    volume.device.fault = nil
    try volume.write(file, pattern(20_000, seed: 3))
    try volume.store.sync(file, dataOnly: false)
    try volume.crash()
    #expect(try volume.read(file, 30_000) == pattern(20_000, seed: 3))
    #expect(volume.check().isSound)
  }

  // MARK: What makes changes durable

  enum Moment: CaseIterable { case journalWrite, dataBarrier, journalBarrier, nodeWrite, superblockWrite }

  @Test(arguments: Moment.allCases, [StoreOptions.ErrorAction.remountReadOnly, .shutdown])
  func aLostChangeStopsTheVolume(_ moment: Moment, _ action: StoreOptions.ErrorAction) throws {
    var volume = try Volume(options: Self.options(action))
    let kept = try volume.create("kept")
    try volume.write(kept, pattern(10_000))
    try volume.store.syncAll()
    volume.device.rememberUnsyncedWrites()
    _ = try volume.create("lost")
    let journal = journal(of: volume)
    // The device fails once and is well again: what was not written then is never called written.
    let failure = Countdown(moment == .journalBarrier ? 1 : 0)
    volume.device.fault = { request in
      let isIt =
        switch moment {
        case .journalWrite: request.operation == .write && request.bytes.overlaps(journal)
        case .dataBarrier, .journalBarrier: request.operation == .barrier
        case .nodeWrite: request.operation == .write && request.bytes.lowerBound >= journal.upperBound
        case .superblockWrite: request.operation == .write && request.bytes.lowerBound < journal.lowerBound
        }
      return isIt && failure.strikes() ? EIO : nil
    }
    let isCheckpoint = moment == .nodeWrite || moment == .superblockWrite
    let error = #expect(throws: FSError.self) {
      if isCheckpoint { try volume.store.checkpoint() } else { try volume.store.sync(kept, dataOnly: false) }
    }
    #expect(error?.errno == EIO)
    for _ in 0..<3 { #expect(throws: FSError.self) { try volume.store.sync(kept, dataOnly: true) } }
    #expect(throws: FSError.self) { try volume.store.syncAll() }
    try expectStopped(volume, kept, action)
    // The superblock says so before anybody unmounts.
    #expect(throws: Never.self) { try volume.store.housekeep() }
    #expect(try Store.readSuperblock(volume.device).newest.state == .errors)
    #expect(throws: FSError.self) { try volume.store.unmount() }
    volume.device.losePower()
    #expect(volume.check().issues.filter { $0.severity == .error }.isEmpty)
    try volume.crash()
    #expect(try volume.read(kept, 20_000) == pattern(10_000))
    #expect(volume.store.superblock.state.contains(.errors))
    try volume.write(kept, [1])
    try volume.store.unmount()
  }

  private func expectStopped(_ volume: Volume, _ kept: InodeNumber, _ action: StoreOptions.ErrorAction) throws {
    let refusal = action == .shutdown ? FSError.shutDown : .readOnly
    #expect(volume.store.isReadOnly)
    switch (volume.store.health, action) {
    case (.readOnly, .remountReadOnly), (.shutDown, .shutdown): break
    default: Issue.record("\(volume.store.health)")
    }
    #expect(throws: refusal) { try volume.create("refused") }
    #expect(throws: refusal) { try volume.write(kept, [1]) }
    #expect(throws: refusal) { try volume.write(kept, [1], append: true) }
    #expect(throws: refusal) { try volume.truncate(kept, 5) }
    #expect(throws: refusal) { try volume.unlink("kept") }
    #expect(throws: refusal) { try volume.allocate(kept, [.punchHole, .keepSize], 0, 10) }
    if action == .shutdown {
      #expect(throws: refusal) { try volume.read(kept, 10) }
      #expect(throws: refusal) { try volume.lookup("kept") }
      #expect(throws: refusal) { try volume.names() }
    } else {
      #expect(try volume.read(kept, 20_000) == pattern(10_000))
      #expect(try volume.names().contains("kept"))
    }
  }

  /// With much waiting for a commit, too, a refused change is refused as such.
  @Test func aFullBatchIsRefusedLikeAnyOther() throws {
    let volume = try Volume()
    volume.device.fault = { $0.operation == .barrier ? EIO : nil }
    var made = 0
    var error: FSError?
    while error == nil, made < 100_000 {
      do { _ = try volume.create("file-\(made)") } catch let refusal as FSError { error = refusal }
      made += 1
    }
    #expect(error?.errno == EIO && made > 100)
    for _ in 0..<3 { #expect(throws: FSError.readOnly) { try volume.create("one more") } }
  }

  /// A refused change of several steps has not begun.
  @Test func nothingIsZeroedOnAVolumeThatTakesNoChanges() throws {
    let volume = try Volume()
    let file = try volume.create("file")
    try volume.write(file, pattern(10_000))
    volume.device.fault = { $0.operation == .barrier ? EIO : nil }
    #expect(throws: FSError.self) { try volume.store.syncAll() }
    let written = volume.device.bytesWritten.load(ordering: .relaxed)
    #expect(throws: FSError.readOnly) { try volume.allocate(file, [.punchHole, .keepSize], 100, 9000) }
    #expect(throws: FSError.readOnly) { try volume.allocate(file, [.zeroRange], 100, 9000) }
    #expect(throws: FSError.readOnly) { try volume.truncate(file, 12_000) }
    #expect(throws: FSError.readOnly) { try volume.write(file, [1], at: 11_000) }
    // A seal promises a durable map, which this volume cannot have.
    #expect(throws: FSError.self) { try volume.seal(file, .fill) }
    #expect(volume.device.bytesWritten.load(ordering: .relaxed) == written)
    #expect(try volume.read(file, 20_000) == pattern(10_000))
  }

  // MARK: Metadata

  @Test func aNodeThatCannotBeReadNowIsOneError() throws {
    var volume = try Volume()
    let directory = try volume.makeDirectory("many")
    for index in 0..<3000 { _ = try volume.create("file-\(index)", in: directory) }
    try volume.remount()
    let first = volume.store.superblock.dataStart << 12
    volume.device.fault = { $0.operation == .read && $0.bytes.lowerBound >= first ? EIO : nil }
    #expect(throws: FSError.self) { try volume.lookup("file-17", in: directory) }
    #expect(volume.store.health == .sound)
    volume.device.fault = nil
    _ = try volume.lookup("file-17", in: directory)
    _ = try volume.create("new", in: directory)
    try volume.remount()
    #expect(try volume.names(in: directory).count == 3003)
  }

  @Test(arguments: [StoreOptions.ErrorAction.remountReadOnly, .shutdown])
  func damageStopsTheVolume(_ action: StoreOptions.ErrorAction) throws {
    var volume = try Volume(options: Self.options(action))
    let kept = try volume.create("kept")
    try volume.write(kept, pattern(10_000))
    let directory = try volume.makeDirectory("many")
    for index in 0..<3000 { _ = try volume.create("file-\(index)", in: directory) }
    try volume.remount()
    // One bit of every node that is read from now on.
    #expect(try volume.read(kept, 20_000) == pattern(10_000))
    let damaged = try #require(volume.flipABitOfALeaf(besides: kept))
    #expect(volume.store.health == .sound)
    var failures = 0
    for index in 0..<3000 {
      do { _ = try volume.lookup("file-\(index)", in: directory) } catch let error as FSError {
        #expect(error.errno == EIO)
        failures += 1
      }
    }
    #expect(failures > 0, "block \(damaged) was never read")
    try expectStopped(volume, kept, action)
    try volume.store.housekeep()
    #expect(try Store.readSuperblock(volume.device).newest.state == .errors)
    #expect(throws: FSError.self) { try volume.store.unmount() }
    #expect(!volume.check().isSound)
  }
}

extension Volume {
  /// Damages the first leaf of directory entries on the device; its block.
  fileprivate func flipABitOfALeaf(besides kept: InodeNumber) -> BlockNumber? {
    let superblock = store.superblock
    for block in superblock.dataStart..<superblock.dataStart + 256 where block != superblock.root.block {
      let node = UnsafeRawPointer(device.memory.bytes.baseAddress! + Int(block) << 12)
      guard BlockHeader.isValid(node, type: .node, id: superblock.id, address: block),
        BlockHeader.level(node) == 0, BlockHeader.generation(node) > 1, BlockHeader.count(node) > 20,
        TreeNode.slotKey(node, 0).object != kept, TreeNode.slotKey(node, 0).type == .dirent
      else { continue }
      device.memory.bytes[Int(block) << 12 + 100] ^= 1
      return block
    }
    return nil
  }
}
