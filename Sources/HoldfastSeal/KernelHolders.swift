/// What the kernel was told of maps, and through which handles it may use that: BMAP names none, so it counts for every
/// handle that was open on the inode then (docs/decisions/0012). Part of SealTable's state.
///
/// This outlives the request that stands for it: after a revoke the kernel still stores into the blocks it knows.
///
/// Invariant: `inodeOfHandle` has exactly the handles of all entries; no entry is without handles.

import HoldfastBase

struct KernelHolders {
  private struct Knowledge {
    var handles: Set<UInt64> = []
    /// What was written to the file before the kernel knew of it is on the device.
    var isSettled = false
  }

  private var inodes: [InodeNumber: Knowledge] = [:]
  private var inodeOfHandle: [UInt64: InodeNumber] = [:]

  var inodeCount: Int { inodes.count }
  func isKnown(_ inode: InodeNumber) -> Bool { inodes[inode] != nil }
  func isSettled(_ inode: InodeNumber) -> Bool { inodes[inode]?.isSettled ?? false }

  mutating func settle(_ inode: InodeNumber) { inodes[inode]?.isSettled = true }

  /// The kernel is about to be told of `inode`'s map.
  mutating func add(_ handles: [UInt64], of inode: InodeNumber) {
    for handle in handles where inodeOfHandle.updateValue(inode, forKey: handle) == nil {
      inodes[inode, default: Knowledge()].handles.insert(handle)
    }
  }

  /// The inode whose map the kernel no longer uses, if this was the last handle it could use it through.
  mutating func handleClosed(_ handle: UInt64) -> InodeNumber? {
    guard let inode = inodeOfHandle.removeValue(forKey: handle) else { return nil }
    inodes[inode]!.handles.remove(handle)
    guard inodes[inode]!.handles.isEmpty else { return nil }
    inodes[inode] = nil
    return inode
  }

  /// Traps where the two indexes disagree. For tests.
  func checkInvariants() {
    precondition(inodes.values.allSatisfy { !$0.handles.isEmpty })
    precondition(inodes.values.reduce(0) { $0 + $1.handles.count } == inodeOfHandle.count)
    for (handle, inode) in inodeOfHandle { precondition(inodes[inode]!.handles.contains(handle)) }
  }
}
