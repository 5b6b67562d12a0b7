/// How requests end by themselves: rows 27 and 28, ttl, eviction.

import HoldfastBase
import Testing

@testable import HoldfastSeal

/// Collects what callbacks report.
final class Recorder<Element: Sendable>: @unchecked Sendable {
  private let lock = Lock()
  private var elements: [Element] = []
  func add(_ element: Element) { lock.withLock { elements.append(element) } }
  var all: [Element] { lock.withLock { elements } }
}

@Suite struct WithdrawalTests {
  let table = SealTable()

  /// Row 27.
  @Test func closeReleasesTheHandlesRequestsOnly() throws {
    try table.take(request("a", lifetime: .handle(1)), on: 5)
    try table.take(request("b", lifetime: .handle(1)), on: 5)
    try table.take(request("a", lifetime: .handle(2)), on: 5)
    try table.take(request("a"), on: 5)
    table.handleClosed(1)
    #expect(table.count(5) == 2)
    table.handleClosed(3)
    #expect(table.requests(of: 5).map(\.request.identity) == [.handle(2, name: "a"), .named(uid: 1000, name: "a")])
    table.checkInvariants()
  }

  @Test func exitReleasesTheProcessesRequestsOnly() throws {
    for inode in InodeNumber(1)...3 { try table.take(request(lifetime: .process(12)), on: inode) }
    try table.take(request("x", lifetime: .process(13)), on: 1)
    // Taken by process 12, but bound to nothing of it.
    try table.take(request("y", taker: Credentials(uid: 5, gid: 5, pid: 12)), on: 1)
    table.processDied(12)
    #expect(table.count(1) == 2 && table.count(2) == 0 && table.count(3) == 0)
    table.processDied(12)
    table.checkInvariants()
  }

  @Test func tenThousandRequestsOfAHolder() throws {
    for number in 0..<10_000 {
      try table.take(request("p\(number)", lifetime: .process(12)), on: 1)
      try table.take(request("h\(number)", lifetime: .handle(3), taker: bob), on: InodeNumber(1 + number % 7))
    }
    #expect(table.totalCount == 20_000)
    table.handleClosed(3)
    #expect(table.totalCount == 10_000)
    table.processDied(12)
    #expect(table.totalCount == 0)
    table.checkInvariants()
  }

  @Test func evictionEndsEverything() throws {
    try table.take(request("a"), on: 5)
    try table.take(request("p", lifetime: .persistent), on: 5)
    try table.take(request("q", lifetime: .process(3)), on: 5)
    try table.take(request("a"), on: 6)
    table.inodeEvicted(5)
    #expect(table.count(5) == 0 && table.count(6) == 1)
    table.checkInvariants()
  }

  /// Row 28.
  @Test func revokeMarksHandlesStale() throws {
    try table.take(request("a", lifetime: .handle(1)), on: 5)
    try table.take(request("b", lifetime: .handle(1)), on: 5)
    try table.take(request("c", lifetime: .handle(2)), on: 6)
    #expect(!table.isStale(1))
    let revoked = table.revoke(RevokeSelection(inode: 5, name: "a"))
    #expect(revoked.map(\.request.name) == ["a"])
    #expect(table.isStale(1) && !table.isStale(2))
    #expect(table.count(5) == 1)
    #expect(thrown { () throws(FSError) in try table.take(request("z", lifetime: .handle(1)), on: 5) } == .stale)
    #expect(
      thrown { () throws(FSError) in try table.release(.handle(1, name: "a"), inode: 5, by: alice) } == .stale)
    // What the handle still holds it may release, and a closed handle's number starts afresh.
    try table.release(.handle(1, name: "b"), inode: 5, by: alice)
    table.handleClosed(1)
    #expect(!table.isStale(1))
    try table.take(request("z", lifetime: .handle(1)), on: 5)
    table.checkInvariants()
  }

  @Test func revokeSelects() throws {
    func fill() throws {
      try table.take(request("a"), on: 1)
      try table.take(request("a", taker: bob), on: 1)
      try table.take(request("b", lifetime: .process(77)), on: 1)
      try table.take(request("a", lifetime: .handle(4)), on: 2)
      try table.take(request("p", lifetime: .persistent), on: 3)
    }
    let cases: [(RevokeSelection, Int)] = [
      (.all, 5), (RevokeSelection(name: "a"), 3), (RevokeSelection(inode: 1), 3),
      (RevokeSelection(inode: 1, name: "a"), 2), (RevokeSelection(pid: 77), 1),
      (RevokeSelection(pid: bob.pid), 1), (RevokeSelection(name: "b", pid: alice.pid), 0),
      (RevokeSelection(inode: 9), 0), (RevokeSelection(inode: 2, name: "a", pid: alice.pid), 1),
    ]
    for (selection, count) in cases {
      table.revoke(.all)
      table.handleClosed(4)
      try fill()
      #expect(table.revoke(selection).count == count, "\(selection)")
      #expect(table.totalCount == 5 - count, "\(selection)")
      table.checkInvariants()
    }
  }

  @Test func withdrawalIsAnnouncedWithoutTheLock() throws {
    let inodes = Recorder<InodeNumber>()
    table.onWithdrawal = { [table] inode in
      // Would deadlock under the lock.
      #expect(table.count(inode) == 0)
      inodes.add(inode)
    }
    let expired = Recorder<String>()
    table.onExpiry = { [table] requests in
      #expect(table.count(4) == 0)
      for request in requests { expired.add(request.request.name) }
    }
    for name in ["a", "b"] { for inode in InodeNumber(2)...3 { try table.take(request(name), on: inode) } }
    table.revoke(.all)
    #expect(inodes.all == [2, 3])
    // A holder's own leaving is no withdrawal.
    try table.take(request(lifetime: .handle(1)), on: 9)
    table.handleClosed(1)
    #expect(inodes.all == [2, 3] && expired.all.isEmpty)
    try table.take(request("t", lifetime: .persistent, ttl: 5), on: 4)
    table.releaseExpired(now: .max)
    #expect(inodes.all == [2, 3, 4] && expired.all == ["t"])
  }

  @Test func ttl() throws {
    let start = Clocks.monotonicNanoseconds()
    #expect(table.releaseExpired(now: start) == nil)
    for (name, seconds) in [("c", 30), ("a", 10), ("b", 20)] {
      try table.take(request(name, ttl: UInt32(seconds)), on: 1)
    }
    try table.take(request("forever"), on: 1)
    let second = Clocks.nanosecondsPerSecond
    let next = table.releaseExpired(now: start + 9 * second)
    #expect(table.count(1) == 4 && next.map { $0 >= start + 10 * second } == true)
    table.releaseExpired(now: start + 15 * second)
    #expect(table.requests(of: 1).map(\.request.name) == ["c", "b", "forever"])
    // Taking again moves the deadline; releasing forgets it.
    var renewed = request("b", ttl: 100)
    renewed.takenAt = start
    try table.take(renewed, on: 1)
    try table.release(.named(uid: alice.uid, name: "c"), inode: 1, by: alice)
    #expect(table.releaseExpired(now: start + 50 * second) == start + 100 * second)
    #expect(table.count(1) == 2)
    #expect(table.releaseExpired(now: .max) == nil)
    #expect(table.requests(of: 1).map(\.request.name) == ["forever"])
    table.checkInvariants()
  }

  @Test func renewedDeadlinesDoNotPileUp() throws {
    for _ in 0..<10_000 { try table.take(request("x", ttl: 4_000_000_000), on: 1) }
    #expect(table.withState { $0.deadlines.count } < 100)
    #expect(table.releaseExpired(now: .max) == nil && table.count(1) == 0)
  }
}
