/// The blocks taken out of use: merged as they come, in whatever order.

import HoldfastBase
import Testing

@testable import HoldfastStore

@Suite("Store: enclosure") struct EnclosureTests {
  private func range(_ from: UInt64, _ to: UInt64) -> BlockRange { BlockRange(from: from, to: to) }

  @Test func rangesMergeWithBothNeighbours() {
    var enclosure = Enclosure(from: 100)
    #expect(enclosure.add(range(110, 120)) == ([], range(110, 120)))
    #expect(enclosure.add(range(130, 140)) == ([], range(130, 140)))
    #expect(enclosure.add(range(120, 130)) == ([range(110, 120), range(130, 140)], range(110, 140)))
    #expect(enclosure.blocks == 30)
    #expect(!enclosure.isWhole(upTo: 140))
    #expect(enclosure.add(range(100, 110)) == ([range(110, 140)], range(100, 140)))
    #expect(enclosure.isWhole(upTo: 140))
    #expect(!enclosure.isWhole(upTo: 141))
  }

  @Test func anyOrderComesToOneRange() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    var pieces = (0..<300).map { range(1000 + 3 * $0, 1003 + 3 * $0) }
    pieces.shuffle(using: &random)
    var enclosure = Enclosure(from: 1000)
    var recorded: Set<BlockRange> = []
    for piece in pieces {
      let (replaced, merged) = enclosure.add(piece)
      for old in replaced { #expect(recorded.remove(old) != nil, "seed \(seed)") }
      recorded.insert(merged)
      #expect(recorded == Set(enclosure.ranges), "seed \(seed)")
    }
    #expect(enclosure.isWhole(upTo: 1900), "seed \(seed)")
  }
}

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
