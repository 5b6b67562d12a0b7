/// What the checkpoint's tree alone holds, before the journal is laid over it: the superblock's totals and the
/// chunk map speak of that.

import HoldfastBase
import HoldfastFormat

struct TreeTally {
  struct Totals {
    var freeBlocks: UInt64 = 0
    var quarantinedBlocks: UInt64 = 0
    var inodes: UInt64 = 0
    /// The greatest inode number, 0 when there is none.
    var greatestInode: InodeNumber = 0
  }

  private(set) var totals = Totals()
  private var chunks: [BlockRange] = []

  private let superblock: Superblock
  private let log: IssueLog

  init(_ superblock: Superblock, _ log: IssueLog) {
    self.superblock = superblock
    self.log = log
  }

  mutating func take(_ key: Key, _ value: UnsafeRawBufferPointer) {
    switch key.spaceBits {
    case Key.Space.file.rawValue:
      guard key.typeBits == Key.RecordType.inode.rawValue else { return }
      totals.inodes += 1
      totals.greatestInode = max(totals.greatestInode, key.object)
      if key.object >= superblock.nextInode {
        log.report(.inodeBeyondNext(inode: key.object, next: superblock.nextInode))
      }
    case Key.Space.free.rawValue: totals.freeBlocks &+= LengthRecord.decode(value) ?? 0
    case Key.Space.quarantine.rawValue: totals.quarantinedBlocks &+= QuarantineRecord(decoding: value)?.count ?? 0
    case Key.Space.chunk.rawValue:
      if let count = LengthRecord.decode(value) { chunks.append(BlockRange(start: key.object, count: count)) }
    default: break
    }
  }

  /// After a walk that missed nothing.
  func compareTotals() {
    if totals.freeBlocks != superblock.freeBlocks {
      log.report(.freeTotal(recorded: superblock.freeBlocks, found: totals.freeBlocks))
    }
    if totals.quarantinedBlocks != superblock.quarantinedBlocks {
      log.report(.quarantineTotal(recorded: superblock.quarantinedBlocks, found: totals.quarantinedBlocks))
    }
    if totals.inodes != superblock.inodeCount {
      log.report(.inodeTotal(recorded: superblock.inodeCount, found: totals.inodes))
    }
  }

  /// Chunk records of the tree against the chunk map; and the map against `merged`, the records after replay.
  func compareChunks(_ map: [MetadataChunks.Chunk], merged: [BlockRange]) {
    var index = 0
    for chunk in chunks {
      while index < map.count, map[index].start < chunk.start { index += 1 }
      if index >= map.count || map[index].start != chunk.start || map[index].count != chunk.count {
        log.report(.chunkUnmapped(start: chunk.start, count: chunk.count))
      }
    }
    index = 0
    for chunk in map {
      while index < merged.count, merged[index].start < chunk.start { index += 1 }
      if index >= merged.count || merged[index].start != chunk.start {
        log.report(.chunkUnrecorded(start: chunk.start))
      }
    }
  }
}
