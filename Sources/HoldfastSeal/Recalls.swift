/// Who waits for whom while breakable requests are recalled. Part of SealTable's state; docs/decisions/0006-recall.md
/// says why, docs/spec/recall.pml is the model of it that was checked.
///
/// A *breaker* is a map change that met breakable requests: it awaits those, each once, and nothing that is taken later.
/// Its operation has left the store; it parks (`park`) with what is to be called when the last one is gone, and then
/// begins again. Between the gate's word and parking the last one may go, or the operation be interrupted: `park` then
/// says so.
///
/// Invariants: a slot in `waiters` is a standing, recalled request; a breaker is in the set of each slot it awaits and in
/// no other; `busy` counts, by inode, recalled requests and breakers with nothing in their way that have not had their turn.

import HoldfastBase

struct Recalls {
  typealias Wake = @Sendable () -> Void

  private struct Breaker {
    var inode: InodeNumber
    /// Recalled requests still in its way.
    var awaited: Set<RequestIndex.Slot>
    /// What to call when none is; nil before it parks and after it was called.
    var wake: Wake?
    /// `wake` was called, or parking told that nothing is in its way: whoever heard that answers.
    var isWoken = false

    /// Nothing is in its way any more: until its turn is over nobody new may come in between.
    var hasTurn: Bool { awaited.isEmpty }
  }

  private var breakers: [UInt64: Breaker] = [:]
  /// By recalled request, the breakers that await it.
  private var waiters: [RequestIndex.Slot: Set<UInt64>] = [:]
  private var busy: [InodeNumber: Int] = [:]
  private var lastBreaker: UInt64 = 0

  /// Row 21: no new request on this inode now.
  func isBusy(_ inode: InodeNumber) -> Bool { busy[inode] != nil }

  /// A request is recalled.
  mutating func begin(_ slot: RequestIndex.Slot, of inode: InodeNumber) {
    waiters[slot] = []
    busy[inode, default: 0] += 1
  }

  /// A map change that awaits these, all of them recalled.
  mutating func addBreaker(of inode: InodeNumber, awaiting slots: [RequestIndex.Slot]) -> UInt64 {
    lastBreaker += 1
    breakers[lastBreaker] = Breaker(inode: inode, awaited: Set(slots))
    for slot in slots { waiters[slot]!.insert(lastBreaker) }
    return lastBreaker
  }

  /// A request is gone. Returns what to call once no lock is held.
  mutating func end(_ slot: RequestIndex.Slot, of inode: InodeNumber) -> [Wake] {
    guard let awaiting = waiters.removeValue(forKey: slot) else { return [] }
    var wakes: [Wake] = []
    // In the order in which they came.
    for id in awaiting.sorted() {
      var breaker = breakers[id]!
      breaker.awaited.remove(slot)
      if breaker.hasTurn {
        busy[inode]! += 1
        if let wake = breaker.wake {
          breaker.wake = nil
          breaker.isWoken = true
          wakes.append(wake)
        }
      }
      breakers[id] = breaker
    }
    rest(inode)
    return wakes
  }

  mutating func park(_ id: UInt64, wake: @escaping Wake) -> SealTable.Parking {
    guard let breaker = breakers[id] else { return .gaveUp }
    if breaker.hasTurn {
      // Whoever parks begins again: from here on nobody gives up for it.
      breakers[id]!.isWoken = true
      return .over
    }
    breakers[id]!.wake = wake
    return .parked
  }

  /// It waits no longer (interrupted, O_NONBLOCK), parked or not yet; the recall goes on (rule 11). False when it was
  /// woken: then whoever was called answers for it.
  mutating func giveUp(_ id: UInt64) -> Bool {
    guard let breaker = breakers[id], !breaker.isWoken else { return false }
    for slot in breaker.awaited { waiters[slot]!.remove(id) }
    breakers[id] = nil
    if breaker.hasTurn { rest(breaker.inode) }
    return true
  }

  /// It has begun again, and done or not.
  mutating func endTurn(_ id: UInt64) {
    guard let breaker = breakers.removeValue(forKey: id), breaker.hasTurn else {
      preconditionFailure("breaker \(id) has no turn")
    }
    rest(breaker.inode)
  }

  private mutating func rest(_ inode: InodeNumber) {
    busy[inode]! -= 1
    if busy[inode] == 0 { busy[inode] = nil }
  }

  func checkInvariants(isRecalled: (RequestIndex.Slot) -> Bool) {
    precondition(waiters.keys.allSatisfy(isRecalled))
    for (slot, ids) in waiters { precondition(ids.allSatisfy { breakers[$0]!.awaited.contains(slot) }) }
    for (id, breaker) in breakers { precondition(breaker.awaited.allSatisfy { waiters[$0]!.contains(id) }) }
    let turns = breakers.values.reduce(0) { $0 + ($1.hasTurn ? 1 : 0) }
    precondition(busy.values.reduce(0, +) == waiters.count + turns && busy.values.allSatisfy { $0 > 0 })
  }
}
