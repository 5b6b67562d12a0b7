/// How requests end without their holder asking: its handle's last close, its process's end (row 27), the end of a lease, a
/// ttl, an inode's eviction, an administrator's revoke (row 28).

import HoldfastBase

/// Which requests a revoke takes. Conditions given must all hold; none given means every request of the mount.
public struct RevokeSelection: Equatable, Sendable {
  public var inode: InodeNumber?
  public var name: String?
  /// The holder's process: the one the request is bound to, else its taker.
  public var pid: Int32?

  public init(inode: InodeNumber? = nil, name: String? = nil, pid: Int32? = nil) {
    self.inode = inode
    self.name = name
    self.pid = pid
  }

  public static let all = RevokeSelection()

  func includes(_ standing: RequestIndex.Standing) -> Bool {
    (inode == nil || standing.inode == inode) && (name == nil || standing.request.name == name)
      && (pid == nil || standing.request.holderPid == pid)
  }
}

/// How a request is taken from a holder that would keep it.
public enum TakenAway: String, Sendable {
  /// It was asked to let go, and did not in time.
  case fenced
  /// By an administrator.
  case revoked
}

extension SealTable {
  /// Row 27: RELEASE of a handle. All its requests go, and that it was fenced is forgotten. So does the kernel's, if this
  /// was its last.
  public func handleClosed(_ handle: UInt64) {
    withState { state in
      state.fenced.handleClosed(handle)
      _ = state.end(state.index.slots(ofHandle: handle))
      state.kernelHandleClosed(handle)
    }
  }

  /// Row 27: every request bound to this process goes.
  public func processDied(_ pid: Int32) {
    withState { state in
      state.fenced.processDied(pid)
      _ = state.end(state.index.slots(ofProcess: pid))
    }
  }

  /// Nobody leases the inode any more.
  public func leaseEnded(_ inode: InodeNumber) {
    withState { state in _ = state.end(state.index.slot(.lease, inode).map { [$0] } ?? []) }
  }

  /// Every request of an inode that is no more.
  public func inodeEvicted(_ inode: InodeNumber) {
    if standingCount.load(ordering: .acquiring) == 0 { return }
    withState { state in _ = state.end(state.index.slots(of: inode)) }
  }

  /// Row 28, for administrators (the caller has checked). Holders that lose a request are fenced. The caller
  /// drops the records of persistent ones among the result.
  @discardableResult
  public func revoke(_ selection: RevokeSelection) -> [RequestInfo] {
    let candidates = matching(selection)
    return takeAway(candidates, .revoked)
  }

  /// What a revoke would take.
  public func requests(matching selection: RevokeSelection) -> [RequestInfo] { matching(selection).map(\.info) }

  private func matching(_ selection: RevokeSelection) -> [(slot: RequestIndex.Slot, info: RequestInfo)] {
    let now = Clocks.monotonicNanoseconds()
    return withState { state in
      let candidates = selection.inode.map { state.index.slots(of: $0) } ?? state.index.allSlots()
      return candidates.filter { selection.includes(state.index[$0]) }
        .map { (slot: $0, info: RequestInfo(state.index[$0], now: now)) }
    }
  }

  /// Takes these from their holders, those that have ended by themselves meanwhile excepted.
  @discardableResult
  func takeAway(_ candidates: [(slot: RequestIndex.Slot, info: RequestInfo)], _ how: TakenAway) -> [RequestInfo] {
    if candidates.isEmpty { return [] }
    let persistent = candidates.map(\.info).filter { $0.request.isPersistent }
    if !persistent.isEmpty { onTakingAway?(persistent) }
    let (taken, onWithdrawal, onTakenAway) = withState { state in
      let standing = candidates.filter { state.index.standing(at: $0.slot, id: $0.info.id) != nil }
      _ = state.takeAway(standing.map(\.slot))
      state.recallCounters.add(standing.count, how)
      return (standing.map(\.info), state.onWithdrawal, state.onTakenAway)
    }
    Self.announce(taken, to: onWithdrawal)
    if !taken.isEmpty { onTakenAway?(taken, how) }
    return taken
  }

  /// Whether a revoke or a fence took a request from this handle since it was opened: seal and layout ioctls on it answer
  /// ESTALE until it is closed.
  public func isStale(_ handle: UInt64) -> Bool { withState { $0.fenced.contains(handle: handle) } }

  /// Ends requests whose ttl has run out.
  /// - Returns: the nearest deadline left.
  @discardableResult
  public func releaseExpired(now: Int64 = Clocks.monotonicNanoseconds()) -> Int64? {
    let (expired, next, onWithdrawal, onExpiry) = withState { state in
      let expired = state.end(state.takeExpired(now)).map { RequestInfo($0, now: now) }
      return (expired, state.deadlines.first?.deadline, state.onWithdrawal, state.onExpiry)
    }
    if !expired.isEmpty {
      Self.announce(expired, to: onWithdrawal)
      onExpiry?(expired)
    }
    return next
  }

  /// Passes withdrawn requests' inodes on, each once.
  static func announce(_ withdrawn: [RequestInfo], to callback: (@Sendable (InodeNumber) -> Void)?) {
    guard let callback else { return }
    for inode in Set(withdrawn.map(\.inode)).sorted() { callback(inode) }
  }
}

extension SealTable.State {
  /// Ends requests against their holders' will, who are fenced from now on: their handles are stale, and the blocks
  /// they knew are nobody's while they are there.
  mutating func takeAway(_ slots: [RequestIndex.Slot]) -> [RequestIndex.Standing] {
    for slot in slots { fenced.add(index[slot].request, of: index[slot].inode) }
    return end(slots)
  }
}
