/// Taking, replacing and releasing requests, and the right to (rules 2, 9, 10; rows 20–25).

import HoldfastBase

/// What a taker gets.
public struct SealGrant: Equatable, Sendable {
  /// Of this taking; never reused on a mount.
  public var id: UInt64
  /// Standing requests of the file, this one included.
  public var sealCount: Int
  /// Of the map, as passed in.
  public var generation: UInt64
  /// The request this one took the place of.
  public var replaced: RequestInfo?
}

extension SealTable {
  /// Rule 9, row 22: whether this caller may take requests on this file.
  /// - Throws: `.notPermitted`.
  public func checkRight(
    taker: Credentials, isAdministrator: Bool, fileOwner: UInt32, holdsWriteHandle: Bool
  ) throws(FSError) {
    if isAdministrator { return }
    let allowed =
      switch options.policy {
      case .admin: false
      case .owner: taker.uid == fileOwner
      case .writer: taker.uid == fileOwner || holdsWriteHandle
      }
    guard allowed else {
      withState { $0.refusals.add(.notPermitted) }
      throw .notPermitted
    }
  }

  /// Adds a request, or replaces the one of its identity atomically (rule 10): at no moment does neither stand.
  /// Requests of others are no obstacle (row 20).
  /// - Precondition: the caller holds the inode's map lock exclusively, has verified the map and made metadata
  ///   durable, and has checked the right.
  /// - Throws: `.invalid` for a bad name, `.stale` for a revoked handle (row 28), `.recallInFlight` (row 21), `.exists`
  ///   with `createOnly`, `.quotaExceeded` (row 23).
  @discardableResult
  public func insert(
    _ request: SealRequest, inode: InodeNumber, createOnly: Bool, generation: UInt64
  ) throws(FSError) -> SealGrant {
    var notify: (@Sendable () -> Void)?
    let grant = try withState { (state: inout State) throws(FSError) -> SealGrant in
      try state.admit(request, inode: inode, createOnly: createOnly)
      var replaced: RequestInfo?
      var isFlushed = false
      if let slot = state.index.slot(request.identity, inode) {
        let ended = state.end([slot])[0]
        replaced = RequestInfo(ended, now: Clocks.monotonicNanoseconds())
        // Its holder may be storing all the while.
        isFlushed = ended.isFlushed && request.layout?.isWriting == true && ended.request.layout?.isWriting == true
      }
      let slot = state.index.add(request, inode: inode, generation: generation)
      if isFlushed { state.index.setFlushed(slot) }
      let id = state.index[slot].id
      if state.schedule(slot, id, endsAt: request.deadline) { notify = state.onEarlierDeadline }
      return SealGrant(
        id: id, sealCount: state.index.count(of: inode), generation: generation, replaced: replaced)
    }
    notify?()
    return grant
  }

  /// A persistent request stands again, at mount, or one for leases that were found. Nothing refuses it: limits are for
  /// taking.
  /// - Precondition: nobody can see the file, yet or any more.
  public func restore(_ request: SealRequest, inode: InodeNumber, generation: UInt64) {
    let notify = withState { state -> (@Sendable () -> Void)? in
      if let slot = state.index.slot(request.identity, inode) { _ = state.end([slot]) }
      let slot = state.index.add(request, inode: inode, generation: generation)
      let isNearest = state.schedule(slot, state.index[slot].id, endsAt: request.deadline)
      return isNearest ? state.onEarlierDeadline : nil
    }
    notify?()
  }

  /// Whether `insert` would refuse now, before the caller does costly work. Only `insert` is proof.
  public func precheck(_ request: SealRequest, inode: InodeNumber, createOnly: Bool) throws(FSError) {
    try withState { (state: inout State) throws(FSError) in
      try state.admit(request, inode: inode, createOnly: createOnly)
    }
  }

  /// Rows 24, 25. `caller` matters for named requests only: who has a handle may release what is bound to it.
  /// - Throws: `.noData` when nobody's request of that name stands on the file; `.notPermitted` when one does but
  ///   is somebody else's, for administrators too (rule 2: they revoke); `.stale` when a revoke took it.
  @discardableResult
  public func release(
    _ identity: RequestIdentity, inode: InodeNumber, by caller: Credentials
  ) throws(FSError) -> RequestInfo {
    let now = Clocks.monotonicNanoseconds()
    return try withState { (state: inout State) throws(FSError) -> RequestInfo in
      if let slot = state.index.slot(identity, inode) {
        if case .named(let uid, _) = identity, uid != caller.uid { throw .notPermitted }
        return RequestInfo(state.end([slot])[0], now: now)
      }
      if let handle = identity.handle, state.fenced.contains(handle: handle) { throw .stale }
      let isSomebodyElses = state.index.slots(of: inode).contains {
        let request = state.index[$0].request
        if let handle = identity.handle, request.lifetime == .handle(handle) { return false }
        return request.name == identity.name
      }
      throw isSomebodyElses ? .notPermitted : .noData
    }
  }
}

extension SealTable.State {
  /// Counts a refusal.
  fileprivate mutating func admit(_ request: SealRequest, inode: InodeNumber, createOnly: Bool) throws(FSError) {
    do throws(FSError) {
      try check(request, inode: inode, createOnly: createOnly)
    } catch {
      refusals.add(error)
      throw error
    }
  }

  /// Everything that can refuse an insertion.
  private func check(_ request: SealRequest, inode: InodeNumber, createOnly: Bool) throws(FSError) {
    guard SealName.isValidOrDefault(request.name) else { throw .invalid(.sealSpecification) }
    if case .handle(let handle) = request.lifetime, fenced.contains(handle: handle) { throw .stale }
    if recalls.isBusy(inode) { throw .recallInFlight }
    if request.layout?.isWriting == true, kernel.isKnown(inode) { throw .knownToKernel }
    let replaced = index.slot(request.identity, inode).map { index[$0].request }
    if createOnly, replaced != nil { throw .exists }
    try checkQuota(request, replacing: replaced)
  }

  private func checkQuota(_ request: SealRequest, replacing replaced: SealRequest?) throws(FSError) {
    if request.uid == 0 { return }
    var own = index.usage(of: request.uid)
    var all = index.usage
    if let replaced {
      all.subtract(replaced)
      // A request bound to a handle may be replaced by another user holding that handle.
      if replaced.uid == request.uid { own.subtract(replaced) }
    }
    let limits = options.limits
    guard own.hasRoom(for: request, requests: limits.requests, pinnedBytes: limits.pinnedBytes),
      all.hasRoom(for: request, requests: limits.allRequests, pinnedBytes: limits.allPinnedBytes)
    else { throw .quotaExceeded }
  }

  /// Notes the end of a ttl; true when it is now the nearest.
  fileprivate mutating func schedule(_ slot: RequestIndex.Slot, _ id: UInt64, endsAt deadline: Int64?) -> Bool {
    guard let deadline else { return false }
    let index = self.index
    return deadlines.insert(DeadlineHeap.Entry(deadline: deadline, slot: slot, id: id), liveCount: index.count) {
      index.standing(at: $0.slot, id: $0.id) != nil
    }
  }
}
