import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore
import Testing

/// What the engine does for layouts (docs/decisions/0009-layouts.md), without a kernel's page cache.
@Suite struct LayoutTests {
  private static let handle: UInt64 = 77

  private static func take(
    _ access: LayoutAccess, _ scope: SealScope = .wholeFile, of inode: InodeNumber, _ volume: Volume
  ) throws -> UInt64 {
    var request = SealRequest(scope: scope, lifetime: .handle(handle), name: "", taker: Volume.user)
    request.layout = access
    return try volume.store.seal(request, createOnly: false, of: inode).id
  }

  private static func giveBack(
    _ id: UInt64, size: UInt64?, of inode: InodeNumber, _ volume: Volume
  ) throws -> UInt64 {
    try volume.store.returnLayout(
      Store.LayoutReturn(id: id, handle: handle, size: size, touches: false), of: inode, by: Volume.user, waits: false
    ).size
  }

  /// A file of 6000 bytes with blocks behind its end that have held somebody else's bytes.
  private static func preallocated(_ volume: Volume) throws -> InodeNumber {
    let old = try volume.create("old")
    try volume.write(old, [UInt8](repeating: 0x5a, count: 1 << 20))
    try volume.unlink("old")
    try volume.store.settle()
    let inode = try volume.create("f")
    try volume.write(inode, [UInt8](repeating: 1, count: 6000))
    try volume.allocate(inode, .keepSize, 0, 1 << 20)
    return inode
  }

  @Test func aSyncIsABarrierWhileSomebodyMayStore() throws {
    let volume = try Volume()
    let inode = try volume.create("f")
    try volume.write(inode, [UInt8](repeating: 1, count: Block.size))
    let id = try Self.take(.write, of: inode, volume)
    try volume.store.sync(inode, dataOnly: true)
    var before = volume.device.work.barriers
    try volume.store.sync(inode, dataOnly: true)
    #expect(volume.device.work.barriers == before + 1)
    before = volume.device.work.barriers
    try volume.store.settle()
    #expect(volume.device.work.barriers > before)
    _ = try Self.giveBack(id, size: nil, of: inode, volume)
    // Once more for what was stored last.
    try volume.store.sync(inode, dataOnly: true)
    before = volume.device.work.barriers
    try volume.store.sync(inode, dataOnly: true)
    #expect(volume.device.work.barriers == before)
  }

  @Test func whatIsStoredBehindTheEndIsTheFilesAfterTheReturnOnly() throws {
    var volume = try Volume()
    let inode = try Self.preallocated(volume)
    let id = try Self.take(.write, .range(byteOffset: 0, byteCount: 1 << 20), of: inode, volume)
    let extents = try volume.store.layoutExtents(of: inode, .wholeFile, from: 0, limit: 100).extents
    let bytes = volume.device.memory.bytes
    for extent in extents {
      for at in 0..<extent.length where extent.logical + at >= 6000 {
        #expect(bytes[Int(extent.physical + at)] == 0, "byte \(extent.logical + at)")
        bytes[Int(extent.physical + at)] = 2
      }
    }
    let image = Array(bytes)
    // A crash now shows the old size, and zeros to whoever makes the file grow.
    let crashed = try Volume(of: image)
    #expect(try crashed.size(inode) == 6000)
    try crashed.truncate(inode, 20_000)
    #expect(try crashed.read(inode, 14_000, at: 6000) == [UInt8](repeating: 0, count: 14_000))
    #expect(crashed.check().isSound)

    #expect(try Self.giveBack(id, size: 20_000, of: inode, volume) == 20_000)
    #expect(try volume.read(inode, 20_000, at: 0).dropFirst(6000).allSatisfy { $0 == 2 })
    try volume.remount()
    #expect(try volume.read(inode, 30_000, at: 0).count == 20_000)
    #expect(try volume.read(inode, 20_000, at: 0).dropFirst(6000).allSatisfy { $0 == 2 })
    #expect(volume.check().isSound)
    // What lies behind the new end was stored to, but never the file's: zeros.
    try volume.truncate(inode, 100_000)
    #expect(try volume.read(inode, 80_000, at: 20_000).allSatisfy { $0 == 0 })
  }

  @Test func aReturnSetsNoSizeThatWasNotLaidOut() throws {
    let volume = try Volume()
    let inode = try Self.preallocated(volume)
    let reading = try Self.take(.read, of: inode, volume)
    #expect(throws: FSError.badHandle) { try Self.giveBack(reading, size: 7000, of: inode, volume) }
    _ = try Self.giveBack(reading, size: nil, of: inode, volume)
    let id = try Self.take(.write, .range(byteOffset: 0, byteCount: 8192), of: inode, volume)
    #expect(throws: FSError.invalid(.argument)) { try Self.giveBack(id, size: 8193, of: inode, volume) }
    #expect(try Self.giveBack(id, size: 8192, of: inode, volume) == 8192)
    #expect(throws: FSError.noData) { try Self.giveBack(id, size: nil, of: inode, volume) }
  }

  @Test func pagesOfALayoutEndWhereItDoes() throws {
    let volume = try Volume()
    let inode = try volume.create("f")
    for index in 0..<20 {
      try volume.write(inode, [UInt8](repeating: 1, count: Block.size), at: UInt64(index) * 8192)
    }
    let scope = SealScope.range(byteOffset: 8192, byteCount: 10 * 8192)
    var found: [UInt64] = []
    var cursor: UInt64? = 0
    while let from = cursor {
      let page = try volume.store.layoutExtents(of: inode, scope, from: from, limit: 3)
      #expect(page.extents.count <= 3)
      found += page.extents.map(\.logical)
      cursor = page.next
    }
    #expect(found == (1...10).map { UInt64($0) * 8192 })
  }
}
