/// The end of a volume that is being emptied: which of its blocks nobody has any more, and nobody gets.
///
/// On disk each range is a `quarantine` record of nobody's, so that an enclosure is nothing a reader must know of: a
/// crash ends it, and the next mount makes free space of it. Guarded by the tree lock.
///
/// Invariants: `ranges` ascend, do not touch each other, and begin at `start` or behind it.

import HoldfastBase

struct Enclosure {
  /// Blocks from here on are to go.
  let start: BlockNumber
  private(set) var ranges: [BlockRange] = []

  init(from start: BlockNumber) { self.start = start }

  /// Everything up to `end` is enclosed.
  func isWhole(upTo end: BlockNumber) -> Bool { ranges == [BlockRange(from: start, to: end)] }

  var blocks: UInt64 { ranges.reduce(0) { $0 + $1.count } }

  /// Adds a range; returns the ranges it merges with, and what comes of them all.
  mutating func add(_ range: BlockRange) -> (replaced: [BlockRange], merged: BlockRange) {
    precondition(range.start >= start && !range.isEmpty)
    let first = index(endingAtOrBehind: range.start)
    var last = first
    while last < ranges.count, ranges[last].start <= range.end { last += 1 }
    let replaced = Array(ranges[first..<last])
    let from = min(range.start, replaced.first?.start ?? range.start)
    let merged = BlockRange(from: from, to: max(range.end, replaced.last?.end ?? range.end))
    ranges.replaceSubrange(first..<last, with: [merged])
    return (replaced, merged)
  }

  private func index(endingAtOrBehind block: BlockNumber) -> Int {
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = (low + high) >> 1
      if ranges[middle].end < block { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
