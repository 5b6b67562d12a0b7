/// Every standing request of a mount. This file owns the state and its lock; what is done with it is beside it:
///
/// - `MapChangeGate.swift`: may this map change happen (the choke point, rule 1)
/// - `SealTable+Requests.swift`: taking, replacing, releasing, rights
/// - `SealTable+Withdrawal.swift`: close, exit, ttl, eviction, revoke
/// - `SealTable+Recall.swift`: asking for breakable requests back, parking, fencing
/// - `SealTable+Layouts.swift`: what the page cache may do beside layouts
/// - `SealTable+Kernel.swift`: what the kernel was told
/// - `SealTable+Queries.swift`: counts, listings, refusals
///
/// Lock: `lock`, a leaf. It is held for memory operations only: nothing is called out to, waited for, read or
/// written under it; callbacks run after it is released. Callers hold an inode's map lock, or nothing.
///
/// Ordering: requests of an inode are inserted under its map lock, held exclusively, and so are its map changes
/// judged. A change therefore sees every request granted before it. Requests leave without the map lock: that
/// only ever allows more.
///
/// A crash leaves nothing: what is persistent is the Store's records, inserted again at mount.

import HoldfastBase
import Synchronization

public final class SealTable: @unchecked Sendable {
  /// All that the lock guards.
  struct State {
    var options: SealOptions
    var index = RequestIndex()
    /// Ends of requests with a ttl.
    var deadlines = DeadlineHeap()
    /// Ends of recalls.
    var fences = DeadlineHeap()
    var recalls = Recalls()
    var refusals = RefusalLog()
    var recallCounters = RecallCounters()
    /// Who lost a request to a revoke or a recall (row 28), as long as they are there.
    var fenced = FencedHolders()
    /// Of which maps the kernel knows, as long as it may use them.
    var kernel = KernelHolders()
    /// Layouts for writing that have ended, until `onWriteLayoutEnded` has been told: they count as standing for the page
    /// cache, or a page could slip in between the two.
    var endedLayouts: [InodeNumber: [BlockRange]] = [:]
    /// What is to be called when the lock is released: breakers that were woken, holders that are asked to let go.
    var calls: [@Sendable () -> Void] = []
    var onWithdrawal: (@Sendable (InodeNumber) -> Void)?
    var onExpiry: (@Sendable ([RequestInfo]) -> Void)?
    var onRecall: (@Sendable ([RequestInfo]) -> Void)?
    var onTakingAway: (@Sendable ([RequestInfo]) -> Void)?
    var onTakenAway: (@Sendable ([RequestInfo], TakenAway) -> Void)?
    var onWriteLayoutEnded: (@Sendable (InodeNumber, BlockRange) -> Void)?
    var onEarlierDeadline: (@Sendable () -> Void)?
    var onKernelHolding: (@Sendable (Bool) -> Void)?

    /// The one way for requests to go: who waited for them is woken. Returns them in the order given.
    mutating func end(_ slots: [RequestIndex.Slot]) -> [RequestIndex.Standing] {
      slots.map { slot in
        let ended = index.remove(slot)
        if ended.fencedAt != nil { calls += recalls.end(slot, of: ended.inode) }
        // One that was refused before its flush has not been stored through, and what others have dirty stays theirs.
        if ended.isFlushed, ended.request.layout?.isWriting == true, let onWriteLayoutEnded {
          let blocks = ended.request.scope.blocks ?? BlockRange(from: 0, to: MapChange.endOfMap)
          endedLayouts[ended.inode, default: []].append(blocks)
          calls.append { onWriteLayoutEnded(ended.inode, blocks) }
        }
        return ended
      }
    }
  }

  private let lock = Lock()
  private var state: State
  /// `state.index.count`, readable without the lock.
  let standingCount = Atomic<Int>(0)
  /// Layouts, and inodes with ended ones; likewise.
  let layoutCount = Atomic<Int>(0)
  /// `state.fenced.inodeCount`, likewise.
  let fencedInodeCount = Atomic<Int>(0)
  /// `state.kernel.inodeCount`, likewise.
  let kernelInodeCount = Atomic<Int>(0)

  public init(options: SealOptions = SealOptions()) {
    state = State(options: options)
  }

  /// Runs `body` on the state, locked.
  func withState<Result, Failure>(_ body: (inout State) throws(Failure) -> Result) throws(Failure) -> Result {
    lock.lock()
    defer {
      standingCount.store(state.index.count, ordering: .releasing)
      layoutCount.store(state.index.layoutCount + state.endedLayouts.count, ordering: .releasing)
      fencedInodeCount.store(state.fenced.inodeCount, ordering: .releasing)
      let kernelHeld = kernelInodeCount.exchange(state.kernel.inodeCount, ordering: .acquiringAndReleasing) > 0
      let kernelHolds = state.kernel.inodeCount > 0
      if kernelHolds != kernelHeld, let tell = state.onKernelHolding { state.calls.append { tell(kernelHolds) } }
      let calls = state.calls
      state.calls = []
      lock.unlock()
      for call in calls { call() }
    }
    return try body(&state)
  }

  public var options: SealOptions { withState { $0.options } }

  /// Remount: the new policy and limits hold for requests from now on; what stands stays.
  public func setOptions(_ options: SealOptions) { withState { $0.options = options } }

  /// Called, with no lock held, when a request was taken from a holder that may still be there (fence, revoke, ttl), so
  /// that the Store moves the map generation on (rows 28, 29). Once per inode and occasion.
  public var onWithdrawal: (@Sendable (InodeNumber) -> Void)? {
    get { withState { $0.onWithdrawal } }
    set { withState { $0.onWithdrawal = newValue } }
  }

  /// Called, with no lock held, with requests whose ttl ran out: the Store drops the records of persistent ones.
  public var onExpiry: (@Sendable ([RequestInfo]) -> Void)? {
    get { withState { $0.onExpiry } }
    set { withState { $0.onExpiry = newValue } }
  }

  /// Called with requests whose holders are asked to let go; the caller of the operation that asked may hold an inode's
  /// lock, so this only passes the word on.
  public var onRecall: (@Sendable ([RequestInfo]) -> Void)? {
    get { withState { $0.onRecall } }
    set { withState { $0.onRecall = newValue } }
  }

  /// Called, with no lock held, with persistent requests that are about to be taken away: their records go first, or a
  /// crash could bring a request back over a map that has changed since.
  public var onTakingAway: (@Sendable ([RequestInfo]) -> Void)? {
    get { withState { $0.onTakingAway } }
    set { withState { $0.onTakingAway = newValue } }
  }

  /// Called, with no lock held, with requests that were taken away. The generation has moved on (`onWithdrawal`).
  public var onTakenAway: (@Sendable ([RequestInfo], TakenAway) -> Void)? {
    get { withState { $0.onTakenAway } }
    set { withState { $0.onTakenAway = newValue } }
  }

  /// Called, with no lock of the table held, when a layout for writing has ended, however: pages that were cached beside
  /// it are dropped.
  public var onWriteLayoutEnded: (@Sendable (InodeNumber, BlockRange) -> Void)? {
    get { withState { $0.onWriteLayoutEnded } }
    set {
      let tell = newValue.map { call in
        { @Sendable [unowned self] (inode: InodeNumber, blocks: BlockRange) in
          call(inode, blocks)
          self.withState { $0.forgetEndedLayout(of: inode, blocks) }
        }
      }
      withState { $0.onWriteLayoutEnded = tell }
    }
  }

  /// Called, with no lock held, when the nearest deadline, of a ttl or a recall, became nearer. ProcessWatcher's.
  var onEarlierDeadline: (@Sendable () -> Void)? {
    get { withState { $0.onEarlierDeadline } }
    set { withState { $0.onEarlierDeadline = newValue } }
  }
}
