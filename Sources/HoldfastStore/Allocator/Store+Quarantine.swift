/// Quarantine: blocks that left a file but are not free yet.
///
/// Every freed block goes here first, by a record in the freeing transaction, and becomes free space in a later one:
/// when the freeing is durable (else a crash could bring the file back with somebody else's bytes in it) and no holder
/// can still reach the block. After a crash the records that recovery finds are durable by definition.

import HoldfastBase
import HoldfastFormat

/// Quarantined ranges in the order of their freeing, each with the transaction that must be durable first.
struct ReleaseQueue {
  private var entries: [(ticket: UInt64, range: BlockRange)] = []
  private var first = 0
  /// Blocks in the queue.
  private(set) var blocks: UInt64 = 0

  var isEmpty: Bool { first == entries.count }

  mutating func append(_ range: BlockRange, ticket: UInt64) {
    entries.append((ticket, range))
    blocks += range.count
  }

  /// The oldest entry whose ticket is at most `durable`.
  func next(durable: UInt64) -> BlockRange? {
    first < entries.count && entries[first].ticket <= durable ? entries[first].range : nil
  }

  mutating func removeFirst() {
    blocks -= entries[first].range.count
    first += 1
    if first == entries.count {
      entries.removeAll(keepingCapacity: first < 4096)
      first = 0
    } else if first > 65536 {
      entries.removeFirst(first)
      first = 0
    }
  }
}

extension Store {
  /// Puts blocks that just left `inode` into quarantine. Inside the freeing transaction.
  func quarantine(_ range: BlockRange, of inode: InodeNumber) throws(FSError) {
    let record = QuarantineRecord(count: range.count, inode: inode)
    try withEncoded(QuarantineRecord.size, record.encode) { bytes throws(FSError) in
      try put(.quarantine(range.start), bytes)
    }
    // The running transaction will bear the next ticket.
    releaseQueue.append(range, ticket: ticket + 1)
  }

  /// Ranges moved to free space under one hold of the tree lock.
  private static let releaseStep = 8

  /// Frees what durably left its file.
  func releaseDurableQuarantine() throws(FSError) {
    let durable = commitState.lock.withLock { commitState.durableTicket }
    while treeLock.withLock({ writeFailure == nil && releaseQueue.next(durable: durable) != nil }) {
      treeLock.lock()
      // This runs between other operations' admission and their transaction: never let it starve them of nodes.
      guard
        chunks.freeBlocks > Store.releaseStep * Store.keysPerAllocation * (tree.rootLevel + 2) / 2 + 32
          + Tree.nodesPerChange(level: tree.rootLevel)
      else {
        treeLock.unlock()
        return
      }
      defer { treeLock.unlock() }
      let before = mutations
      do throws(FSError) {
        for _ in 0..<Store.releaseStep {
          guard let range = releaseQueue.next(durable: durable) else { break }
          try delete(.quarantine(range.start))
          try addFree(range)
          releaseQueue.removeFirst()
        }
        if mutations != before { ticket += 1 }
      } catch {
        if mutations != before || error.isDamage { fail(error) }
        throw error
      }
    }
  }

  /// An allocation failed: gives back what waits for a commit, and preallocation nobody asked for.
  func reclaimSpace() throws(FSError) {
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
