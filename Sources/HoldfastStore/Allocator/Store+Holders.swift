/// Who may still reach blocks that left their file, and what waits for them (docs/decisions/0007-leases.md): ranges in
/// quarantine, unlinked inodes, requests that stand for leases from before this mount.
///
/// The kernel tells nobody of the end of a lease. So it is asked for, every `holderQuestionMilliseconds` while anything
/// waits, by `askHolders`; with nothing waiting, never.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

/// Answers about holders, each asked for once. Whoever frees makes it after the freeing of what it asks about: a lease
/// taken later cannot know those blocks, for holders lock first and ask for the map then.
struct HolderInquiry {
  private let device: BlockDevice
  private let seals: SealTable
  /// Somebody has a lease, on whichever inode; one question says that nobody has.
  private let anyLease: Bool
  private var held: [InodeNumber: Bool] = [:]

  init(_ store: Store) {
    device = store.device
    seals = store.seals
    anyLease = Self.isHeld { () throws(FSError) in try store.device.lease(within: Lease.everyInode) != nil }
  }

  /// What cannot be asked now is held: it is asked for again.
  private static func isHeld(_ ask: () throws(FSError) -> Bool) -> Bool { (try? ask()) ?? true }

  func isLeased(_ inode: InodeNumber) -> Bool {
    anyLease && Self.isHeld { () throws(FSError) in try device.isLeased(inode) }
  }

  /// Whether somebody may reach what this inode's blocks were. `inode` 0, a metadata chunk's, is nobody's.
  mutating func isHeld(_ inode: InodeNumber) -> Bool {
    if let known = held[inode] { return known }
    let isHeld = seals.hasFencedHolders(inode) || seals.isKnownToKernel(inode) || isLeased(inode)
    held[inode] = isHeld
    return isHeld
  }

  /// The answer, if it was asked for.
  func known(_ inode: InodeNumber) -> Bool? { held[inode] }
}

/// Blocks that left an inode and wait for somebody.
public struct HeldBlocks: Equatable, Sendable {
  /// It may be gone.
  public var inode: InodeNumber
  public var blocks: UInt64
  /// A process maps blocks of it directly, or may.
  public var isLeased: Bool
  /// The kernel was told where they are, and may use that.
  public var isKnownToKernel: Bool
  /// Processes that a request on it was taken from, and that are there still.
  public var fencedProcesses: [Int32]
}

extension Store {
  /// How often it is asked whether holders are gone, while anything waits: a question costs microseconds, and nobody
  /// needs the space within a second.
  static let holderQuestionMilliseconds = 1000

  /// Whether anything waits for the end of a holder.
  var awaitsHolders: Bool {
    let (isWritable, isAwaiting) = treeLock.withLock {
      (writeFailure == nil, releaseQueue.hasHeld || !leasedInodes.isEmpty || !surrenderedLeases.isEmpty)
    }
    return isWritable && (isAwaiting || reclaimQueue.hasWaiting)
  }

  /// Asks about all that waits; what nobody holds any more goes on: blocks to `releaseDurableQuarantine`, inodes to
  /// `housekeep`.
  /// - Returns: whether blocks may be released.
  @discardableResult
  func askHolders() -> Bool {
    let (heldInodes, leasedInodes, surrendered) = treeLock.withLock {
      (releaseQueue.heldInodes, self.leasedInodes, surrenderedLeases)
    }
    var free: [InodeNumber] = []
    if !heldInodes.isEmpty || !leasedInodes.isEmpty || !surrendered.isEmpty {
      var inquiry = HolderInquiry(self)
      let over = surrendered.filter { !inquiry.isHeld($0) }
      treeLock.withLock { surrenderedLeases.subtract(over) }
      for inode in leasedInodes {
        if !inquiry.isLeased(inode) { seals.leaseEnded(inode) }
        guard seals.request(.lease, inode: inode) == nil else { continue }
        // An unlinked one is remembered until it is reclaimed: see there.
        treeLock.withLock { if !unlinked.contains(inode) { self.leasedInodes.remove(inode) } }
      }
      free = heldInodes.filter { !inquiry.isHeld($0) }
      treeLock.withLock { for inode in free { releaseQueue.letGo(inode) } }
    }
    var isReclaimDue = false
    for inode in reclaimQueue.takeWaiting() {
      if seals.hasHolders(inode) {
        reclaimQueue.wait(inode)
      } else {
        reclaimQueue.append(inode)
        isReclaimDue = true
      }
    }
    // Whoever asked for want of space does not reclaim inodes.
    if isReclaimDue { background?.wake() }
    return !free.isEmpty
  }

  /// The inodes with most blocks in quarantine that wait for a holder, and for whom.
  public func heldQuarantine(limit: Int) -> [HeldBlocks] {
    let counts = treeLock.withLock { releaseQueue.heldCounts }
    let largest = counts.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.prefix(limit)
    let processes = seals.fencedProcesses
    let inquiry = HolderInquiry(self)
    return largest.map { inode, count in
      HeldBlocks(
        inode: inode, blocks: count, isLeased: inquiry.isLeased(inode), isKnownToKernel: seals.isKnownToKernel(inode),
        fencedProcesses: processes[inode, default: []].sorted())
    }
  }

  /// A holder of this inode lost its request against its will: its lease keeps blocks from others only from now on.
  func noteSurrender(of inode: InodeNumber) { treeLock.withLock { _ = surrenderedLeases.insert(inode) } }

  // MARK: Leased inodes

  /// Mount: maps of inodes that were leased before stay as they are, whatever was promised by then.
  func freezeLeasedInodes() throws(FSError) {
    for lease in try device.leases() {
      for inode in try regularFiles(within: lease.inodes) { try freeze(inode, leasedBy: lease.pid) }
    }
  }

  /// A request stands for the leases on this inode. Its end is asked for.
  func freeze(_ inode: InodeNumber, leasedBy pid: Int32) throws(FSError) {
    seals.restore(SealRequest(leasedBy: pid), inode: inode, generation: try mapGeneration(of: inode))
    treeLock.withLock { _ = leasedInodes.insert(inode) }
  }

  /// Before an unlinked inode is reclaimed: puts a request on it for leases that nothing stands for yet. An administrator
  /// who revoked it is not asked again.
  /// - Returns: false when it cannot be told whether there are any.
  func isFreeOfNewLeases(_ inode: InodeNumber) throws(FSError) -> Bool {
    // No number of an inode (a hostile orphan record) is nobody's.
    if !Lease.everyInode.contains(inode) || treeLock.withLock({ leasedInodes.contains(inode) }) { return true }
    let lease: Lease?
    do throws(FSError) { lease = try device.lease(within: inode...inode) } catch { return false }
    if let lease { try freeze(inode, leasedBy: lease.pid) }
    return true
  }

  private func regularFiles(within inodes: ClosedRange<InodeNumber>) throws(FSError) -> [InodeNumber] {
    try reading { () throws(FSError) in
      var found: [InodeNumber] = []
      var key = Key.inode(inodes.lowerBound)
      while let (next, _) = try tree.first(from: key), next.space == .file, next.object <= inodes.upperBound {
        if next.type == .inode, try inode(next.object).isRegular { found.append(next.object) }
        // Behind all of this inode's records.
        key = Key(high: next.high, low: .max).successor
      }
      return found
    }
  }
}
