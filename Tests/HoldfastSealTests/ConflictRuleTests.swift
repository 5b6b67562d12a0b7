/// The truth table, row by row, all columns. R is blocks 10..<20.

import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct ConflictRuleTests {
  typealias Verdict = ConflictRule.Verdict

  struct Row: Sendable, CustomStringConvertible {
    var description: String
    var change: MapChange
    /// Columns "hard seal", "pin R", "breakable", and a breakable pin of R, which follows from the latter two.
    var hard: Verdict
    var pin: Verdict
    var breakable: Verdict
    var breakablePin: Verdict
    var actor = Actor(credentials: bob, handle: 99)
  }

  static let pinned = BlockRange(start: 10, count: 10)

  private static func range(_ start: UInt64, _ end: UInt64) -> BlockRange { BlockRange(from: start, to: end) }

  private static func inScope(_ description: String, _ change: MapChange) -> Row {
    Row(
      description: description, change: change, hard: .refuse, pin: .refuse, breakable: .recall, breakablePin: .recall)
  }

  private static func outOfPin(_ description: String, _ change: MapChange) -> Row {
    Row(description: description, change: change, hard: .refuse, pin: .none, breakable: .recall, breakablePin: .none)
  }

  private static func byDaemon(_ description: String, _ change: MapChange, pin: Verdict) -> Row {
    Row(
      description: description, change: change, hard: .refuse, pin: pin, breakable: .refuse, breakablePin: pin,
      actor: .daemon)
  }

  private static func noChange(_ description: String, _ change: MapChange) -> Row {
    Row(description: description, change: change, hard: .none, pin: .none, breakable: .none, breakablePin: .none)
  }

  static let rows: [Row] = [
    noChange("2: overwrite that fills no block", .fill(range(12, 12))),
    noChange("12: punch of nothing", .punch(byteOffset: 12 << 12, byteCount: 0)),
    inScope("3: write into a hole in R", .fill(range(12, 13))),
    inScope("3: write into a hole reaching into R", .fill(range(0, 11))),
    outOfPin("3: write into a hole before R", .fill(range(0, 10))),
    outOfPin("3: write into a hole behind R", .fill(range(20, 21))),
    outOfPin("4: append behind R", .grow(mapping: range(20, 30))),
    outOfPin("4: append within the allocated last block", .grow(mapping: range(19, 19))),
    inScope("4: append into an R beyond EOF", .grow(mapping: range(15, 16))),
    inScope("6: truncate down before R", .truncate(toByteCount: 0)),
    inScope("6: truncate down to the start of R", .truncate(toByteCount: 10 << 12)),
    inScope("6: truncate down within R", .truncate(toByteCount: 15 << 12)),
    inScope("6: truncate down within the last block of R", .truncate(toByteCount: (20 << 12) - 1)),
    outOfPin("6: truncate down to the end of R", .truncate(toByteCount: 20 << 12)),
    outOfPin("6: truncate down behind R", .truncate(toByteCount: (20 << 12) + 1)),
    outOfPin("7: truncate up", .grow(mapping: range(25, 25))),
    inScope("9: open with O_TRUNC", .truncate(toByteCount: 0)),
    inScope("11: fallocate in R", .fill(range(10, 20))),
    outOfPin("11: fallocate outside R", .fill(range(30, 40))),
    outOfPin("11: fallocate beyond EOF", .grow(mapping: range(30, 40))),
    inScope("12: punch over R", .punch(byteOffset: 0, byteCount: 1 << 20)),
    inScope("12: punch into a part of R's last block", .punch(byteOffset: (20 << 12) - 1, byteCount: 1)),
    outOfPin("12: punch before R", .punch(byteOffset: 0, byteCount: 10 << 12)),
    outOfPin("12: punch behind R", .punch(byteOffset: 20 << 12, byteCount: 1 << 12)),
    inScope("13: shift before R", .shift(fromByte: 0)),
    inScope("13: shift within R", .shift(fromByte: 19 << 12)),
    outOfPin("13: shift from the end of R", .shift(fromByte: 20 << 12)),
    inScope("14: share over R", MapChange(kind: .share, blocks: range(19, 25))),
    outOfPin("14: share outside R", MapChange(kind: .share, blocks: range(20, 25))),
    inScope("15: relocate over R", MapChange(kind: .relocate, blocks: range(5, 11))),
    outOfPin("15: relocate outside R", MapChange(kind: .relocate, blocks: range(5, 10))),
    byDaemon("16: background relocation over R", MapChange(kind: .relocate, blocks: range(10, 11)), pin: .refuse),
    byDaemon("16: background relocation outside R", MapChange(kind: .relocate, blocks: range(0, 10)), pin: .none),
    byDaemon("16: preallocation trimmed behind R", .truncate(toByteCount: 20 << 12), pin: .none),
    byDaemon("17: blocks of an unlinked inode", .reclaim, pin: .refuse),
    Row(
      description: "17: whoever reclaims", change: .reclaim, hard: .refuse, pin: .refuse, breakable: .refuse,
      breakablePin: .refuse),
  ]

  @Test(arguments: rows) func row(_ row: Row) {
    let judge = { (claim: Claim) in ConflictRule.judge(row.change, against: claim, by: row.actor) }
    #expect(judge(Claim(isBreakable: false)) == row.hard)
    #expect(judge(Claim(isBreakable: false, pinned: Self.pinned)) == row.pin)
    #expect(judge(Claim(isBreakable: true)) == row.breakable)
    #expect(judge(Claim(isBreakable: true, pinned: Self.pinned)) == row.breakablePin)
  }

  /// Row 26: hard refuses its own holder, a breakable one ends; a named request is never "own".
  @Test func ownOperation() {
    let change = MapChange.fill(Self.pinned)
    let same = Actor(credentials: alice, handle: 7)
    let otherHandle = Actor(credentials: alice, handle: 8)
    let otherProcess = Actor(credentials: bob, handle: 7)
    for pinned in [nil, Self.pinned] {
      func judge(_ isBreakable: Bool, _ handle: UInt64?, _ process: Int32?, _ actor: Actor) -> Verdict {
        ConflictRule.judge(
          change,
          against: Claim(isBreakable: isBreakable, pinned: pinned, ownerHandle: handle, ownerProcess: process),
          by: actor)
      }
      #expect(judge(false, 7, nil, same) == .refuse)
      #expect(judge(false, nil, alice.pid, same) == .refuse)
      #expect(judge(true, 7, nil, same) == .endOwn)
      #expect(judge(true, 7, nil, otherProcess) == .endOwn)
      #expect(judge(true, 7, nil, otherHandle) == .recall)
      #expect(judge(true, nil, alice.pid, otherHandle) == .endOwn)
      #expect(judge(true, nil, alice.pid, otherProcess) == .recall)
      #expect(judge(true, nil, nil, same) == .recall)
      // The daemon is nobody's process, and its background work never ends a lease.
      #expect(judge(true, nil, 0, Actor(credentials: .daemon, handle: nil)) == .recall)
      #expect(judge(true, 7, nil, Actor(credentials: alice, handle: 7, background: true)) == .refuse)
    }
  }

  /// Own or not, what lies outside the scope meets nothing.
  @Test func ownOperationOutsideScope() {
    let claim = Claim(isBreakable: true, pinned: Self.pinned, ownerHandle: 7)
    let actor = Actor(credentials: alice, handle: 7)
    #expect(ConflictRule.judge(.fill(BlockRange(start: 0, count: 10)), against: claim, by: actor) == .none)
  }

  @Test func rangesRoundOutward() {
    #expect(BlockRange.covering(byteOffset: 0, byteCount: 1) == BlockRange(start: 0, count: 1))
    #expect(BlockRange.covering(byteOffset: 4095, byteCount: 2) == BlockRange(start: 0, count: 2))
    #expect(BlockRange.covering(byteOffset: 4096, byteCount: 4096) == BlockRange(start: 1, count: 1))
    #expect(BlockRange.covering(byteOffset: 5000, byteCount: 0).isEmpty)
    #expect(BlockRange.covering(byteOffset: Limits.fileBytes - 1, byteCount: 1).count == 1)
  }
}
