/// Whose blocks lie in a part of the image. Nothing on disk leads from a block to its file: all maps are read, which
/// takes about a microsecond an extent.

import HoldfastBase
import HoldfastFormat

/// File blocks of an inode that lie together on the image.
public struct MappedRun: Equatable, Sendable {
  public var inode: InodeNumber
  public var blocks: BlockRange
  public var physical: BlockNumber

  public var image: BlockRange { BlockRange(start: physical, count: blocks.count) }
}

extension Store {
  /// Records looked at under one hold of the tree lock.
  private static let searchStep = 1024

  /// Calls `visit` with every extent that overlaps these image blocks, whole, in the order of inodes, until it returns
  /// false. Maps may change meanwhile: what is told was true, not what is. `visit` is called with no lock held.
  public func mappedRuns(
    overlapping image: BlockRange, _ visit: (MappedRun) throws(FSError) -> Bool
  ) throws(FSError) {
    var key: Key? = .inode(1)
    while let from = key {
      let (found, next) = try reading { () throws(FSError) in try searchStep(from: from, image) }
      for run in found where try !visit(run) { return }
      key = next
    }
  }

  private func searchStep(from first: Key, _ image: BlockRange) throws(FSError) -> (found: [MappedRun], next: Key?) {
    var found: [MappedRun] = []
    var key = first
    for _ in 0..<Store.searchStep {
      guard let (at, _) = try tree.first(from: key), at.space == .file else { return (found, nil) }
      let extents = Key.extent(at.object, 0)
      if at < extents {
        key = extents
      } else if at.type == .extent, let extent = try extent(of: at.object, from: at.offset) {
        let run = MappedRun(
          inode: at.object, blocks: BlockRange(start: extent.start, count: extent.count),
          physical: extent.record.physical)
        if run.image.overlaps(image) { found.append(run) }
        key = at.successor
      } else {
        // Behind all records of this inode.
        key = Key(high: at.high, low: .max).successor
      }
    }
    return (found, key)
  }
}
