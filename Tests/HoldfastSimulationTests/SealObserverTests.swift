import HoldfastClient
import Testing

@testable import HoldfastSimulation

/// The observer of the races finds what it looks for.
@Suite struct SealObserverTests {
  private static let granted = ObservedMap(
    generation: 7, extents: [MapExtent(logical: 4096, physical: 81920, length: 8192, isPlain: true)])

  private static func difference(_ blocks: Range<UInt64>?, _ now: ObservedMap) -> String? {
    SealObserver.difference(
      granted: ObservedMap(generation: granted.generation, extents: granted.within(blocks)), blocks: blocks, now: now)
  }

  @Test func whatIsAsGrantedIsNoDifference() {
    #expect(Self.difference(nil, Self.granted) == nil)
    var later = Self.granted
    later.generation += 1
    #expect(Self.difference(nil, later) == nil, "the generation moves on when others' grants are withdrawn")
    later.extents.append(MapExtent(logical: 16384, physical: 0, length: 4096, isPlain: true))
    #expect(Self.difference(1..<3, later) == nil, "outside of the pin")
  }

  @Test func whatMovedIsFound() {
    var moved = Self.granted
    moved.extents[0].physical += 4096
    #expect(Self.difference(nil, moved) != nil && Self.difference(2..<3, moved) != nil)
    var cut = Self.granted
    cut.extents[0].length = 4096
    #expect(Self.difference(1..<2, cut) == nil && Self.difference(1..<3, cut) != nil)
    var unwritten = Self.granted
    unwritten.extents[0].isPlain = false
    #expect(Self.difference(2..<3, unwritten) != nil)
    var filled = Self.granted
    filled.extents.append(MapExtent(logical: 12288, physical: 4096, length: 4096, isPlain: false))
    #expect(Self.difference(1..<4, filled) != nil && Self.difference(1..<3, filled) == nil)
    var earlier = Self.granted
    earlier.generation = 6
    #expect(Self.difference(nil, earlier) != nil)
  }
}
