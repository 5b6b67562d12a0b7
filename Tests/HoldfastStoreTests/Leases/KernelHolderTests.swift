/// BMAP below the mount: where blocks are, what the kernel's request keeps, and when bytes come to the device.

import HoldfastBase
import HoldfastSeal
import Testing

@testable import HoldfastStore

@Suite("Store: the kernel as a holder") struct KernelHolderTests {
  private let swapon = Credentials(uid: 0, gid: 0, pid: 77)

  private func place(_ volume: Volume, _ inode: InodeNumber, _ offset: UInt64 = 0, handle: UInt64 = 1) throws -> UInt64?
  {
    try volume.store.placeForKernel(of: inode, at: offset, asker: swapon) { [handle] }
  }

  @Test func placesAreThoseOfTheMap() throws {
    let volume = try Volume()
    let inode = try volume.create("file")
    try volume.write(inode, pattern(3 * 4096))
    try volume.allocate(inode, [], 3 * 4096, 4096)
    try volume.truncate(inode, 5 * 4096 + 10)
    #expect(throws: FSError.invalid(.notSealed)) { try place(volume, inode) }
    try volume.seal(inode, .asIs)
    let first = try #require(try place(volume, inode))
    #expect(try place(volume, inode, 2 * 4096 + 512) == first + 2 * 4096 + 512)
    for offset in [3, 4, 5, 6, 1 << 40] as [UInt64] {
      #expect(try place(volume, inode, offset * 4096) == nil, "unwritten, holes, behind the end")
    }
    #expect(throws: FSError.stale) { try place(volume, 9999) }
    #expect(throws: FSError.invalid(.argument)) { try place(volume, Volume.root) }
    volume.store.closed(inode, handle: 1, writing: false)
    #expect(volume.store.seals.count(inode) == 1)
  }

  /// Nothing of ours may come to the device after what the kernel stores there.
  @Test func bytesAreOnTheDeviceFirst() throws {
    let volume = try Volume()
    let inode = try volume.create("file")
    try volume.write(inode, pattern(4 * 4096))
    try volume.seal(inode)
    try volume.write(inode, [1, 2, 3], at: 4096)
    let before = volume.device.work.barriers
    _ = try place(volume, inode)
    let asked = volume.device.work.barriers
    #expect(asked > before)
    _ = try place(volume, inode, 4096)
    #expect(volume.device.work.barriers == asked, "once")
    try volume.write(inode, [4], at: 8192)
    #expect(volume.device.work.barriers == asked + 1)
    let other = try volume.create("other")
    try volume.write(other, pattern(4096))
    #expect(volume.device.work.barriers == asked + 1, "other files as ever")
    volume.store.closed(inode, handle: 1, writing: false)
    try volume.write(inode, [4], at: 8192)
    #expect(volume.device.work.barriers == asked + 1)
  }

  /// What could not be made durable is not told, and not forgotten.
  @Test func aFailedBarrierTellsNothing() throws {
    let volume = try Volume()
    let inode = try volume.create("file")
    try volume.write(inode, pattern(4096))
    try volume.seal(inode)
    try volume.write(inode, [1], at: 0)
    volume.device.fault = { $0.operation == .barrier ? 5 : nil }
    #expect(throws: FSError.self) { try place(volume, inode) }
    #expect(throws: FSError.self) { try place(volume, inode) }
  }

  @Test func aRevokeFreesTheMapAndNoBlock() throws {
    let volume = try Volume()
    let inode = try volume.create("file")
    try volume.write(inode, pattern(16 * 4096))
    try volume.seal(inode)
    _ = try place(volume, inode)
    try volume.unseal(inode)
    #expect(throws: FSError.self) { try volume.truncate(inode, 0) }
    #expect(try volume.store.revoke(RevokeSelection(inode: inode)).count == 1)
    try volume.truncate(inode, 0)
    for _ in 0..<3 { try volume.settle() }
    #expect(volume.store.usage.quarantinedBlocks == 16)
    #expect(volume.store.heldQuarantine(limit: 1).first?.isKnownToKernel == true)
    volume.store.closed(inode, handle: 1, writing: false)
    for _ in 0..<3 { try volume.settle() }
    #expect(volume.store.usage.quarantinedBlocks == 0)
  }

  /// A daemon that ends while the mount is in use must not write its last checkpoint over a swap file without a name.
  @Test func theEndOfTheMountFreesNothingTheKernelKnows() throws {
    var volume = try Volume()
    let inode = try volume.create("file")
    try volume.write(inode, pattern(16 * 4096))
    volume.store.retain(inode)
    try volume.seal(inode)
    let first = try #require(try place(volume, inode))
    try volume.unlink("file")
    for _ in 0..<3 { try volume.settle() }
    #expect(volume.store.seals.request(.kernel, inode: inode) != nil)
    let kept = Array(volume.device.memory.bytes[Int(first)..<Int(first) + 16 * 4096])
    try volume.store.unmount()
    #expect(Array(volume.device.memory.bytes[Int(first)..<Int(first) + 16 * 4096]) == kept)
    #expect(volume.check().issues.map(\.message) == [])
    // At the next mount nobody knows of them any more: the device was not to be had before.
    volume.store = try Store(mounting: volume.device, options: volume.options)
    for _ in 0..<3 { try volume.settle() }
    #expect(volume.store.usage.quarantinedBlocks == 0)
  }
}
