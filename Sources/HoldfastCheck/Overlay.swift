/// The net effect of the journal: for each key it names, the last value or a deletion, in key order.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct Overlay {
  struct Mutation {
    var key: Key
    /// nil: the key is deleted. Points into the journal's buffer.
    var value: UnsafeRawBufferPointer?
  }

  private(set) var mutations: [Mutation] = []
  /// What the values point into.
  private var memory: AlignedBuffer?

  var count: Int { mutations.count }

  mutating func append(_ key: Key, _ value: UnsafeRawBufferPointer?) {
    mutations.append(Mutation(key: key, value: value))
  }

  mutating func truncate(to count: Int) { mutations.removeLast(mutations.count - count) }

  /// Sorts by key and keeps the last mutation of each.
  mutating func settle(keeping memory: AlignedBuffer) {
    self.memory = memory
    // `sort` is not promised to be stable: order by position within a key explicitly.
    let all = mutations
    let order = all.indices.sorted { all[$0].key == all[$1].key ? $0 < $1 : all[$0].key < all[$1].key }
    var kept: [Mutation] = []
    kept.reserveCapacity(order.count)
    for index in order {
      if let last = kept.last, last.key == all[index].key { kept.removeLast() }
      kept.append(all[index])
    }
    mutations = kept
  }

  func merge() -> Merge { Merge(changes: mutations) }

  /// The records of a tree changed by an overlay, in key order: `take` each leaf in turn, then `finish`.
  struct Merge {
    fileprivate let changes: [Mutation]
    private var next = 0

    fileprivate init(changes: [Mutation]) { self.changes = changes }

    mutating func take<Failure>(
      _ leaf: UnsafeRawPointer, _ body: (Key, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
      for slot in 0..<BlockHeader.count(leaf) {
        let key = TreeNode.slotKey(leaf, slot)
        while next < changes.count, changes[next].key < key { try takeChange(body) }
        if next < changes.count, changes[next].key == key {
          try takeChange(body)
        } else {
          try body(key, TreeNode.value(leaf, slot))
        }
      }
    }

    mutating func finish<Failure>(
      _ body: (Key, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
      while next < changes.count { try takeChange(body) }
    }

    private mutating func takeChange<Failure>(
      _ body: (Key, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
      let change = changes[next]
      next += 1
      if let value = change.value { try body(change.key, value) }
    }
  }
}
