/// Growing: the file longer, then the volume, whatever fails in between.

import Glibc
import HoldfastBase
import HoldfastCheck
import HoldfastSeal
import Testing

@testable import HoldfastStore

extension Volume {
  func grow(mebibytes: Int) throws -> ResizeReport { try store.grow(to: UInt64(mebibytes) << 20) }

  func shrink(mebibytes: Int, control: ResizeControl = ResizeControl(), waits: Bool = false) throws -> ResizeReport {
    try shrink(bytes: UInt64(mebibytes) << 20, control: control, waits: waits)
  }

  func shrink(bytes: UInt64, control: ResizeControl = ResizeControl(), waits: Bool = false) throws -> ResizeReport {
    let actor = Actor(credentials: .daemon, handle: nil, waits: waits)
    return try store.shrink(to: bytes, by: actor, control)
  }

  /// What an independent reader has to say.
  var complaints: [String] { check().issues.map(\.message) }

  var totalMebibytes: UInt64 { store.superblock.totalBlocks >> 8 }
}

@Suite("Store: growing") struct GrowTests {
  @Test func aFullVolumeGrowsAndGoesOn() throws {
    var volume = try Volume(mebibytes: 16, room: 80)
    let files = try volume.fill("a")
    let free = volume.store.usage.freeBlocks
    let report = try volume.grow(mebibytes: 80)
    #expect(report.outcome == .done && report.byteCount == 80 << 20 && report.previousByteCount == 16 << 20)
    #expect(volume.store.usage.totalBlocks == 80 << 8)
    // All of it, but for what is kept back for a larger volume's metadata.
    #expect(volume.store.usage.freeBlocks + 2048 > free + 64 << 8)
    let more = try volume.fill("b")
    #expect(more.count > 50)
    try volume.remount()
    #expect(volume.complaints == [])
    #expect(volume.totalMebibytes == 80)
    for (index, inode) in files.dropLast().enumerated() {
      #expect(try volume.read(inode, 1 << 20).allSatisfy { $0 == UInt8(truncatingIfNeeded: index + 1) })
    }
  }

  @Test func growingWithEverythingDirtyAndSealsStanding() throws {
    var volume = try Volume(mebibytes: 32, room: 64)
    let sealed = try volume.makeFile("sealed", mebibytes: 2)
    try volume.seal(sealed)
    let places = try volume.places(of: sealed)
    let dirty = try volume.create("dirty")
    try volume.write(dirty, pattern(3 << 20))
    _ = try volume.grow(mebibytes: 64)
    #expect(try volume.places(of: sealed) == places)
    #expect(throws: FSError.self) { try volume.truncate(sealed, 0) }
    try volume.write(dirty, pattern(1 << 20, seed: 9), at: 8 << 20)
    try volume.store.syncAll()
    // As after a power cut: the commit behind the grow is there.
    try volume.crash()
    #expect(volume.complaints == [])
    #expect(volume.totalMebibytes == 64)
    #expect(try volume.read(try volume.lookup("dirty"), 3 << 20) == pattern(3 << 20))
  }

  @Test func whatCannotBeIsRefused() throws {
    let volume = try Volume(mebibytes: 32, room: 64)
    #expect(throws: FSError.invalid(.argument)) { try volume.grow(mebibytes: 31) }
    #expect(throws: FSError.deviceTooSmall(byteCount: 64 << 20)) { try volume.grow(mebibytes: 65) }
    #expect(throws: FSError.invalid(.argument)) { try volume.store.grow(to: .max) }
    #expect(try volume.grow(mebibytes: 32).outcome == .done)
    #expect(volume.totalMebibytes == 32)
    #expect(volume.complaints == [])
  }

  @Test func aFileThatCannotBeLongerLeavesTheVolumeAsItWas() throws {
    let volume = try Volume(mebibytes: 32, room: 64)
    volume.device.fault = { $0.operation == .resize ? ENOSPC : nil }
    #expect(throws: FSError.device(operation: .resize, byteOffset: 64 << 20, errno: ENOSPC)) {
      try volume.grow(mebibytes: 64)
    }
    volume.device.fault = nil
    #expect(volume.store.health == .sound && volume.totalMebibytes == 32)
    #expect(try volume.grow(mebibytes: 64).byteCount == 64 << 20)
  }

  @Test func aReadOnlyVolumeStays() throws {
    let made = try Volume(mebibytes: 32, room: 64)
    try made.store.unmount()
    var options = Volume.options
    options.readOnly = true
    let store = try Store(mounting: made.device, options: options)
    #expect(throws: FSError.readOnly) { try store.grow(to: 64 << 20) }
  }

  /// Each write and barrier of a grow in turn is the last one that happens: the old size or the new one, and all files.
  @Test func everyMomentOfAGrowMayBeTheLast() throws {
    var sizes: Set<UInt64> = []
    for last in 0..<200 {
      var volume = try Volume(mebibytes: 16, room: 24)
      let inode = try volume.makeFile("kept", mebibytes: 2)
      try volume.write(inode, pattern(5000, seed: 5), at: 2 << 20)
      let countdown = Countdown(last)
      volume.device.rememberUnsyncedWrites()
      volume.device.fault = { $0.isChange && (countdown.strikes() || countdown.isOver) ? EIO : nil }
      let isDone = (try? volume.grow(mebibytes: 24)) != nil
      volume.device.fault = nil
      volume.device.losePower()
      try volume.crash()
      #expect(volume.complaints == [], "write or barrier \(last)")
      sizes.insert(volume.totalMebibytes)
      #expect(try volume.read(volume.lookup("kept"), 2 << 20) == pattern(2 << 20), "write or barrier \(last)")
      if isDone {
        #expect(volume.totalMebibytes == 24 && sizes == [16, 24])
        return
      }
    }
    Issue.record("a grow of two hundred writes")
  }
}
