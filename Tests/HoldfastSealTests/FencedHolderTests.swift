/// Who lost a request against their will, and how long that is remembered.

import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct FencedHolderTests {
  let table = SealTable()

  @Test func aHandleIsRememberedUntilItIsClosed() throws {
    try table.take(request("a", lifetime: .handle(1)), on: 5)
    try table.take(request("b", lifetime: .handle(1)), on: 5)
    try table.take(request("a", lifetime: .handle(2)), on: 5)
    #expect(!table.hasFencedHolders(5))
    table.revoke(RevokeSelection(inode: 5, name: "a"))
    #expect(table.hasFencedHolders(5) && !table.hasFencedHolders(6))
    table.handleClosed(1)
    #expect(table.hasFencedHolders(5), "the other is open")
    table.checkInvariants()
    table.handleClosed(2)
    #expect(!table.hasFencedHolders(5))
    table.checkInvariants()
  }

  @Test func aProcessIsRememberedUntilItDies() throws {
    for inode in InodeNumber(1)...3 { try table.take(request(lifetime: .process(12)), on: inode) }
    try table.take(request("x", lifetime: .process(13)), on: 3)
    table.revoke(.all)
    #expect(table.totalCount == 0 && table.processCount == 2)
    #expect(table.concerns(process: 12) && table.concerns(process: 13))
    #expect(table.fencedProcesses == [1: [12], 2: [12], 3: [12, 13]])
    table.processDied(12)
    #expect(!table.hasFencedHolders(1) && !table.hasFencedHolders(2) && table.hasFencedHolders(3))
    table.processDied(13)
    #expect(!table.hasFencedHolders(3) && !table.concerns(process: 13) && table.processCount == 0)
    table.checkInvariants()
  }

  /// A recall that is not answered fences as a revoke does; one that is answered fences nobody.
  @Test func aRecallFencesWhoDoesNotAnswer() throws {
    try table.take(request(lifetime: .handle(1), kind: .breakable(graceSeconds: 1)), on: 5)
    try table.take(request(lifetime: .handle(2), kind: .breakable(graceSeconds: 1)), on: 6)
    table.recallAll(of: 5)
    table.recallAll(of: 6)
    try table.release(.handle(2, name: ""), inode: 6, by: alice)
    table.fenceOverdue(now: Clocks.monotonicNanoseconds() + 2 * Clocks.nanosecondsPerSecond)
    #expect(table.hasFencedHolders(5) && !table.hasFencedHolders(6))
    table.handleClosed(1)
    #expect(!table.hasFencedHolders(5))
    table.checkInvariants()
  }

  /// What ends otherwise leaves nobody to remember: release, close, death, ttl; nor has a name a holder.
  @Test func othersAreNotRemembered() throws {
    try table.take(request("a", lifetime: .handle(1)), on: 5)
    try table.take(request("b", lifetime: .process(2)), on: 5)
    try table.take(request("c", lifetime: .handle(3), ttl: 1), on: 5)
    try table.take(request("d"), on: 5)
    try table.take(request("e", lifetime: .persistent), on: 5)
    table.restore(SealRequest(leasedBy: 0), inode: 5, generation: 1)
    #expect(table.hasHolders(5))
    table.handleClosed(1)
    table.processDied(2)
    table.releaseExpired(now: Clocks.monotonicNanoseconds() + 2 * Clocks.nanosecondsPerSecond)
    #expect(table.hasHolders(5), "the lease")
    table.revoke(.all)
    #expect(table.totalCount == 0 && !table.hasFencedHolders(5) && !table.hasHolders(5))
    table.checkInvariants()
  }

  /// A lease's request is a hard one that is nobody's to release, and ends with the lease.
  @Test func aLease() throws {
    table.restore(SealRequest(leasedBy: 0), inode: 5, generation: 1)
    table.restore(SealRequest(leasedBy: 0), inode: 5, generation: 1)
    #expect(table.count(5) == 1 && table.isImmutable(5))
    #expect(thrown { () throws(FSError) in try table.ask(.truncate(toByteCount: 0), inode: 5, by: byAlice()) } != nil)
    for caller in [alice, root] {
      #expect(
        thrown { () throws(FSError) in
          try table.release(.named(uid: caller.uid, name: ""), inode: 5, by: caller)
        } == .notPermitted)
    }
    let shown = try #require(JSON(table.holdersJSON(of: 5)))
    guard case .array(let requests) = shown, let holder = requests.first else { throw FSError.noData }
    #expect(holder["lifetime"] == .string("lease") && holder["uid"] == .number("0") && holder["pid"] == .number("0"))
    table.leaseEnded(6)
    table.leaseEnded(5)
    #expect(table.totalCount == 0)
    table.checkInvariants()
  }

  /// The watcher goes on watching a process that lost its request.
  @Test func aFencedProcessIsWatched() throws {
    let watcher = ProcessWatcher(table: table)
    defer { watcher.stop() }
    let child = Sleeper()
    try watcher.whileWatching(child.pid) { (process) throws(FSError) in
      _ = try table.take(request(lifetime: .process(process)), on: 5)
    }
    table.revoke(.all)
    // More processes than are kept without a reason: the sweep looks for those.
    let others = (0..<80).map { _ in Sleeper() }
    for other in others { try watcher.whileWatching(other.pid) { (_: Int32) throws(FSError) in } }
    #expect(table.hasFencedHolders(5) && watcher.watchedCount < 70)
    child.reap()
    #expect(eventually { !table.hasFencedHolders(5) })
    table.checkInvariants()
  }
}
