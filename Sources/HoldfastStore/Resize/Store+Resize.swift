/// Growing and shrinking the volume, mounted or not (docs/decisions/0010-resize.md).
///
/// The size is a field of the superblock. It changes with one checkpoint, which alone carries what changes with it: the
/// free space that a grow adds, the emptied end that a shrink drops. So a crash leaves the old size or the new one, each
/// with the records that belong to it, and no journal ever speaks of blocks its superblock does not have.
///
///   grow:   the file longer, durably; checkpoint
///   shrink: the end taken out of use, emptied, durably; checkpoint; the file cut
///
/// One resize at a time; it holds no lock but those of the steps it makes.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Gives the volume so many bytes, rounded down to blocks: no fewer than it has. Touches no extent map, so seals are
  /// none of its business.
  /// - Throws: `.deviceTooSmall`, device errors of a file that cannot be made longer, `.invalid` for fewer bytes than there
  ///   are, `.resizeInProgress`; nothing has changed then.
  public func grow(to byteCount: UInt64) throws(FSError) -> ResizeReport {
    try resizing { () throws(FSError) in
      let blocks = byteCount >> UInt64(Block.shift)
      let current = superblock.totalBlocks
      guard blocks >= current, blocks < Superblock.totalBlocksLimit else { throw .invalid(.argument) }
      if blocks > current {
        try device.extend(to: blocks << UInt64(Block.shift))
        try setSize(to: blocks)
      }
      return report(.done, from: current)
    }
  }

  /// Bytes the volume could grow to now without anything being made longer: of its file or device.
  public func availableByteCount() throws(FSError) -> UInt64 { try device.currentByteCount() }

  /// Takes blocks from the volume's end, rounded up so that the size asked for fits. What lies there is moved by `actor`'s leave:
  /// breakable requests are recalled (row 15), hard ones and holders are in the way, and before anything is moved.
  /// - Throws: `.interrupted` when it was cancelled, `.noSpace` when others took the room meanwhile, `.invalid` for
  ///   more bytes than there are, `.resizeInProgress`, device errors. The size is what it was then.
  public func shrink(
    to byteCount: UInt64, by actor: Actor, _ control: ResizeControl = ResizeControl()
  ) throws(FSError) -> ResizeReport {
    try resizing { () throws(FSError) in
      let volume = superblock
      let blocks = Block.count(covering: byteCount)
      guard blocks <= volume.totalBlocks else { throw .invalid(.argument) }
      if blocks == volume.totalBlocks { return report(.done, from: blocks) }
      try dropWhatMayGo()
      var survey = try surveyTail(from: max(blocks, volume.leastTotalBlocks), actor, control)
      if blocks < volume.leastTotalBlocks { return refusal(.tooSmall, survey) }
      if !survey.obstacles.isEmpty { return refusal(.obstructed, survey) }
      if survey.smallestBySpace > blocks { return refusal(.noRoom, survey) }
      control.plan(survey.extentBlocks + survey.chunkBlocks)
      do throws(FSError) {
        try encloseFreeSpace(from: blocks, control)
        try evacuateChunks(control)
        let leased = try emptyTail(actor, control)
        survey = try surveyTail(from: blocks, actor, control, leased: leased)
        if isTailEnclosed {
          try setSize(to: blocks)
          return cutDevice(report(.done, from: volume.totalBlocks, control))
        }
      } catch {
        giveUpShrinking()
        throw error
      }
      giveUpShrinking()
      // Requests and holders of the meantime; or what nobody names: writers that took a place again and again.
      if survey.obstacles.isEmpty { throw .wouldBlock }
      return refusal(.obstructed, survey, control)
    }
  }

  // MARK: One at a time

  private func resizing(_ body: () throws(FSError) -> ResizeReport) throws(FSError) -> ResizeReport {
    treeLock.lock()
    do throws(FSError) {
      try checkWritable()
      if isResizing { throw .resizeInProgress }
    } catch {
      treeLock.unlock()
      throw error
    }
    isResizing = true
    treeLock.unlock()
    defer { treeLock.withLock { isResizing = false } }
    return try body()
  }

  /// The end is everybody's again. A volume that failed meanwhile is left to its next mount.
  private func giveUpShrinking() {
    treeLock.withLock { chunks.reinstate() }
    try? openEnclosure()
  }

  /// What waits for nothing but a commit, or for its last user to be asked, must not be moved first.
  private func dropWhatMayGo() throws(FSError) {
    for inode in treeLock.withLock({ speculative.sorted() }) { trimAfterClose(inode) }
    try housekeep()
    try syncAll()
    try releaseDurableQuarantine()
  }

  // MARK: The checkpoint

  /// Metadata blocks may be short for the checkpoint when they were not a moment before.
  private static let sizeAttempts = 8

  private func setSize(to blocks: UInt64) throws(FSError) {
    for _ in 0..<Store.sizeAttempts {
      try transaction(keys: 2 * Store.keysPerAllocation, .shrinking) {}
      do throws(FSError) {
        return try checkpoint(resizingTo: blocks)
      } catch .noSpace {
        continue
      }
    }
    throw .noSpace
  }

  /// Part of the checkpoint that is about to be frozen, which has seen that it can be. Under the tree lock.
  func applySize(_ blocks: UInt64) throws(FSError) {
    if blocks > volume.totalBlocks {
      let added = BlockRange(from: volume.totalBlocks, to: blocks)
      volume.totalBlocks = blocks
      try addFree(added)
    } else {
      try delete(.quarantine(blocks))
      enclosure = nil
      volume.totalBlocks = blocks
    }
    // The checkpoint alone makes it durable: see above.
    _ = pending.take()
  }

  // MARK: Reports

  private func report(
    _ outcome: ResizeReport.Outcome, from previous: UInt64, _ control: ResizeControl? = nil
  ) -> ResizeReport {
    let bytes = superblock.totalBlocks << UInt64(Block.shift)
    return ResizeReport(
      outcome: outcome, previousByteCount: previous << UInt64(Block.shift), byteCount: bytes, smallestByteCount: bytes,
      movedBlocks: control?.progress.moved ?? 0, obstacles: [])
  }

  private func refusal(
    _ outcome: ResizeReport.Outcome, _ survey: TailSurvey, _ control: ResizeControl? = nil
  ) -> ResizeReport {
    var report = report(outcome, from: superblock.totalBlocks, control)
    report.obstacles = survey.obstacles
    report.smallestByteCount = min(survey.smallest << UInt64(Block.shift), report.byteCount)
    return report
  }

  private func cutDevice(_ report: ResizeReport) -> ResizeReport {
    var report = report
    do throws(FSError) { try device.cut(to: report.byteCount) } catch { report.cutFailure = error }
    return report
  }
}
