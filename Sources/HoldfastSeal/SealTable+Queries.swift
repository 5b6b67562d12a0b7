/// What stands, for attributes, ioctls and the command. Whoever may read a file may read this (rule 9).

import HoldfastBase

/// A standing request, or one just ended, as it is shown.
public struct RequestInfo: Equatable, Sendable {
  public var id: UInt64
  public var inode: InodeNumber
  public var request: SealRequest
  /// Of the map when granted.
  public var generation: UInt64
  public var ageMilliseconds: Int64
  /// Until it ends by itself; nil without a ttl.
  public var ttlMilliseconds: Int64?
  /// Until it is fenced; nil while nobody asks for it back.
  public var recallMilliseconds: Int64?

  init(_ standing: RequestIndex.Standing, now: Int64) {
    id = standing.id
    inode = standing.inode
    request = standing.request
    generation = standing.generation
    ageMilliseconds = max(0, now - standing.request.takenAt) / 1_000_000
    ttlMilliseconds = standing.request.deadline.map { max(0, $0 - now) / 1_000_000 }
    recallMilliseconds = standing.fencedAt.map { max(0, $0 - now) / 1_000_000 }
  }
}

extension SealTable {
  /// Whether any request stands on the file. Without requests on the mount no lock is taken.
  public func hasRequests(_ inode: InodeNumber) -> Bool { count(inode) > 0 }

  /// `holdfast.seal_count`.
  public func count(_ inode: InodeNumber) -> Int {
    if standingCount.load(ordering: .acquiring) == 0 { return 0 }
    return withState { $0.index.count(of: inode) }
  }

  /// `holdfast.iomap_immutable`: a hard or breakable request covers the whole file.
  public func isImmutable(_ inode: InodeNumber) -> Bool {
    if standingCount.load(ordering: .acquiring) == 0 { return false }
    return withState { $0.index.wholeFileCount(of: inode) > 0 }
  }

  /// Requests on the whole mount.
  public var totalCount: Int { standingCount.load(ordering: .acquiring) }

  /// Whether any request on the file is bound to a process. Without requests on the mount no lock is taken.
  public func hasProcessBoundRequests(_ inode: InodeNumber) -> Bool {
    if standingCount.load(ordering: .acquiring) == 0 { return false }
    return withState { $0.index.processBoundCount(of: inode) > 0 }
  }

  /// Whether this process has a request bound to it, or had one taken away.
  func concerns(process pid: Int32) -> Bool {
    withState { !$0.index.slots(ofProcess: pid).isEmpty || $0.fenced.contains(process: pid) }
  }

  /// Processes with requests bound to them or taken away, those with both counted twice.
  var processCount: Int { withState { $0.index.processCount + $0.fenced.processCount } }

  /// Whether a request stands on the file whose holder may still be there: bound to a handle, a process or a lease.
  public func hasHolders(_ inode: InodeNumber) -> Bool {
    if standingCount.load(ordering: .acquiring) == 0 { return false }
    return withState { $0.index.hasHolders(of: inode) }
  }

  /// Whether somebody lost a request on this inode to a revoke or a recall and is still there. Without anybody of the
  /// kind on the mount no lock is taken.
  public func hasFencedHolders(_ inode: InodeNumber) -> Bool {
    if fencedInodeCount.load(ordering: .acquiring) == 0 { return false }
    return withState { $0.fenced.hasHolders(of: inode) }
  }

  /// Processes of those, by inode.
  public var fencedProcesses: [InodeNumber: Set<Int32>] { withState { $0.fenced.pids } }

  /// Whether any request may have a deadline.
  var hasDeadlines: Bool { withState { $0.deadlines.first != nil || $0.fences.first != nil } }

  public func request(_ identity: RequestIdentity, inode: InodeNumber) -> RequestInfo? {
    let now = Clocks.monotonicNanoseconds()
    return withState { state in
      state.index.slot(identity, inode).map { RequestInfo(state.index[$0], now: now) }
    }
  }

  /// What `getfattr -n holdfast.seal.NAME` shows: the canonical text.
  public func specification(of identity: RequestIdentity, inode: InodeNumber) -> String? {
    request(identity, inode: inode)?.request.specification.text
  }

  /// In the order they were taken.
  public func requests(of inode: InodeNumber) -> [RequestInfo] {
    let now = Clocks.monotonicNanoseconds()
    return withState { state in
      state.index.slots(of: inode).map { RequestInfo(state.index[$0], now: now) }
    }
  }

  /// By inode, then in the order they were taken.
  public func allRequests() -> [RequestInfo] {
    let now = Clocks.monotonicNanoseconds()
    let requests = withState { state in
      state.index.allSlots().map { RequestInfo(state.index[$0], now: now) }
    }
    return requests.sorted { ($0.inode, $0.id) < ($1.inode, $1.id) }
  }

  /// Recalls since mount.
  public var recallCounters: RecallCounters { withState { $0.recallCounters } }

  /// Refusals since mount.
  public var refusals: RefusalCounters { withState { $0.refusals.counters } }

  /// The latest refusal on a file, among the last few hundred of the mount.
  public func lastRefusal(of inode: InodeNumber) -> RefusalRecord? { withState { $0.refusals.last(of: inode) } }
}
