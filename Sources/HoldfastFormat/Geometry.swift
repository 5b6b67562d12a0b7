/// Where the fixed structures lie. Everything behind the journal is shared by data and metadata chunks.
///
///     block 0            superblock, first copy
///     block 1..<256      reserved, zero
///     block 256          superblock, second copy
///     block 257..<257+J  journal ring of J blocks
///     block 257+J...     metadata chunks, file data, free space

import HoldfastBase

public enum Geometry {
  /// The two superblock copies: 1 MiB apart, so that one careless write over the head leaves the other.
  public static let superblocks: [BlockNumber] = [0, 256]
  public static let journalStart: BlockNumber = 257
  /// Smallest journal: two full commit batches of `Journal.maximumBatchBytes` with room to spare.
  public static let minimumJournalBlocks: UInt64 = 1024
  /// Largest journal: replaying it stays within two seconds.
  public static let maximumJournalBlocks: UInt64 = 8192
  /// Blocks of a metadata chunk: 4 MiB, so that chunks neither fragment large files nor are allocated often.
  public static let chunkBlocks: UInt64 = 1024
  /// Smallest volume: head, smallest journal, one chunk and room for data.
  public static let minimumBlocks: UInt64 = 4096

  /// Journal size mkfs chooses for a volume of `totalBlocks`: a 64th of it, within the limits.
  public static func defaultJournalBlocks(totalBlocks: UInt64) -> UInt64 {
    min(max(totalBlocks / 64, minimumJournalBlocks), maximumJournalBlocks)
  }
}
