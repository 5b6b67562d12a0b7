/// Mapping holes with unwritten blocks: the first step of a write, and all of fallocate.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Pieces mapped by one transaction.
  private static let fillStep = 8
  /// Speculative preallocation begins at this size (64 KiB): small files are written once …
  private static let speculationFloor: UInt64 = 16
  /// … and grows with the file up to 8 MiB at a time, so that appends find long runs.
  private static let speculationCeiling: UInt64 = 2048

  /// Maps all holes of `blocks`. With `growing`, an append may get more than it asked for, given back at last close.
  /// - Throws: `.noSpace` before anything changed, as far as this caller alone goes.
  func fill(
    _ number: InodeNumber, _ blocks: BlockRange, growing: Bool, _ permit: borrowing MapChangePermit
  ) throws(FSError) {
    let holes = try holeCount(number, blocks)
    if holes == 0 { return }
    let keys = Store.fillStep * (Store.keysPerExtentEdit + Store.keysPerAllocation) + 1
    var block = blocks.start
    while block < blocks.end {
      block = try transaction(keys: keys, .growing) { () throws(FSError) in
        // All of it must fit before any of it is taken.
        if block == blocks.start { try checkFree(holes) }
        return try fillStep(number, BlockRange(from: block, to: blocks.end), growing: growing, permit)
      }
    }
  }

  /// Maps some holes from `blocks.start` on; returns where it stopped.
  private func fillStep(
    _ number: InodeNumber, _ blocks: BlockRange, growing: Bool, _ permit: borrowing MapChangePermit
  ) throws(FSError) -> FileBlock {
    var record = try inode(number)
    var block = blocks.start
    var added: UInt64 = 0
    for _ in 0..<Store.fillStep where block < blocks.end {
      switch try piece(of: number, at: block, limit: blocks.end) {
      case .mapped(let extent): block = extent.end
      case .hole(var hole):
        let isHinted = record.extentSizeHint > 1
        if isHinted {
          hole = try widened(hole, of: number, record)
        } else if growing, hole.end == blocks.end {
          hole.count += try speculation(number, record, behind: blocks.end)
          if hole.end > blocks.end { speculative.insert(number) }
        }
        // Others may have taken blocks since the check: stop at what is left, and say so in a step of its own.
        let left = volume.freeBlocks - min(volume.freeBlocks, metadataReserve)
        if left == 0, added > 0 { break }
        try checkFree(1)
        let want = min(hole.count, left, ExtentRecord.maximumBlocks)
        var hinted: BlockRange?
        if isHinted { hinted = try allocateHinted(hole, want: want, of: number, record) }
        let goal = try goal(number, before: hole.start)
        let run = if let hinted { hinted } else { try allocate(want: want, goal: goal) }
        try insertExtent(
          of: number,
          MappedExtent(
            start: hole.start,
            record: ExtentRecord(physical: run.start, count: UInt32(run.count), flags: [.unwritten])), permit)
        added += run.count
        // A short run may end before what was asked for: what it lacks is still a hole.
        block = max(block, hole.start + run.count)
      }
    }
    if added > 0 {
      record.blocks &+= added
      touchMap(&record)
      try putInode(number, record)
    }
    return min(block, blocks.end)
  }

  private func holeCount(_ number: InodeNumber, _ blocks: BlockRange) throws(FSError) -> UInt64 {
    var holes: UInt64 = 0
    try walk(number, blocks) { piece in
      if case .hole(let hole) = piece { holes += hole.count }
      return true
    }
    return holes
  }

  /// The image block behind the extent that ends where the hole begins, else behind the one before it.
  private func goal(_ number: InodeNumber, before block: FileBlock) throws(FSError) -> BlockNumber? {
    guard block > 0, let before = try extent(of: number, upTo: block - 1) else { return nil }
    return before.record.physical + before.count
  }

  private func speculation(
    _ number: InodeNumber, _ record: InodeRecord, behind end: FileBlock
  ) throws(FSError) -> UInt64 {
    let sizeBlocks = Block.count(covering: record.size)
    guard sizeBlocks >= Store.speculationFloor, end >= sizeBlocks, references.hasWriter(number) else { return 0 }
    guard end < Store.maximumFileBlocks else { return 0 }
    let extra = min(sizeBlocks, Store.speculationCeiling, Store.maximumFileBlocks - end)
    // Never at others' expense: only while there is plenty.
    guard volume.freeBlocks > metadataReserve + 16 * extra else { return 0 }
    // Not over blocks that are mapped already.
    let next = try extent(of: number, from: end)
    let more = BlockRange(start: end, count: min(extra, (next?.start ?? .max) - end))
    // Nor into what a pin holds behind the end: nobody asked for these.
    return seals.conflict(.fill(more), inode: number, by: .daemon) == nil ? more.count : 0
  }

  /// Gives back unwritten blocks behind the end that no fallocate asked for. With `ifUnlocked`, only when nobody uses
  /// the inode.
  func trimPreallocation(of number: InodeNumber, ifUnlocked: Bool) throws(FSError) {
    if ifUnlocked {
      _ = try inodeLocks.exclusiveIfUnused(number) { () throws(FSError) in try trimLocked(number) }
    } else {
      try inodeLocks.exclusive(number) { () throws(FSError) in try trimLocked(number) }
    }
  }

  /// Under the inode's exclusive lock. Skipped, and tried again later, while a request covers what would go (row 16).
  func trimLocked(_ number: InodeNumber) throws(FSError) {
    guard treeLock.withLock({ speculative.contains(number) }) else { return }
    let size = try reading { () throws(FSError) in
      try tree.lookup(.inode(number)) == nil ? 0 : try inode(number).size
    }
    let change = MapChange(
      kind: .truncate, blocks: BlockRange(from: Block.count(covering: size), to: MapChange.endOfMap))
    guard seals.conflict(change, inode: number, by: .daemon) == nil else { return }
    let permit = try seals.authorize(change, inode: number, by: .daemon)
    var more = true
    while more {
      more = try transaction(keys: Store.removalStep * Store.keysPerExtentEdit + 1, .reclaiming) { () throws(FSError) in
        guard try tree.lookup(.inode(number)) != nil else {
          speculative.remove(number)
          return false
        }
        var record = try inode(number)
        guard !record.flags.contains(.keepPreallocation) else {
          speculative.remove(number)
          return false
        }
        let unit = max(UInt64(record.extentSizeHint), 1)
        let end = (Block.count(covering: record.size) + unit - 1) / unit * unit
        let left = try removeExtents(of: number, from: end, to: Key.maximumOffset, limit: Store.removalStep, permit)
        if left.removedBlocks > 0 {
          record.blocks -= min(record.blocks, left.removedBlocks)
          touchMap(&record)
          try putInode(number, record)
        }
        if !left.more { speculative.remove(number) }
        return left.more
      }
    }
  }
}
