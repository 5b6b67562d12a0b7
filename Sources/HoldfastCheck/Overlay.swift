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
}
