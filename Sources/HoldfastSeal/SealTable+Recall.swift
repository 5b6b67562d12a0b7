/// Asking for breakable requests back: recall, parking of who waits, fencing of who does not let go (rules 7, 11).
///
/// What recalls is the gate (`authorize`) and, behind an unlink, `recallAll`. A recall ends when its request does,
/// however that comes about, at the latest at its deadline.

import HoldfastBase

extension SealTable {
  /// What became of an operation that wanted to park.
  public enum Parking: Equatable, Sendable {
    /// It waits: `wake` will be called, unless it gives up.
    case parked
    /// Nothing is in its way any more: it begins again now, then `endTurn`.
    case over
    /// It gave up before it parked, and has been answered.
    case gaveUp
  }

  /// Parks a breaker: `wake` is called once, with no lock of the table held but perhaps under an inode's, when the
  /// requests in its way are gone. It begins the operation again elsewhere, and then calls `endTurn`.
  /// - Parameter breaker: from `FSError.mustWait`.
  public func park(_ breaker: UInt64, wake: @escaping @Sendable () -> Void) -> Parking {
    withState { $0.recalls.park(breaker, wake: wake) }
  }

  /// The operation is not going to wait any longer, whether it has parked yet or not; the recall goes on (rule 11).
  /// - Returns: true when the caller answers; false when it was woken already, and whoever runs it again answers.
  public func giveUp(_ breaker: UInt64) -> Bool { withState { $0.recalls.giveUp(breaker) } }

  /// A woken breaker has had its turn, whatever came of it; new requests may be taken again (row 21).
  public func endTurn(_ breaker: UInt64) { withState { $0.recalls.endTurn(breaker) } }

  /// Row 17: asks everybody who holds breakable requests on this inode to let go; nobody waits for it.
  public func recallAll(of inode: InodeNumber) {
    if standingCount.load(ordering: .acquiring) == 0 { return }
    withState { state in
      state.recall(state.index.slots(of: inode).filter { state.index[$0].request.isBreakable })
    }
  }

  /// Milliseconds until the first of this handle's recalled requests is fenced, nil when none is recalled.
  public func recallMilliseconds(
    ofHandle handle: UInt64, now: Int64 = Clocks.monotonicNanoseconds()
  ) -> UInt64? {
    withState { state in
      state.index.fencedAt(ofHandle: handle).map { UInt64(max(0, $0 - now)) / 1_000_000 }
    }
  }

  /// Takes away what was not given back in time; the handles are stale from then on.
  /// - Returns: the nearest deadline left.
  @discardableResult
  public func fenceOverdue(now: Int64 = Clocks.monotonicNanoseconds()) -> Int64? {
    let due = withState { state in
      state.takeDueFences(now).map { (slot: $0, info: RequestInfo(state.index[$0], now: now)) }
    }
    takeAway(due, .fenced)
    return withState { $0.fences.first?.deadline }
  }
}

extension SealTable.State {
  /// Asks the holders of those that were not asked yet.
  mutating func recall(_ slots: [RequestIndex.Slot]) {
    let now = Clocks.monotonicNanoseconds()
    var asked: [RequestInfo] = []
    var entries: [DeadlineHeap.Entry] = []
    for slot in slots where index[slot].fencedAt == nil {
      let standing = index[slot]
      guard case .breakable(let graceSeconds) = standing.request.kind else { continue }
      let deadline = now + Int64(graceSeconds) * Clocks.nanosecondsPerSecond
      index.recall(slot, until: deadline)
      recalls.begin(slot, of: standing.inode)
      entries.append(DeadlineHeap.Entry(deadline: deadline, slot: slot, id: standing.id))
      asked.append(RequestInfo(index[slot], now: now))
    }
    guard !asked.isEmpty else { return }
    recallCounters.recalled += UInt64(asked.count)
    if schedule(entries), let onEarlierDeadline { calls.append(onEarlierDeadline) }
    if let onRecall { calls.append { [asked] in onRecall(asked) } }
  }

  // What follows reads the index beside changing a heap: a copy that is gone before the index changes again, or all
  // of it would be copied.

  /// Notes the ends of recalls; true when one of them is now the nearest.
  private mutating func schedule(_ entries: [DeadlineHeap.Entry]) -> Bool {
    let index = self.index
    var isNearest = false
    for entry in entries {
      isNearest =
        fences.insert(entry, liveCount: index.count) { index.standing(at: $0.slot, id: $0.id) != nil } || isNearest
    }
    return isNearest
  }

  /// The requests whose recalls are over.
  fileprivate mutating func takeDueFences(_ now: Int64) -> [RequestIndex.Slot] {
    let index = self.index
    return fences.takeDue(now) { index.standing(at: $0.slot, id: $0.id)?.fencedAt != nil }
  }

  /// The requests whose ttl has run out.
  mutating func takeExpired(_ now: Int64) -> [RequestIndex.Slot] {
    let index = self.index
    return deadlines.takeDue(now) { index.standing(at: $0.slot, id: $0.id) != nil }
  }
}
