/// Edits of one node's bytes, which the caller owns (a dirty frame). Layout: HoldfastFormat/TreeNode.swift.

import Glibc
import HoldfastBase
import HoldfastFormat

enum LeafNode {
  static func initialize(_ node: UnsafeMutableRawPointer) {
    node.put(UInt32(0), 12)
    node.put(UInt16(Block.size), 48)
    node.put(UInt16(0), 50)
  }

  static func setCount(_ node: UnsafeMutableRawPointer, _ count: Int) { node.put(UInt32(count), 12) }

  /// Index of the first slot whose key is not less than `key`, and whether it is equal.
  static func search(_ node: UnsafeRawPointer, _ key: Key) -> (index: Int, found: Bool) {
    var low = 0
    var high = BlockHeader.count(node)
    while low < high {
      let middle = (low + high) >> 1
      if TreeNode.slotKey(node, middle) < key { low = middle + 1 } else { high = middle }
    }
    return (low, low < BlockHeader.count(node) && TreeNode.slotKey(node, low) == key)
  }

  /// Bytes between the slots and the values.
  static func gap(_ node: UnsafeRawPointer) -> Int {
    TreeNode.heapStart(node) - TreeNode.headerBytes - BlockHeader.count(node) * TreeNode.slotBytes
  }

  /// Bytes taken by slots and live values.
  static func usedBytes(_ node: UnsafeRawPointer) -> Int {
    Block.size - TreeNode.headerBytes - gap(node) - TreeNode.garbage(node)
  }

  /// Inserts at `index`; the gap must hold a slot and the value.
  static func insert(_ node: UnsafeMutableRawPointer, _ index: Int, _ key: Key, _ value: UnsafeRawBufferPointer) {
    let count = BlockHeader.count(node)
    let slot = node + TreeNode.headerBytes + index * TreeNode.slotBytes
    memmove(slot + TreeNode.slotBytes, slot, (count - index) * TreeNode.slotBytes)
    let heap = TreeNode.heapStart(node) - value.count
    if !value.isEmpty { memcpy(node + heap, value.baseAddress!, value.count) }
    slot.put(key.high, 0)
    slot.put(key.low, 8)
    slot.put(UInt16(heap), 16)
    slot.put(UInt16(value.count), 18)
    node.put(UInt16(heap), 48)
    setCount(node, count + 1)
  }

  static func remove(_ node: UnsafeMutableRawPointer, _ index: Int) {
    let count = BlockHeader.count(node)
    dropValue(node, index)
    let slot = node + TreeNode.headerBytes + index * TreeNode.slotBytes
    memmove(slot, slot + TreeNode.slotBytes, (count - index - 1) * TreeNode.slotBytes)
    setCount(node, count - 1)
    if count == 1 {
      node.put(UInt16(Block.size), 48)
      node.put(UInt16(0), 50)
    }
  }

  private static func dropValue(_ node: UnsafeMutableRawPointer, _ index: Int) {
    let value = TreeNode.value(node, index)
    guard !value.isEmpty else { return }
    let heap = TreeNode.heapStart(node)
    if value.baseAddress! == UnsafeRawPointer(node) + heap {
      node.put(UInt16(heap + value.count), 48)
    } else {
      node.put(UInt16(TreeNode.garbage(node) + value.count), 50)
    }
  }

  /// Overwrites the value in place when the length allows; false when the caller must remove and insert.
  static func replaceInPlace(_ node: UnsafeMutableRawPointer, _ index: Int, _ value: UnsafeRawBufferPointer) -> Bool {
    let old = TreeNode.value(node, index)
    guard old.count == value.count else { return false }
    if !value.isEmpty { memcpy(UnsafeMutableRawPointer(mutating: old.baseAddress!), value.baseAddress!, value.count) }
    return true
  }

  /// Squeezes the garbage out of the heap.
  static func compact(_ node: UnsafeMutableRawPointer) {
    withUnsafeTemporaryAllocation(byteCount: Block.size, alignment: 8) { scratch in
      let copy = scratch.baseAddress!
      memcpy(copy, node, Block.size)
      var heap = Block.size
      for index in 0..<BlockHeader.count(node) {
        let value = TreeNode.value(copy, index)
        heap -= value.count
        if !value.isEmpty { memcpy(node + heap, value.baseAddress!, value.count) }
        node.put(UInt16(heap), TreeNode.headerBytes + index * TreeNode.slotBytes + 16)
      }
      node.put(UInt16(heap), 48)
      node.put(UInt16(0), 50)
    }
  }

  /// Moves slots `from...` of `node` to the end of `other`, which has room for them.
  static func moveTail(_ node: UnsafeMutableRawPointer, from start: Int, to other: UnsafeMutableRawPointer) {
    let count = BlockHeader.count(node)
    for index in start..<count {
      insert(other, BlockHeader.count(other), TreeNode.slotKey(node, index), TreeNode.value(node, index))
    }
    for index in stride(from: count - 1, through: start, by: -1) { remove(node, index) }
    compact(node)
  }

  /// The slot at which about half the bytes lie on either side.
  static func middle(_ node: UnsafeRawPointer) -> Int {
    let count = BlockHeader.count(node)
    let half = usedBytes(node) / 2
    var bytes = 0
    for index in 0..<count {
      bytes += TreeNode.slotBytes + TreeNode.value(node, index).count
      if bytes >= half { return min(max(index + 1, 1), count - 1) }
    }
    return count - 1
  }
}

enum InternalNode {
  /// Index of the child whose subtree holds `key`.
  static func childIndex(_ node: UnsafeRawPointer, _ key: Key) -> Int {
    var low = 1
    var high = BlockHeader.count(node)
    while low < high {
      let middle = (low + high) >> 1
      if TreeNode.entryKey(node, middle) <= key { low = middle + 1 } else { high = middle }
    }
    return low - 1
  }

  static func setChild(_ node: UnsafeMutableRawPointer, _ index: Int, _ child: NodeReference) {
    let at = TreeNode.headerBytes + index * TreeNode.entryBytes
    node.put(child.block, at + 16)
    node.put(child.generation, at + 24)
  }

  static func setKey(_ node: UnsafeMutableRawPointer, _ index: Int, _ key: Key) {
    let at = TreeNode.headerBytes + index * TreeNode.entryBytes
    node.put(key.high, at)
    node.put(key.low, at + 8)
  }

  static func insert(_ node: UnsafeMutableRawPointer, _ index: Int, _ key: Key, _ child: NodeReference) {
    let count = BlockHeader.count(node)
    let entry = node + TreeNode.headerBytes + index * TreeNode.entryBytes
    memmove(entry + TreeNode.entryBytes, entry, (count - index) * TreeNode.entryBytes)
    LeafNode.setCount(node, count + 1)
    setKey(node, index, key)
    setChild(node, index, child)
  }

  /// Removes an entry; the first entry's key stays the lower bound of the node.
  static func remove(_ node: UnsafeMutableRawPointer, _ index: Int) {
    let count = BlockHeader.count(node)
    let lowerBound = TreeNode.entryKey(node, 0)
    let entry = node + TreeNode.headerBytes + index * TreeNode.entryBytes
    memmove(entry, entry + TreeNode.entryBytes, (count - index - 1) * TreeNode.entryBytes)
    LeafNode.setCount(node, count - 1)
    if index == 0, count > 1 { setKey(node, 0, lowerBound) }
  }

  /// Moves entries `from...` of `node` to the end of `other`.
  static func moveTail(_ node: UnsafeMutableRawPointer, from start: Int, to other: UnsafeMutableRawPointer) {
    let count = BlockHeader.count(node)
    let otherCount = BlockHeader.count(other)
    memcpy(
      other + TreeNode.headerBytes + otherCount * TreeNode.entryBytes,
      node + TreeNode.headerBytes + start * TreeNode.entryBytes, (count - start) * TreeNode.entryBytes)
    LeafNode.setCount(other, otherCount + count - start)
    LeafNode.setCount(node, start)
  }
}
