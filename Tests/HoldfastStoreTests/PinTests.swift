import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore
import Testing

/// Pins (rows 3, 4, 11 of docs/SEMANTICS.md): what an operation changes meets them, and nothing else.
@Suite struct PinTests {
  private static let block = UInt64(Block.size)

  /// Pins blocks of a file as they are, by a name.
  private static func pin(_ blocks: Range<UInt64>, of inode: InodeNumber, _ volume: Volume) throws {
    let request = SealRequest(
      scope: .range(byteOffset: blocks.lowerBound * block, byteCount: UInt64(blocks.count) * block), lifetime: .name,
      name: "pin", taker: Volume.user, preparation: .asIs)
    _ = try volume.store.seal(request, createOnly: false, of: inode)
  }

  private static func allocate(
    _ inode: InodeNumber, _ blocks: Range<UInt64>, mode: AllocateMode = .keepSize, _ volume: Volume
  ) throws {
    try volume.store.allocate(
      inode, mode: mode, offset: blocks.lowerBound * block, length: UInt64(blocks.count) * block, handle: nil,
      by: Volume.user)
  }

  /// Block 0 a hole, 1 written and pinned, 2 a hole.
  private static func holesAroundAPin(_ volume: Volume) throws -> InodeNumber {
    let inode = try volume.create("f")
    try volume.write(inode, [UInt8](repeating: 1, count: Block.size), at: block)
    var size = AttributeChanges()
    size.size = 3 * block
    _ = try volume.store.setAttributes(size, of: inode, handle: nil, by: Volume.user)
    try pin(1..<2, of: inode, volume)
    return inode
  }

  @Test func holesOnBothSidesOfAPinCanBeWrittenAtOnce() throws {
    let volume = try Volume()
    let inode = try Self.holesAroundAPin(volume)
    let bytes = [UInt8](repeating: 2, count: 3 * Block.size)
    try volume.write(inode, bytes)
    #expect(try volume.read(inode, bytes.count) == bytes)
  }

  @Test func holesOnBothSidesOfAPinCanBeAllocatedAndFilled() throws {
    let volume = try Volume()
    let inode = try Self.holesAroundAPin(volume)
    try Self.allocate(inode, 0..<1, volume)
    try Self.allocate(inode, 0..<3, volume)
    let request = SealRequest(lifetime: .name, name: "all", taker: Volume.user, preparation: .fill)
    #expect(try volume.store.seal(request, createOnly: false, of: inode).sealCount == 2)
  }

  /// A pinned hole is what a write must not fill.
  @Test func aWriteThatWouldFillAPinnedHoleIsRefused() throws {
    let volume = try Volume()
    let inode = try Self.holesAroundAPin(volume)
    try Self.pin(2..<3, of: inode, volume)
    #expect(throws: FSError.self) { try volume.write(inode, [UInt8](repeating: 2, count: 3 * Block.size)) }
    try volume.write(inode, [UInt8](repeating: 2, count: 2 * Block.size))
  }

  /// Row 11: the pinned blocks are mapped, unwritten, behind the end; the size alone grows, and a hole elsewhere is filled.
  @Test func growingOverPinnedPreallocationIsNoChangeOfIt() throws {
    let volume = try Volume()
    let inode = try volume.create("f")
    try Self.allocate(inode, 4..<8, volume)
    try Self.pin(4..<8, of: inode, volume)
    let pinned = try volume.store.extents(of: inode, from: 4 * Self.block, limit: 8)
    try Self.allocate(inode, 0..<8, mode: [], volume)
    #expect(try volume.store.attributes(of: inode).record.size == 8 * Self.block)
    #expect(
      try volume.store.extents(of: inode, from: 4 * Self.block, limit: 8).last?.physical == pinned.first?.physical)
    #expect(throws: FSError.self, "but writing it would") {
      try volume.write(inode, [1], at: 5 * Self.block)
    }
  }

  /// An append gets more blocks than it asked for, behind the end; not where somebody pinned what there is.
  @Test func speculationStaysOutOfPins() throws {
    let volume = try Volume()
    let inode = try volume.create("f")
    volume.store.retain(inode)
    volume.store.opened(inode, writing: true)
    try volume.write(inode, [UInt8](repeating: 1, count: 64 * Block.size))
    try Self.pin(80..<90, of: inode, volume)
    try volume.write(inode, [UInt8](repeating: 2, count: Block.size), append: true)
    let extents = try volume.store.extents(of: inode, from: 0, limit: 100)
    #expect(extents.allSatisfy { $0.logical + $0.length <= 80 * Self.block }, "\(extents)")
    volume.store.closed(inode, handle: 1, writing: true)
    volume.store.release(inode)
  }
}
