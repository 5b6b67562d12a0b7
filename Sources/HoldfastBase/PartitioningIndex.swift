/// Binary search, under the name swift-algorithms gives it; one function is not worth a package.

extension RandomAccessCollection where Index == Int {
  /// The first index whose element `belongsInSecondPartition`, `endIndex` when none does: O(log n).
  /// - Precondition: no element that does comes before one that does not.
  @inlinable public func partitioningIndex(where belongsInSecondPartition: (Element) -> Bool) -> Int {
    var low = startIndex
    var high = endIndex
    while low < high {
      let middle = low + (high - low) / 2
      if belongsInSecondPartition(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
