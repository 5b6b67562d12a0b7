/// The gate over real requests: what is refused, whom it names, what is counted.

import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct GateTests {
  let file: InodeNumber = 7

  @Test func hardSealRefusesEveryChange() throws {
    let table = SealTable()
    let first = request("backup", lifetime: .process(31))
    try table.take(first, on: file)
    try table.take(request("other"), on: file)
    for kind in MapChange.Kind.allCases {
      let change = MapChange(kind: kind, blocks: BlockRange(start: 1000, count: 1))
      let expected = FSError.Refusal(inode: file, requestName: "backup", uid: alice.uid, pid: 31)
      #expect(thrown { () throws(FSError) in try table.ask(change, inode: file, by: byAlice()) } == .sealed(expected))
      #expect(table.conflict(change, inode: file, by: byAlice()) == expected)
      #expect(table.obstacles(to: change, inode: file, by: byAlice()).map(\.request.name) == ["backup", "other"])
      try table.ask(change, inode: file + 1, by: byAlice())
      #expect(table.conflict(change, inode: file + 1, by: byAlice()) == nil)
    }
  }

  @Test func permitSaysWhatItIsFor() throws {
    let permit = try SealTable().authorize(.fill(BlockRange(start: 1, count: 2)), inode: file, by: byAlice())
    #expect(permit.inode == file)
    #expect(permit.change == .fill(BlockRange(start: 1, count: 2)))
  }

  @Test func refusalsAreCountedAndRemembered() throws {
    let table = SealTable()
    try table.take(request("x"), on: file)
    #expect(table.lastRefusal(of: file) == nil)
    for change in [MapChange.truncate(toByteCount: 0), .truncate(toByteCount: 5), .punch(byteOffset: 0, byteCount: 1)] {
      #expect(thrown { () throws(FSError) in try table.ask(change, inode: file, by: byAlice(handle: 3)) } != nil)
    }
    // Questions, early checks and skipped background work are not refusals.
    _ = table.conflict(.truncate(toByteCount: 0), inode: file, by: byAlice())
    #expect(thrown { () throws(FSError) in try table.ask(.reclaim, inode: file, by: .daemon) } != nil)
    let counters = table.refusals
    #expect(counters.count(of: .truncate) == 2 && counters.count(of: .punch) == 1 && counters.count(of: .fill) == 0)
    #expect(counters.total == 3 && counters.skipped == 1)
    let last = try #require(table.lastRefusal(of: file))
    #expect(last.change.kind == .punch && last.actor.handle == 3 && last.refusal.requestName == "x")
    #expect(table.lastRefusal(of: file + 1) == nil)
    var json = JSONWriter()
    counters.write(to: &json)
    #expect(JSON(json.finish())?["truncate"] == .number("2"))
  }

  @Test func refusalsOfOtherFilesPushOutOldOnes() throws {
    let table = SealTable()
    for inode in 1...InodeNumber(RefusalLog.capacity + 1) {
      try table.take(request(), on: inode)
      _ = thrown { () throws(FSError) in try table.ask(.truncate(toByteCount: 0), inode: inode, by: byAlice()) }
    }
    #expect(table.lastRefusal(of: 1) == nil)
    #expect(table.lastRefusal(of: 2) != nil)
    #expect(table.lastRefusal(of: InodeNumber(RefusalLog.capacity + 1)) != nil)
    #expect(table.refusals.total == UInt64(RefusalLog.capacity + 1))
  }

  /// A hard request in the way refuses at once and recalls nobody, wherever it stands in the list.
  @Test func hardComesBeforeRecall() throws {
    let table = SealTable()
    let breakable = SealKind.breakable(graceSeconds: 30)
    try table.take(request("b", kind: breakable), on: file)
    let fill = MapChange.fill(BlockRange(start: 0, count: 1))
    #expect(table.conflict(fill, inode: file, by: byAlice()) == nil)
    try table.take(request("pin", scope: .range(byteOffset: 0, byteCount: 1)), on: file)
    #expect(table.conflict(fill, inode: file, by: byAlice())?.requestName == "pin")
    #expect(
      thrown { () throws(FSError) in try table.ask(fill, inode: file, by: byAlice()) }
        == .sealed(FSError.Refusal(inode: file, requestName: "pin", uid: alice.uid, pid: alice.pid)))
    #expect(table.requests(of: file).allSatisfy { $0.recallMilliseconds == nil })
    let elsewhere = MapChange.fill(BlockRange(start: 1, count: 1))
    #expect(thrown { () throws(FSError) in try table.ask(elsewhere, inode: file, by: byAlice()) } == .recallInFlight)
    #expect(table.requests(of: file).map { $0.recallMilliseconds == nil } == [false, true])
  }

  /// Row 26, column "breakable": the operation proceeds and ends its own lease, but only if it does proceed.
  @Test func ownLeaseEnds() throws {
    let table = SealTable()
    let breakable = SealKind.breakable(graceSeconds: 30)
    try table.take(request("a", lifetime: .handle(1), kind: breakable), on: file)
    try table.take(request("b", lifetime: .handle(1), kind: breakable), on: file)
    try table.take(request("hard"), on: file)
    let fill = MapChange.fill(BlockRange(start: 0, count: 1))
    #expect(thrown { () throws(FSError) in try table.ask(fill, inode: file, by: byAlice(handle: 1)) } != nil)
    #expect(table.count(file) == 3)
    try table.release(.named(uid: alice.uid, name: "hard"), inode: file, by: alice)
    try table.ask(fill, inode: file, by: byAlice(handle: 1))
    #expect(table.count(file) == 0)
    table.checkInvariants()
  }

  @Test func immutableMeansTheWholeFile() throws {
    let table = SealTable()
    try table.take(request("pin", scope: .range(byteOffset: 0, byteCount: 4096)), on: file)
    #expect(table.count(file) == 1 && !table.isImmutable(file))
    try table.take(request("whole", kind: .breakable(graceSeconds: 1)), on: file)
    #expect(table.isImmutable(file))
    try table.take(request("whole", scope: .range(byteOffset: 0, byteCount: 1)), on: file)
    #expect(table.count(file) == 2 && !table.isImmutable(file))
    table.checkInvariants()
  }
}
