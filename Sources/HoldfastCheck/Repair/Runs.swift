/// Lists of runs of blocks.

import HoldfastBase

extension [BlockRange] {
  /// The blocks of these runs that are in none of `others`; both ascending and disjoint.
  func subtracting(_ others: [BlockRange]) -> [BlockRange] {
    var rest: [BlockRange] = []
    var next = first.map { first in others.partitioningIndex { $0.end > first.start } } ?? 0
    for run in self {
      var start = run.start
      while next < others.count, others[next].end <= start { next += 1 }
      var index = next
      while index < others.count, others[index].start < run.end {
        if others[index].start > start { rest.append(BlockRange(from: start, to: others[index].start)) }
        start = Swift.max(start, others[index].end)
        index += 1
      }
      if start < run.end { rest.append(BlockRange(from: start, to: run.end)) }
    }
    return rest
  }

  /// The same blocks as ascending runs that neither overlap nor touch.
  func merged() -> [BlockRange] {
    var result: [BlockRange] = []
    for run in sorted(by: { $0.start < $1.start }) where run.count > 0 {
      if let last = result.last, run.start <= last.end {
        result[result.count - 1] = BlockRange(from: last.start, to: Swift.max(last.end, run.end))
      } else {
        result.append(run)
      }
    }
    return result
  }

  /// Whether any of these runs, ascending and disjoint, overlaps `other`.
  func overlap(_ other: BlockRange) -> Bool {
    let index = partitioningIndex { $0.end > other.start }
    return index < count && self[index].start < other.end
  }

  var blockCount: UInt64 { reduce(0) { $0 + $1.count } }
}
