/// The daemon's own thread: commits every `commitSeconds`, checkpoints when the journal fills or many nodes are
/// dirty, reclaims unlinked inodes, frees quarantine, and asks whether holders are gone while anything waits for that.
/// Everything it does is a `housekeep()` anybody could call.

import Glibc
import HoldfastBase
import HoldfastSeal

final class BackgroundWorker: @unchecked Sendable {
  private unowned let store: Store
  private let lock = Lock()
  private let changed = Condition()
  private var stopping = false
  private var pendingWork = false
  private var thread = pthread_t()

  init(store: Store) { self.store = store }

  func start() {
    let context = Unmanaged.passRetained(self).toOpaque()
    let status = pthread_create(
      &thread, nil,
      { context in
        Unmanaged<BackgroundWorker>.fromOpaque(context!).takeRetainedValue().run()
        return nil
      }, context)
    precondition(status == 0, "pthread_create: \(status)")
  }

  /// Ends the thread and waits for it.
  func stop() {
    lock.withLock { stopping = true }
    changed.broadcast()
    pthread_join(thread, nil)
  }

  func wake() {
    lock.withLock { pendingWork = true }
    changed.signal()
  }

  private func run() {
    var lastCommit = Self.milliseconds()
    var lastQuestion = lastCommit
    while true {
      // Asked for before the lock is taken: others wake this thread while they hold the store's.
      let commitsAt = lastCommit + Int64(max(store.commitSeconds, 1)) * 1000
      let asksAt = store.awaitsHolders ? lastQuestion + Int64(Store.holderQuestionMilliseconds) : .max
      lock.lock()
      while !stopping, !pendingWork {
        let left = min(commitsAt, asksAt) - Self.milliseconds()
        if left <= 0 { break }
        _ = changed.wait(lock, milliseconds: Int(left))
      }
      pendingWork = false
      let ending = stopping
      lock.unlock()
      if ending { return }
      let now = Self.milliseconds()
      if now >= commitsAt { lastCommit = now }
      if now >= asksAt { lastQuestion = now }
      // A failure is kept in the store, shown to every later writer and reported by the next housekeeping.
      do throws(FSError) {
        try store.housekeep(committing: now >= commitsAt, asking: now >= asksAt)
      } catch {
        store.reportFailure()
      }
    }
  }

  /// Of the monotonic clock.
  private static func milliseconds() -> Int64 { Clocks.monotonicNanoseconds() / 1_000_000 }
}

extension Store {
  /// Seconds between background commits.
  var commitSeconds: Int { treeLock.withLock { options.commitSeconds } }

  /// Commits, checkpoints and reclaims what is due. With `committing` false, only what is urgent; with `asking` false,
  /// what waits for holders waits on.
  public func housekeep(committing: Bool = true, asking: Bool = true) throws(FSError) {
    reportFailure()
    if treeLock.withLock({ options.readOnly || writeFailure != nil }) { return }
    if asking { askHolders() }
    // An inode that cannot be reclaimed stays an orphan until the next mount; the others' changes go on.
    var failure: FSError?
    while let inode = reclaimQueue.popFirst() {
      do throws(FSError) { try reclaim(inode) } catch { failure = error }
    }
    if committing || treeLock.withLock({ pending.payloadBytes > Store.batchBytes / 2 }) { try syncAll() }
    let (dirty, limit) = treeLock.withLock { (tree.dirtyCount, tree.cacheFrameLimit) }
    if dirty > limit / 2 || journal.usage > journal.capacityBlocks / 2 {
      try checkpoint(givingBack: true)
    }
    try releaseDurableQuarantine()
    if let failure { throw failure }
  }

  /// Tells `onFailure` of a failure it has not heard of, and the superblock.
  public func reportFailure() {
    treeLock.lock()
    let failure = unreportedFailure
    unreportedFailure = nil
    treeLock.unlock()
    guard let failure else { return }
    onFailure?(failure)
    markErrors()
  }
}

/// Unlinked inodes whose last user is gone, and beside them those that wait for a holder.
final class ReclaimQueue: @unchecked Sendable {
  private let lock = Lock()
  private var inodes: [InodeNumber] = []
  private var waiting: Set<InodeNumber> = []

  func append(_ inode: InodeNumber) { lock.withLock { inodes.append(inode) } }
  func popFirst() -> InodeNumber? { lock.withLock { inodes.popLast() } }
  var isEmpty: Bool { lock.withLock { inodes.isEmpty } }

  /// It cannot be reclaimed before its holders are gone.
  func wait(_ inode: InodeNumber) { lock.withLock { _ = waiting.insert(inode) } }
  var hasWaiting: Bool { lock.withLock { !waiting.isEmpty } }

  /// Those that wait; whoever takes them decides anew.
  func takeWaiting() -> [InodeNumber] {
    lock.withLock {
      defer { waiting = [] }
      return Array(waiting)
    }
  }
}
