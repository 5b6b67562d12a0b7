/// The redo journal: a ring of blocks holding records of logical mutations, one record a commit.
///
///     offset size field
///          0   48 block header (type 4, count = mutations, address = position in the ring, generation = sequence);
///                 the checksum covers 4..<64+payload length, across blocks
///         48    4 payload length in bytes
///         52   12 zero
///         64      payload: mutations one behind the other:
///                 key high u64, key low u64, length u16 (0xffff: delete), value
///
/// A record begins on a block and may wrap around the ring's end. Sequences rise by one. Mutations are absolute,
/// one per key and record, so replay is idempotent. The first record that is not valid ends the journal; a valid
/// record with a higher sequence behind it means damage, not an end.

import HoldfastBase

public enum JournalRecord {
  public static let headerBytes = 64
  public static let mutationHeaderBytes = 18
  public static let deletion: UInt16 = 0xffff

  /// Blocks a record with this payload takes.
  @inlinable public static func blocks(payloadBytes: Int) -> UInt64 {
    Block.count(covering: UInt64(headerBytes + payloadBytes))
  }

  /// Whether what lies here bears the magic and the type of a record: all that may be said of it unread.
  @inlinable public static func isMarked(_ block: UnsafeRawPointer) -> Bool {
    block.u32(4) == BlockHeader.magic && block.u16(8) == BlockType.journal.rawValue
  }

  @inlinable public static func payloadBytes(_ record: UnsafeRawPointer) -> Int { Int(record.u32(48)) }

  /// Reads mutations of a checksummed payload; false when the bytes do not parse (then nothing may be applied).
  public static func forEachMutation<Failure>(
    _ payload: UnsafeRawBufferPointer,
    _ body: (Key, UnsafeRawBufferPointer?) throws(Failure) -> Void
  ) throws(Failure) -> Bool {
    var at = 0
    while at < payload.count {
      guard payload.count - at >= mutationHeaderBytes, let p = payload.baseAddress else { return false }
      let key = Key(high: p.u64(at), low: p.u64(at + 8))
      let length = p.u16(at + 16)
      at += mutationHeaderBytes
      if length == deletion {
        try body(key, nil)
        continue
      }
      guard Int(length) <= TreeNode.maximumValueBytes, payload.count - at >= Int(length) else { return false }
      try body(key, UnsafeRawBufferPointer(rebasing: payload[at..<at + Int(length)]))
      at += Int(length)
    }
    return true
  }
}
