/// The treap of pins against a list.

import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct IntervalIndexTests {
  private func overlaps(_ index: IntervalIndex, _ range: BlockRange) -> [Int] {
    var found: [Int] = []
    index.forEachOverlap(range) { slot in
      found.append(slot)
      return true
    }
    return found
  }

  @Test func findsWhatAListFinds() {
    var generator = SeededGenerator()
    var index = IntervalIndex()
    var model: [Int: BlockRange] = [:]
    for round in 0..<20_000 {
      let slot = Int.random(in: 0..<300, using: &generator)
      if let range = model.removeValue(forKey: slot) {
        index.remove(range, slot)
      } else {
        let range = BlockRange(
          start: .random(in: 0..<1000, using: &generator), count: .random(in: 1...200, using: &generator))
        index.insert(range, slot)
        model[slot] = range
      }
      #expect(index.count == model.count && index.isEmpty == model.isEmpty)
      // Empty questions as well: they meet nothing.
      let asked = BlockRange(
        start: .random(in: 0..<1200, using: &generator), count: .random(in: 0...50, using: &generator))
      let expected = model.filter { !asked.isEmpty && $0.value.overlaps(asked) }
        .sorted { ($0.value.start, $0.key) < ($1.value.start, $1.key) }.map(\.key)
      guard overlaps(index, asked) == expected else {
        Issue.record("seed \(generator.seed), round \(round): \(asked)")
        return
      }
      #expect(index.firstOverlap(asked) == expected.first)
    }
  }

  @Test func stopsWhenToldTo() {
    var index = IntervalIndex()
    for slot in 0..<100 { index.insert(BlockRange(start: UInt64(slot), count: 10), slot) }
    var seen = 0
    index.forEachOverlap(BlockRange(start: 0, count: 1000)) { _ in
      seen += 1
      return seen < 3
    }
    #expect(seen == 3)
  }
}
