/// Holders that a revoke or a recall took a request from, as long as they may still be there: they know where the blocks
/// were, and nobody else gets those before they are gone (rule 6). Part of SealTable's state.
///
/// What nobody in particular holds (named and persistent requests) leaves nobody to remember; whoever maps the blocks
/// has a lease.

import HoldfastBase

struct FencedHolders {
  private enum Holder: Hashable {
    case handle(UInt64)
    case process(Int32)
  }

  private struct Loss {
    /// Of who is to be named: the process it was bound to, else its taker.
    var pid: Int32
    var inodes: Set<InodeNumber> = []
  }

  private var holders: [Holder: Loss] = [:]
  /// Holders of each inode.
  private var counts: [InodeNumber: Int] = [:]
  /// Processes among the holders.
  private(set) var processCount = 0

  /// Inodes with such holders.
  var inodeCount: Int { counts.count }

  func contains(handle: UInt64) -> Bool { holders[.handle(handle)] != nil }
  func contains(process: Int32) -> Bool { holders[.process(process)] != nil }
  func hasHolders(of inode: InodeNumber) -> Bool { counts[inode] != nil }

  /// Their processes, by inode.
  var pids: [InodeNumber: Set<Int32>] {
    var found: [InodeNumber: Set<Int32>] = [:]
    for loss in holders.values {
      for inode in loss.inodes { found[inode, default: []].insert(loss.pid) }
    }
    return found
  }

  /// Notes who held what was taken away.
  mutating func add(_ request: SealRequest, of inode: InodeNumber) {
    switch request.lifetime {
    case .handle(let handle): add(.handle(handle), request.holderPid, inode)
    case .process(let process): add(.process(process), process, inode)
    // What the kernel knows is KernelHolders' to say.
    case .name, .persistent, .lease, .kernel: break
    }
  }

  mutating func handleClosed(_ handle: UInt64) { remove(.handle(handle)) }
  mutating func processDied(_ process: Int32) { remove(.process(process)) }

  private mutating func add(_ holder: Holder, _ pid: Int32, _ inode: InodeNumber) {
    if case .process = holder, holders[holder] == nil { processCount += 1 }
    guard holders[holder, default: Loss(pid: pid)].inodes.insert(inode).inserted else { return }
    counts[inode, default: 0] += 1
  }

  private mutating func remove(_ holder: Holder) {
    guard let loss = holders.removeValue(forKey: holder) else { return }
    if case .process = holder { processCount -= 1 }
    for inode in loss.inodes {
      counts[inode]! -= 1
      if counts[inode] == 0 { counts[inode] = nil }
    }
  }

  /// Traps where the counts disagree with the holders. For tests.
  func checkInvariants() {
    var recount: [InodeNumber: Int] = [:]
    for inode in holders.values.map(\.inodes).joined() { recount[inode, default: 0] += 1 }
    precondition(recount == counts && holders.values.allSatisfy { !$0.inodes.isEmpty })
    let processes = holders.keys.reduce(0) { if case .process = $1 { $0 + 1 } else { $0 } }
    precondition(processes == processCount)
  }
}
