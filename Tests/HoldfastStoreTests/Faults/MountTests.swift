/// What a mount makes of an image that is not quite what it must be.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import Testing

@testable import HoldfastStore

@Suite("Store: mounting what is damaged") struct MountTests {
  // MARK: Superblock copies

  /// The volume's image with its second superblock copy changed, and its checksum made right.
  private func volume(withSecondCopy change: (inout Superblock) -> Void) throws -> MemoryDevice {
    let volume = try Volume(mebibytes: 16)
    try volume.store.unmount()
    var copy = try Store.readSuperblock(volume.device).newest
    change(&copy)
    let block = AlignedBuffer(byteCount: Block.size)
    copy.encode(to: block.bytes.baseAddress!, address: Geometry.superblocks[1])
    try volume.device.write(UnsafeRawBufferPointer(block.bytes), at: Geometry.superblocks[1] << UInt64(Block.shift))
    return volume.device
  }

  private func expectRefusal(_ device: MemoryDevice) throws {
    let before = Array(device.memory.bytes)
    for readOnly in [false, true] {
      var options = Volume.options
      options.readOnly = readOnly
      #expect(throws: FSError.superblocksDisagree) { try Store(mounting: device, options: options) }
    }
    #expect(before.elementsEqual(device.memory.bytes))
  }

  /// Newer or older: whose tree it is must not be guessed.
  @Test(arguments: [-2, 0, 5]) func copiesOfTwoVolumesAreRefused(_ generations: Int) throws {
    let newer = { (copy: inout Superblock) in copy.generation = UInt64(Int(copy.generation) + generations) }
    try expectRefusal(
      volume {
        $0.id = FilesystemID(high: 8, low: 9)
        newer(&$0)
      })
    try expectRefusal(
      volume {
        $0.totalBlocks -= 1
        newer(&$0)
      })
    try expectRefusal(
      volume {
        $0.hashSeed += 1
        newer(&$0)
      })
    try expectRefusal(
      volume {
        $0.createdSeconds += 1
        newer(&$0)
      })
    try expectRefusal(
      volume {
        $0.journalBlocks += 1
        $0.dataStart += 1
        newer(&$0)
      })
  }

  @Test func anOlderCopyOfTheSameVolumeIsBroughtUpToDate() throws {
    let device = try volume { $0.generation -= 1 }
    let store = try Store(mounting: device, options: Volume.options)
    try store.unmount()
    #expect(try Store.readSuperblock(device).copiesAgree)
  }

  // MARK: A seal's record that cannot be read

  /// A volume with two persistently sealed files; the record of the first is no record any more.
  private func volumeWithABadRecord() throws -> (Volume, bad: InodeNumber, good: InodeNumber) {
    let volume = try Volume(mebibytes: 16)
    let bad = try volume.create("bad")
    let good = try volume.create("good")
    for file in [bad, good] {
      try volume.write(file, pattern(5000))
      let request = SealRequest(lifetime: .persistent, name: "keep", taker: Volume.user)
      _ = try volume.store.seal(request, createOnly: false, of: file)
    }
    let store = volume.store
    try store.transaction(keys: 1, .shrinking) { () throws(FSError) in
      let key = try store.tree.first(from: Key(space: .persistentSeal, object: bad, low: 0))!.key
      try withEncoded(7, { $0.put(UInt32(99), 0) }) { (bytes) throws(FSError) in try store.put(key, bytes) }
    }
    return (volume, bad, good)
  }

  @Test(arguments: [false, true]) func nothingChangesUnderAnUnreadableSeal(unmounted: Bool) throws {
    var (volume, bad, good) = try volumeWithABadRecord()
    if unmounted { try volume.store.unmount() } else { try volume.store.syncAll() }
    let before = Array(volume.device.memory.bytes)
    try volume.crash()
    #expect(volume.store.health == .readOnly(.corrupt(structure: .sealRecord, block: bad)))
    #expect(volume.store.seals.count(good) == 1)
    #expect(try volume.read(bad, 9000) == pattern(5000))
    #expect(throws: FSError.readOnly) { try volume.truncate(bad, 10) }
    #expect(throws: FSError.readOnly) { try volume.write(bad, [1]) }
    #expect(throws: FSError.readOnly) { try volume.create("new") }
    let told = Told()
    volume.store.onFailure = { told.error = $0 }
    try volume.store.housekeep()
    #expect("\(String(describing: told.error))".contains("sealRecord"))
    #expect(throws: FSError.self) { try volume.store.unmount() }
    #expect(before.elementsEqual(volume.device.memory.bytes))
  }

  @Test func shutdownRefusesTheMount() throws {
    let (volume, bad, _) = try volumeWithABadRecord()
    try volume.store.unmount()
    var options = Volume.options
    options.onError = .shutdown
    #expect(throws: FSError.corrupt(structure: .sealRecord, block: bad)) {
      try Store(mounting: volume.device, options: options)
    }
  }

  /// What it sealed is gone: it keeps nothing from changing.
  @Test func anUnreadableSealOfNothingIsNoReason() throws {
    var (volume, _, _) = try volumeWithABadRecord()
    let store = volume.store
    try store.transaction(keys: 2, .shrinking) { () throws(FSError) in
      let key = Key(space: .persistentSeal, object: 4000, low: 5)
      try withEncoded(7, { $0.put(UInt32(99), 0) }) { (bytes) throws(FSError) in try store.put(key, bytes) }
      let bad = try store.tree.first(from: Key(space: .persistentSeal, object: 0, low: 0))!.key
      try store.delete(bad)
    }
    try volume.remount()
    #expect(volume.store.health == .sound)
  }
}

private final class Told: @unchecked Sendable { var error: FSError? }
