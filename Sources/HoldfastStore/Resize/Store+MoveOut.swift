/// Moving a file's blocks out of the enclosure. What lies there is written once more elsewhere, under the inode's lock:
///
///   1. a transaction takes a run of free space, which lies below the end to be, as quarantine of nobody's
///   2. the bytes are copied there
///   3. another one maps the run in place of the old blocks, which go to quarantine
///
/// A crash before 3 is durable leaves the old map, and a run that the next mount frees; the commit that takes 3 puts a
/// barrier behind 2.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Blocks moved under one hold of the inode's lock: 4 MiB, some milliseconds.
  private static let moveStep: UInt64 = 1024

  /// Moves what lies of these file blocks in the enclosure. Returns how many that were.
  /// - Throws: `.sealed`, `.mustWait` and `.recallInFlight` as the gate does; `.noSpace`; `.stale` when the inode is gone.
  func relocateOutOfEnclosure(
    _ inode: InodeNumber, _ blocks: BlockRange, _ actor: Actor
  ) throws(FSError) -> UInt64 {
    var moved: UInt64 = 0
    var block = blocks.start
    while block < blocks.end {
      let (next, count) = try inodeLocks.exclusive(inode) { () throws(FSError) in
        try movePiece(inode, BlockRange(from: block, to: blocks.end), actor)
      }
      block = next
      moved += count
    }
    return moved
  }

  /// The first piece of `blocks`; returns where the next one begins. Under the inode's exclusive lock.
  private func movePiece(
    _ inode: InodeNumber, _ blocks: BlockRange, _ actor: Actor
  ) throws(FSError) -> (next: FileBlock, moved: UInt64) {
    guard let start = treeLock.withLock({ enclosure?.start }) else { return (blocks.end, 0) }
    guard let extent = try reading({ () throws(FSError) in try self.extent(of: inode, from: blocks.start) }),
      extent.start < blocks.end
    else { return (blocks.end, 0) }
    guard let old = extent.part(blocks)?.cut(from: start)?.prefix(Store.moveStep) else { return (extent.end, 0) }
    let permit = try seals.authorize(
      MapChange(kind: .relocate, blocks: BlockRange(start: old.start, count: old.count)), inode: inode, by: actor)
    let place = try takePlace(old.count)
    let moving = old.prefix(place.count)
    do throws(FSError) {
      if moving.isWritten { try copy(moving, to: place) }
      try map(moving, of: inode, to: place, permit)
    } catch {
      // Nobody's, and never named.
      treeLock.withLock { releaseQueue.append(place, of: 0, ticket: 0) }
      throw error
    }
    return (moving.end, moving.count)
  }

  private func takePlace(_ want: UInt64) throws(FSError) -> BlockRange {
    try transaction(keys: Store.keysPerAllocation + 1, .growing) { () throws(FSError) in
      try checkFree(1)
      let left = volume.freeBlocks - min(volume.freeBlocks, metadataReserve)
      let place = try allocate(want: min(want, left), goal: nil)
      try putQuarantine(place, of: 0)
      return place
    }
  }

  private func map(
    _ moving: MappedExtent, of inode: InodeNumber, to place: BlockRange, _ permit: borrowing MapChangePermit
  ) throws(FSError) {
    try transaction(keys: 2 * Store.keysPerExtentEdit + 2, .shrinking) { () throws(FSError) in
      var record = try self.inode(inode)
      try delete(.quarantine(place.start))
      _ = try removeExtents(of: inode, from: moving.start, to: moving.end, limit: 1, permit)
      var extent = moving
      extent.record.physical = place.start
      extent.record.flags.remove(.shared)
      try insertExtent(of: inode, extent, permit)
      touchMap(&record)
      try putInode(inode, record)
    }
  }

  private func copy(_ moving: MappedExtent, to place: BlockRange) throws(FSError) {
    let buffer = AlignedBuffer(byteCount: min(Int(moving.count) << Block.shift, 1 << 20), zeroed: false)
    let from = moving.record.physical << UInt64(Block.shift)
    let to = place.start << UInt64(Block.shift)
    let end = moving.count << UInt64(Block.shift)
    var done: UInt64 = 0
    while done < end {
      let part = UnsafeMutableRawBufferPointer(
        rebasing: buffer.bytes[..<Int(min(end - done, UInt64(buffer.bytes.count)))])
      try readData(into: part, at: from + done)
      try writeData(UnsafeRawBufferPointer(part), at: to + done)
      done += UInt64(part.count)
    }
  }
}

extension MappedExtent {
  /// What of it lies in these file blocks.
  func part(_ blocks: BlockRange) -> MappedExtent? {
    let common = BlockRange(start: start, count: count).intersection(blocks)
    guard !common.isEmpty else { return nil }
    return MappedExtent(
      start: common.start,
      record: ExtentRecord(physical: physical(common.start), count: UInt32(common.count), flags: record.flags))
  }

  /// Its first `limit` blocks, or all of it.
  func prefix(_ limit: UInt64) -> MappedExtent {
    var prefix = self
    prefix.record.count = UInt32(min(count, limit))
    return prefix
  }
}
