/// How records are cut into leaves, and how many leaves they take at most.

import HoldfastBase
import HoldfastFormat

struct LeafPacking {
  /// A leaf takes no more records beyond this: an eighth stays free for what comes later.
  static let fillBytes = (Block.size - TreeNode.headerBytes) * 7 / 8
  /// A leaf that is full holds at least this.
  private static let leastFullBytes = fillBytes - TreeNode.slotBytes - TreeNode.maximumValueBytes

  /// Leaves begun.
  private(set) var leaves: UInt64 = 0
  private var used = 0

  /// The bytes a record takes in its leaf.
  static func need(_ valueBytes: Int) -> Int { TreeNode.slotBytes + valueBytes }

  /// Counts the next record.
  mutating func add(valueBytes: Int) {
    let need = Self.need(valueBytes)
    if leaves == 0 || used + need > Self.fillBytes {
      leaves += 1
      used = 0
    }
    used += need
  }

  /// Leaves enough for the records counted, with `count` more of `bytes` bytes among them in any place.
  func bound(with count: Int, bytes: Int) -> UInt64 {
    leaves + min(UInt64(count), leaves) + UInt64(bytes / Self.leastFullBytes) + 2
  }
}
