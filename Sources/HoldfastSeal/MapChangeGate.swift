/// The one choke point (rule 1): whoever edits an extent map needs a `MapChangePermit`, and only this file makes
/// one. The Store's editing functions take it `borrowing`, so a change that forgot to ask does not compile.
///
/// The table's lock is a leaf below the inode's map lock. Permits are not counted or returned: the map lock,
/// which the caller keeps until the change is done, is what keeps a grant from slipping in between.

import HoldfastBase

/// Proof that the gate let this change through.
public struct MapChangePermit: ~Copyable {
  public let inode: InodeNumber
  public let change: MapChange

  fileprivate init(inode: InodeNumber, change: MapChange) {
    self.inode = inode
    self.change = change
  }
}

extension SealTable {
  /// Asks for one map change, `others` that come with it included: all of them are let through or none, and holders
  /// are asked once for all. Without requests on the mount no lock is taken; without requests on the inode it
  /// is one dictionary look-up; else logarithmic in the inode's pins and linear in the breakable requests it meets.
  /// - Precondition: the caller holds the inode's map lock exclusively until it is done with the permit.
  /// - Throws: `.sealed` with one of those in the way; it is counted and remembered, and for a background actor
  ///   it means skip. `.mustWait`, for an actor that waits, or `.recallInFlight` when holders have been asked to let
  ///   go first.
  public func authorize(
    _ change: MapChange, with others: [MapChange] = [], inode: InodeNumber, by actor: Actor
  ) throws(FSError) -> MapChangePermit {
    if standingCount.load(ordering: .acquiring) == 0 { return MapChangePermit(inode: inode, change: change) }
    try withState { (state: inout State) throws(FSError) in
      switch state.judge(change, with: others, inode: inode, by: actor) {
      case .clear: return
      case .refused(let slot, let refused):
        let refusal = state.refusal(by: slot)
        state.refusals.add(
          RefusalRecord(
            refusal: refusal, change: refused, actor: actor, refusedAt: Clocks.monotonicNanoseconds()))
        throw .sealed(refusal)
      case .mustRecall(let slots, let ungranted):
        _ = state.end(ungranted)
        state.recall(slots)
        guard actor.waits else {
          state.refusals.addRecallInFlight()
          throw .recallInFlight
        }
        throw .mustWait(breaker: state.recalls.addBreaker(of: inode, awaiting: slots))
      case .ends(let slots): _ = state.end(slots)
      }
    }
    return MapChangePermit(inode: inode, change: change)
  }

  /// Who would refuse this change; nothing is counted. For early checks: only `authorize` is proof.
  public func conflict(_ change: MapChange, inode: InodeNumber, by actor: Actor) -> FSError.Refusal? {
    if standingCount.load(ordering: .acquiring) == 0 { return nil }
    return withState { state in
      guard case .refused(let slot, _) = state.judge(change, inode: inode, by: actor) else { return nil }
      return state.refusal(by: slot)
    }
  }

  /// Every request this change would meet, for `holdfast why`.
  public func obstacles(to change: MapChange, inode: InodeNumber, by actor: Actor) -> [RequestInfo] {
    let now = Clocks.monotonicNanoseconds()
    return withState { state in
      var found: [RequestInfo] = []
      state.index.visit(inode, within: change.reach) { slot in
        found.append(RequestInfo(state.index[slot], now: now))
        return true
      }
      return found.sorted { $0.id < $1.id }
    }
  }
}

extension SealTable.State {
  enum Outcome: Equatable {
    case clear
    /// This request is in the way of this change.
    case refused(RequestIndex.Slot, MapChange)
    /// These holders are asked to let go.
    case mustRecall([RequestIndex.Slot], ending: [RequestIndex.Slot])
    /// The change may go on, and these end: requests of the actor's own (row 26), layouts nobody has been granted yet.
    case ends([RequestIndex.Slot])
  }

  /// The verdicts of all the inode's requests in one: a hard request in the way refuses at once and recalls
  /// nobody.
  fileprivate func judge(
    _ change: MapChange, with more: [MapChange] = [], inode: InodeNumber, by actor: Actor
  ) -> Outcome {
    var refused: (slot: RequestIndex.Slot, change: MapChange)?
    var others: [RequestIndex.Slot] = []
    var own: [RequestIndex.Slot] = []
    var ungranted: [RequestIndex.Slot] = []
    func judge(_ change: MapChange) {
      if refused != nil { return }
      index.visit(inode, within: change.reach) { slot in
        // It ends when the change has been made, not before: one that fails leaves it standing.
        if let returning = actor.returning, index[slot].id == returning { return true }
        switch ConflictRule.judge(change, against: index.claim(slot), by: actor) {
        case .none: break
        case .refuse: refused = (slot, change)
        // A layout that is being granted gives way at once: its taker has not heard of it, and its flush may wait for the
        // very page that the breaker has locked.
        case .recall where index[slot].isBeingGranted: ungranted.append(slot)
        case .recall: others.append(slot)
        case .endOwn: own.append(slot)
        }
        return refused == nil
      }
    }
    judge(change)
    for change in more { judge(change) }
    if let refused { return .refused(refused.slot, refused.change) }
    if !more.isEmpty {
      // One request may meet several of the changes.
      others = Set(others).sorted()
      own = Set(own).sorted()
      ungranted = Set(ungranted).sorted()
    }
    if !others.isEmpty { return .mustRecall(others, ending: ungranted) }
    return own.isEmpty && ungranted.isEmpty ? .clear : .ends(own + ungranted)
  }

  fileprivate func refusal(by slot: RequestIndex.Slot) -> FSError.Refusal {
    let standing = index[slot]
    return FSError.Refusal(
      inode: standing.inode, requestName: standing.request.name, uid: standing.request.uid,
      pid: standing.request.holderPid)
  }
}
