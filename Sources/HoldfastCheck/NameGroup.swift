/// Names with one hash: they have consecutive keys, so a repeated name stands in one group.

import HoldfastBase

struct NameGroup {
  private var hash: UInt64?
  /// The group's names one behind the other, each behind its length.
  private var bytes: [UInt8] = []

  mutating func reset() {
    hash = nil
    bytes.removeAll(keepingCapacity: true)
  }

  /// Adds a name of at most 255 bytes; false when the group has it already.
  mutating func insert(_ name: UnsafeRawBufferPointer, hash: UInt64) -> Bool {
    if self.hash != hash {
      bytes.removeAll(keepingCapacity: true)
      self.hash = hash
    } else if contains(name) {
      return false
    }
    bytes.append(UInt8(truncatingIfNeeded: name.count))
    bytes.append(contentsOf: name)
    return true
  }

  private func contains(_ name: UnsafeRawBufferPointer) -> Bool {
    bytes.withUnsafeBytes { all in
      var at = 0
      while at < all.count, let base = all.baseAddress {
        let count = Int(all[at])
        if count == name.count, name.matches(base + at + 1) { return true }
        at += 1 + count
      }
      return false
    }
  }
}
