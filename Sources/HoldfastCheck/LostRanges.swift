/// Key ranges whose records could not be read, because a node on the way to them is damaged. Checks that need
/// those records are left out: one damaged node is one issue and not a thousand.

import HoldfastBase
import HoldfastFormat

struct LostRanges {
  private struct Range {
    var lower: Key
    /// nil: to the end.
    var upper: Key?
  }

  /// Ascending and disjoint: the walk goes in key order.
  private var ranges: [Range] = []

  var isEmpty: Bool { ranges.isEmpty }
  var count: Int { ranges.count }

  mutating func append(lower: Key, upper: Key?) { ranges.append(Range(lower: lower, upper: upper)) }

  /// Whether any key in [lower, upper) was lost.
  func touches(_ lower: Key, _ upper: Key) -> Bool {
    if ranges.isEmpty { return false }
    let index = ranges.partitioningIndex { $0.upper.map { $0 > lower } ?? true }
    return index < ranges.count && ranges[index].lower < upper
  }

  /// Whether any record of inode `number` was lost.
  func touches(inode number: InodeNumber) -> Bool {
    touches(Key(high: number, low: 0), Key(high: number &+ 1, low: 0))
  }

  /// Whether any record of any inode was lost.
  var touchFiles: Bool { touches(.minimum, Key(space: .orphan, object: 0, low: 0)) }
}
