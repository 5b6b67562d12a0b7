/// Numbers for whoever watches a volume: `holdfast.stats`.

import HoldfastBase

/// Of the metadata cache and the journal, at one moment.
public struct VolumeStatistics: Sendable {
  public var cacheBytes: Int
  public var cacheLimitBytes: Int
  /// Looked for and found in memory, or read from the device, since the mount.
  public var cacheHits: UInt64
  public var cacheMisses: UInt64
  /// Nodes changed since the last checkpoint.
  public var dirtyNodes: Int
  /// Blocks of the journal since the last checkpoint, and in all.
  public var journalUsedBlocks: UInt64
  public var journalBlocks: UInt64
  /// Number of the last checkpoint.
  public var checkpoint: UInt64
}

extension Store {
  public var statistics: VolumeStatistics {
    treeLock.withLock {
      VolumeStatistics(
        cacheBytes: tree.cacheResidentBytes, cacheLimitBytes: tree.cacheFrameLimit * Block.size,
        cacheHits: tree.cacheHits, cacheMisses: tree.cacheMisses, dirtyNodes: tree.dirtyCount,
        journalUsedBlocks: journal.usage, journalBlocks: journal.capacityBlocks, checkpoint: volume.generation)
    }
  }
}
