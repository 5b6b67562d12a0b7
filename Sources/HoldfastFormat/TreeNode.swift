/// A node of the copy-on-write B+tree: one block.
///
///     offset size field
///          0   48 block header (type 2, level, count)
///         48    2 leaf: lowest byte used by values (heap start; 4096 when empty)
///         50    2 leaf: bytes of the heap no slot points to
///         52   12 zero
///         64      leaf: slots of 20 bytes, sorted by key: high u64, low u64, value offset u16, value length u16;
///                 values fill the block from its end downwards
///                 internal: entries of 32 bytes, sorted: smallest key of the subtree (high, low), child's block
///                 u64, child's generation u64. The first entry's key is a lower bound of everything below.
///
/// A child is valid only with the generation its parent names: a stale copy of the right address is seen.

import HoldfastBase

public struct NodeReference: Equatable, Sendable {
  public var block: BlockNumber
  public var generation: UInt64
  @inlinable public init(block: BlockNumber, generation: UInt64) {
    self.block = block
    self.generation = generation
  }
}

public enum TreeNode {
  public static let headerBytes = 64
  public static let slotBytes = 20
  public static let entryBytes = 32
  public static let maximumEntries = (Block.size - headerBytes) / entryBytes
  /// Deepest tree: 126-way nodes half full reach 2^60 records well before.
  public static let maximumLevel: UInt32 = 12
  /// Longest value: three records of the longest kind (an attribute's first piece) fit a leaf.
  public static let maximumValueBytes = 1300

  @inlinable public static func heapStart(_ node: UnsafeRawPointer) -> Int { Int(node.u16(48)) }
  @inlinable public static func garbage(_ node: UnsafeRawPointer) -> Int { Int(node.u16(50)) }

  @inlinable public static func slotKey(_ node: UnsafeRawPointer, _ index: Int) -> Key {
    let at = headerBytes + index * slotBytes
    return Key(high: node.u64(at), low: node.u64(at + 8))
  }

  @inlinable public static func value(_ node: UnsafeRawPointer, _ index: Int) -> UnsafeRawBufferPointer {
    let at = headerBytes + index * slotBytes
    return UnsafeRawBufferPointer(start: node + Int(node.u16(at + 16)), count: Int(node.u16(at + 18)))
  }

  @inlinable public static func entryKey(_ node: UnsafeRawPointer, _ index: Int) -> Key {
    let at = headerBytes + index * entryBytes
    return Key(high: node.u64(at), low: node.u64(at + 8))
  }

  @inlinable public static func child(_ node: UnsafeRawPointer, _ index: Int) -> NodeReference {
    let at = headerBytes + index * entryBytes
    return NodeReference(block: node.u64(at + 16), generation: node.u64(at + 24))
  }

  /// True when every offset, length and the order of keys are sound and no two values share a byte: after this nothing
  /// read from the node can leave it, and no value changes with another. Header and checksum are checked by `BlockHeader.isValid`.
  public static func isSound(_ node: UnsafeRawPointer) -> Bool {
    let count = BlockHeader.count(node)
    if BlockHeader.level(node) == 0 {
      let heap = heapStart(node)
      guard count <= (Block.size - headerBytes) / slotBytes, heap <= Block.size,
        heap >= headerBytes + count * slotBytes
      else { return false }
      var used = 0
      var taken = ByteSet()
      for index in 0..<count {
        let at = headerBytes + index * slotBytes
        let offset = Int(node.u16(at + 16))
        let length = Int(node.u16(at + 18))
        guard length <= maximumValueBytes, offset + length <= Block.size, length == 0 || offset >= heap,
          taken.insert(offset..<offset + length)
        else { return false }
        if index > 0, !(slotKey(node, index - 1) < slotKey(node, index)) { return false }
        used += length
      }
      return used + garbage(node) == Block.size - heap
    }
    guard count >= 1, count <= maximumEntries, BlockHeader.level(node) <= UInt16(maximumLevel) else { return false }
    for index in 1..<max(count, 1) where !(entryKey(node, index - 1) < entryKey(node, index)) { return false }
    return true
  }
}

/// Bytes of a block, one bit each.
private struct ByteSet {
  private var words = InlineArray<64, UInt64>(repeating: 0)

  /// Adds a range; false when any byte of it is there already.
  mutating func insert(_ range: Range<Int>) -> Bool {
    var at = range.lowerBound
    while at < range.upperBound {
      let bit = at & 63
      let count = min(64 - bit, range.upperBound - at)
      let mask = (UInt64.max >> UInt64(64 - count)) << UInt64(bit)
      if words[at >> 6] & mask != 0 { return false }
      words[at >> 6] |= mask
      at += count
    }
    return true
  }
}
