/// Taking the end of the volume out of use, and giving it back when a shrink is given up.
///
/// Free space there becomes quarantine of nobody's; what is freed there from then on does not become free space but
/// joins it (`release`). So no allocator has to know of a shrink: below the new end is all that is free.

import HoldfastBase
import HoldfastFormat

extension Store {
  /// Free runs taken out of use by one transaction.
  private static let enclosingStep = 8

  /// Nothing from `start` on is given to anybody until `openEnclosure`.
  func encloseFreeSpace(from start: BlockNumber, _ control: ResizeControl) throws(FSError) {
    treeLock.withLock { enclosure = Enclosure(from: start) }
    // A run is two records of free space, perhaps another one below `start`, and up to three of quarantine.
    let keys = Store.enclosingStep * (Store.keysPerAllocation + 3)
    var more = true
    while more {
      try control.check()
      more = try transaction(keys: keys, .shrinking) { () throws(FSError) in
        for _ in 0..<Store.enclosingStep {
          guard let run = try lastFreeRun(), run.end > start else { return false }
          let taken = BlockRange(from: max(run.start, start), to: run.end)
          try take(taken, from: run)
          try enclose(taken)
        }
        return true
      }
    }
  }

  /// Blocks that are in quarantine no longer: free, or enclosed where they lie behind the end to be. Their record is gone
  /// already. Inside a transaction.
  func release(_ range: BlockRange) throws(FSError) {
    guard let start = enclosure?.start, range.end > start else { return try addFree(range) }
    let below = BlockRange(from: range.start, to: min(range.end, start))
    if !below.isEmpty { try addFree(below) }
    try enclose(BlockRange(from: max(range.start, start), to: range.end))
  }

  private func enclose(_ range: BlockRange) throws(FSError) {
    guard let (replaced, merged) = enclosure?.add(range) else { return }
    for old in replaced { try delete(.quarantine(old.start)) }
    try putQuarantine(merged, of: 0)
  }

  /// The shrink is given up: what was taken out of use is free again. It was free, or durably freed, when it was taken.
  func openEnclosure() throws(FSError) {
    treeLock.withLock {
      for range in enclosure?.ranges ?? [] { releaseQueue.append(range, of: 0, ticket: 0) }
      enclosure = nil
    }
    try releaseDurableQuarantine()
  }

  /// Nothing is left behind the end to be.
  var isTailEnclosed: Bool {
    treeLock.withLock { enclosure?.isWhole(upTo: volume.totalBlocks) ?? false }
  }
}
