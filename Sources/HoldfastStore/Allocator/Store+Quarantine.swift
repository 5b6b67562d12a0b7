/// Quarantine: blocks that left a file but are not free yet.
///
/// Every freed block goes here first, by a record in the freeing transaction, and becomes free space in a later one:
/// when the freeing is durable (else a crash could bring the file back with somebody else's bytes in it) and no holder
/// can still reach the block (`Store+Holders.swift`): a lease on its inode, or somebody there whom a revoke or a recall
/// took a request on that inode from. After a crash the records that recovery finds are durable by definition.

import HoldfastBase
import HoldfastFormat

extension Store {
  /// Puts blocks that just left `inode` into quarantine. Inside the freeing transaction.
  func quarantine(_ range: BlockRange, of inode: InodeNumber) throws(FSError) {
    try putQuarantine(range, of: inode)
    // The running transaction will bear the next ticket.
    releaseQueue.append(range, of: inode, ticket: ticket + 1)
  }

  /// The record alone. `inode` 0: nobody's, a reservation or the end of the volume during a shrink.
  func putQuarantine(_ range: BlockRange, of inode: InodeNumber) throws(FSError) {
    let record = QuarantineRecord(count: range.count, inode: inode)
    try withEncoded(QuarantineRecord.size, record.encode) { bytes throws(FSError) in
      try put(.quarantine(range.start), bytes)
    }
  }

  /// Ranges moved to free space under one hold of the tree lock.
  private static let releaseStep = 8

  /// Frees what durably left its file and nobody holds; what somebody holds is put beside until `askHolders`.
  func releaseDurableQuarantine() throws(FSError) {
    let durable = commitState.lock.withLock { commitState.durableTicket }
    guard treeLock.withLock({ releaseQueue.next(durable: durable) != nil }) else { return }
    let hadHeld = treeLock.withLock { releaseQueue.hasHeld }
    var inquiry = HolderInquiry(self)
    while true {
      let inodes = treeLock.withLock {
        writeFailure == nil ? releaseQueue.nextInodes(durable: durable, limit: Store.releaseStep) : []
      }
      if inodes.isEmpty { break }
      for inode in inodes { _ = inquiry.isHeld(inode) }
      guard try releaseStep(durable: durable, inquiry) else { break }
    }
    if !hadHeld, treeLock.withLock({ releaseQueue.hasHeld }) { background?.wake() }
  }

  /// One hold of the tree lock; false when metadata blocks are too short to go on.
  private func releaseStep(durable: UInt64, _ inquiry: HolderInquiry) throws(FSError) -> Bool {
    treeLock.lock()
    defer { treeLock.unlock() }
    // This runs between other operations' admission and their transaction: never let it starve them of nodes.
    guard
      chunks.freeBlocks > Store.releaseStep * Store.keysPerAllocation * (tree.rootLevel + 2) / 2 + 32
        + Tree.nodesPerChange(level: tree.rootLevel)
    else { return false }
    let before = mutations
    do throws(FSError) {
      for _ in 0..<Store.releaseStep {
        // Somebody else may have taken those that were asked about.
        guard let entry = releaseQueue.next(durable: durable), let isHeld = inquiry.known(entry.inode) else { break }
        if isHeld {
          releaseQueue.holdFirst()
          continue
        }
        try delete(.quarantine(entry.range.start))
        try release(entry.range)
        releaseQueue.removeFirst()
      }
      if mutations != before { ticket += 1 }
    } catch {
      if mutations != before || error.isDamage { fail(error) }
      throw error
    }
    return true
  }

  /// Whether `reclaimSpace` may find something.
  var hasReclaimableSpace: Bool {
    treeLock.withLock { !releaseQueue.isEmpty || !speculative.isEmpty } || askHolders()
  }

  /// An allocation failed: gives back what waits for a commit or waited for a holder, and preallocation nobody asked for.
  func reclaimSpace() throws(FSError) {
    askHolders()
    let holders = treeLock.withLock { speculative.sorted() }
    for inode in holders {
      do throws(FSError) {
        try trimPreallocation(of: inode, ifUnlocked: true)
      } catch .noSpace {
        // No metadata blocks for trimming either: what quarantine gives back below may still do.
        break
      }
    }
    try syncAll()
    try releaseDurableQuarantine()
    // Left over only while metadata blocks are short: a checkpoint gives some back.
    if treeLock.withLock({ !releaseQueue.isEmpty }) { try checkpoint() }
  }
}
