/// The truth table of docs/SEMANTICS.md, and the only place that knows it: does one map change meet one
/// standing request, and what follows. A pure function; rows are named by their number.
///
/// Not here because no map changes: rows 1, 2, 8, 10, 18, 19. Row 5 is judged as the writes it is made of
/// (2–4), row 9 as row 6. Rows 20–25, 27–29 are about requests, not changes: see SealTable.

import HoldfastBase

/// What the rule must know of a request: plain values, so that judging copies no strings.
struct Claim: Equatable, Sendable {
  /// May be recalled; else hard.
  var isBreakable: Bool
  /// The pinned blocks; nil for the whole file.
  var pinned: BlockRange?
  /// The handle or process the request is bound to, for row 26.
  var ownerHandle: UInt64?
  var ownerProcess: Int32?
}

enum ConflictRule {
  enum Verdict: Equatable {
    /// They do not meet.
    case none
    /// ETXTBSY; for background work: skip.
    case refuse
    /// Notify the holder, wait, fence, go on.
    case recall
    /// The change goes on, and the actor's own breakable request ends with it.
    case endOwn
  }

  static func judge(_ change: MapChange, against claim: Claim, by actor: Actor) -> Verdict {
    guard reaches(change, pinned: claim.pinned) else { return .none }
    // Row 16, all columns: background work is refused, which it takes as "skip"; it recalls nobody.
    // Row 17, all columns: the blocks of an unlinked file wait for the release of whatever stands.
    if actor.background || change.kind == .reclaim { return .refuse }
    // Rows 3–15, columns "hard seal" and "pin R". Row 26: the holder's own operation is refused like any other.
    guard claim.isBreakable else { return .refuse }
    // Row 26, column "breakable": own operations proceed. Rows 3–15, column "breakable": recall.
    return isOwn(claim, actor) ? .endOwn : .recall
  }

  /// Whether a change falls within a request's scope (`MapChange.reach`).
  static func reaches(_ change: MapChange, pinned: BlockRange?) -> Bool {
    guard let pinned else { return change.reach.meetsWholeFile }
    return !change.reach.pins.isEmpty && change.reach.pins.overlaps(pinned)
  }

  /// Row 26: same handle, or same process for `pid=`; a named request is never its taker's own.
  static func isOwn(_ claim: Claim, _ actor: Actor) -> Bool {
    if let handle = claim.ownerHandle { return actor.handle == handle }
    if let process = claim.ownerProcess { return process > 0 && actor.credentials.pid == process }
    return false
  }
}
