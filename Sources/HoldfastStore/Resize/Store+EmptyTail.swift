/// Emptying the end of the volume: metadata out of its chunks, files' blocks to other places, quarantine to its end.
///
/// Each step is an ordinary change that a crash may follow. Metadata goes first: what the moves of files change in the
/// tree is written below already.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  // MARK: Metadata

  /// Nodes copied under one hold of the tree lock.
  private static let evacuationStep = 32
  /// A chunk given back waits for a checkpoint each for its nodes, for the map, and for itself; one more where another
  /// checkpoint came between.
  private static let chunkRounds = 6

  /// No metadata lies in the enclosure any more.
  func evacuateChunks(_ control: ResizeControl) throws(FSError) {
    guard let start = treeLock.withLock({ enclosure?.start }) else { return }
    for _ in 0..<Store.chunkRounds {
      guard try retireChunks(from: start, control) else { return }
      // Nodes of this generation are copied by no change: now all are of an older one.
      try checkpoint(givingBack: true)
      try evacuateNodes(control)
      try checkpoint(givingBack: true)
    }
    guard treeLock.withLock({ chunks.usedBlocks(from: start) == 0 }) else { throw .noSpace }
  }

  /// Nothing more is put into chunks that reach beyond `start`; false when there are none. There is room in the others
  /// for what changes need, before.
  private func retireChunks(from start: BlockNumber, _ control: ResizeControl) throws(FSError) -> Bool {
    while true {
      try control.check()
      let isReady = try transaction(keys: Store.keysPerAllocation, .shrinking) { () throws(FSError) -> Bool? in
        guard chunks.reach(beyond: start) else { return nil }
        let need = 2 * metadataNeed(keys: Store.keysPerMake, .growing)
        if chunks.freeBlocks(below: start) >= need {
          chunks.retire(from: start)
          return true
        }
        guard try addChunk(atLeast: Store.smallestChunkBlocks) else { throw .noSpace }
        return false
      }
      if let isReady { if isReady { return true } } else { return false }
    }
  }

  private func evacuateNodes(_ control: ResizeControl) throws(FSError) {
    var cursor: Key? = Key.minimum
    while let from = cursor {
      try control.check()
      // Copying a path takes as much as changing a key on it, and half as much again where every level is copied.
      cursor = try transaction(keys: 2 * Store.evacuationStep, .shrinking) { () throws(FSError) in
        let (next, copied) = try tree.evacuate(from: from, limit: Store.evacuationStep) { chunks.isRetiring($0) }
        control.noteMoved(UInt64(copied))
        return next
      }
    }
  }

  // MARK: Files

  /// Rounds over all files. One finds everything, but for what was busy; more are for requests that come and go.
  private static let emptyingRounds = 4

  /// Moves what can be moved; `isTailEnclosed` tells whether that was all.
  /// - Returns: inodes whose blocks a lease keeps where they are: their holders gave back what could be asked for.
  func emptyTail(_ actor: Actor, _ control: ResizeControl) throws(FSError) -> Set<InodeNumber> {
    var leased: Set<InodeNumber> = []
    guard let start = treeLock.withLock({ enclosure?.start }) else { return leased }
    for _ in 0..<Store.emptyingRounds {
      var isStuck = false
      try mappedRuns(overlapping: BlockRange(from: start, to: Placement.everywhere.end)) { (run) throws(FSError) in
        try control.check()
        if leased.contains(run.inode) { return true }
        do throws(FSError) {
          if try !moveOut(run.cut(from: start), from: start, actor, control) { isStuck = true }
        } catch {
          switch error {
          // Gone, or in the way: the survey that follows names who is.
          case .stale, .sealed: isStuck = true
          case .leased:
            leased.insert(run.inode)
            isStuck = true
          default: throw error
          }
        }
        return true
      }
      try releaseTail()
      if isTailEnclosed || isStuck { break }
    }
    return leased
  }

  /// Moves one extent, and waits for whoever is asked to let go of it; false when something of it was left where it is.
  private func moveOut(
    _ run: MappedRun, from start: BlockNumber, _ actor: Actor, _ control: ResizeControl
  ) throws(FSError) -> Bool {
    var turn: UInt64?
    defer { if let turn { seals.endTurn(turn) } }
    while true {
      do throws(FSError) {
        // Anywhere: all that is free lies in front of the enclosure.
        let report = try relocate(
          run.inode, run.blocks, from: BlockRange(from: start, to: Placement.everywhere.end), to: Placement(), by: actor
        ) { !control.isCancelled }
        control.noteMoved(report.movedBlocks)
        if report.unplacedBlocks > 0 { throw .noSpace }
        return report.skippedBlocks == 0
      } catch .mustWait(let breaker) {
        if let turn { seals.endTurn(turn) }
        turn = nil
        try wait(for: breaker, control)
        turn = breaker
      }
    }
  }

  private func wait(for breaker: UInt64, _ control: ResizeControl) throws(FSError) {
    switch seals.park(breaker, wake: { control.wake() }) {
    case .over: return
    case .gaveUp: throw .interrupted
    case .parked:
      if control.sleep() { return }
      // Cancelled; where it was woken at the same moment, it has got a turn, which ends unused.
      if !seals.giveUp(breaker) { seals.endTurn(breaker) }
      throw .interrupted
    }
  }

  /// What was freed behind the end becomes part of the enclosure, as far as nobody holds it.
  private func releaseTail() throws(FSError) {
    askHolders()
    try syncAll()
    try releaseDurableQuarantine()
    // Left over only while metadata blocks are short.
    if treeLock.withLock({ !releaseQueue.isEmpty }) { try checkpoint() }
  }
}
