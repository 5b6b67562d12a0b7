/// The chunk map: which blocks of the metadata chunks a checkpoint uses. A chain of blocks, written anew by
/// every checkpoint, named by the superblock. Metadata that is in no chunk map is nobody's.
///
///     offset size field
///          0   48 block header (type 3, count = entries, generation = checkpoint)
///         48    8 next block of the chain, 0 at its end
///         56    8 zero
///         64      entries of 144 bytes: first block u64, blocks u32, zero u32, bitmap 128 bytes
///                 (bit i of byte i/8 is block first+i; 1 = used by this checkpoint, the chain's own blocks too)

import HoldfastBase

public enum ChunkMap {
  public static let headerBytes = 64
  public static let entryBytes = 144
  public static let bitmapBytes = 128
  public static let entriesPerBlock = (Block.size - headerBytes) / entryBytes

  @inlinable public static func next(_ block: UnsafeRawPointer) -> BlockNumber { block.u64(48) }

  /// Entry `index`: the chunk's blocks and its bitmap.
  @inlinable public static func entry(
    _ block: UnsafeRawPointer, _ index: Int
  ) -> (blocks: BlockRange, bitmap: UnsafeRawBufferPointer) {
    let at = headerBytes + index * entryBytes
    return (
      BlockRange(start: block.u64(at), count: UInt64(block.u32(at + 8))),
      UnsafeRawBufferPointer(start: block + at + 16, count: bitmapBytes)
    )
  }
}
