/// Ends requests in time: those bound to a process when it exits (row 27), those with a ttl when it runs out, recalled
/// ones when their holders did not let go.
/// Owns one thread, one epoll set, an eventfd that wakes it, and one pidfd per watched process however many
/// requests it holds. The thread starts with `start()` or the first need, and ends with `stop()`.
///
/// Lock: `lock` guards the entries and is held for epoll_ctl(2), close(2) and the like at most. The table's lock is
/// below it; the calls that run the table's callbacks (`releaseExpired`, `fenceOverdue`) are made without it. The running thread
/// keeps the watcher alive: whoever made it calls `stop()`.
///
/// A process may die between being watched and its request being inserted. `whileWatching` therefore holds its
/// entry: the exit is kept until the last holder is done, and the table hears of it after the insertion. A pid
/// cannot be mistaken for a recycled one: an entry's exit is reported before a new entry for that pid is made.
///
/// Invariant: an entry stands from `whileWatching` until its process exits, or until it is swept because no
/// request is bound to it, nor was one taken from it.

import CPlatform
import Glibc
import HoldfastBase

public final class ProcessWatcher: @unchecked Sendable {
  private struct Entry {
    var pidfd: Int32
    /// Calls of `whileWatching` under way.
    var holds: Int
    var hasExited = false
  }

  private enum Phase { case idle, running, stopping, stopped }

  /// Entries without requests are looked for only beyond this many.
  private static let sweepThreshold = 64
  /// In epoll's data, where watched processes have their pid.
  private static let wakeTag: UInt64 = 0

  private let table: SealTable
  private let lock = Lock()
  private let phaseChanged = Condition()
  private var entries: [Int32: Entry] = [:]
  private var phase = Phase.idle
  private var epoll: Int32 = -1
  private var wakeup: Int32 = -1
  private var thread = pthread_t()

  public init(table: SealTable) {
    self.table = table
    table.onEarlierDeadline = { [weak self] in self?.deadlineMovedNearer() }
    // Requests may stand already, restored from the disk.
    if table.hasDeadlines { deadlineMovedNearer() }
  }

  /// Starts the thread now, so that no deadline can come to be watched by nobody.
  /// - Returns: false when there are no descriptors or threads left.
  public func start() -> Bool {
    lock.withLock { (try? startIfNeeded()) != nil }
  }

  /// Runs `body`, which inserts a request bound to the process of `pid` (a thread's id will do), passing the
  /// process's id. Should the process exit meanwhile, the request goes right after.
  /// - Throws: `.noSuchProcess` when there is none or it has exited; what `body` throws.
  public func whileWatching<Result>(
    _ pid: Int32, _ body: (_ process: Int32) throws(FSError) -> Result
  ) throws(FSError) -> Result {
    guard let process = ProcessInfo.process(ofThread: pid) else { throw .noSuchProcess }
    try hold(process)
    defer { letGo(process) }
    return try body(process)
  }

  /// Sends a signal to a watched process, if `uid` still may: it may have become another user's by exec.
  /// - Returns: whether it was sent.
  public func signal(_ process: Int32, _ signal: Int32, by uid: UInt32) -> Bool {
    guard ProcessInfo.mayBeSignalled(process, by: uid) else { return false }
    return lock.withLock {
      guard let entry = entries[process], !entry.hasExited else { return false }
      return holdfast_pidfd_send_signal(entry.pidfd, signal) == 0
    }
  }

  /// Ends the thread and closes everything; nothing is watched any more. May be called twice.
  public func stop() {
    table.onEarlierDeadline = nil
    lock.lock()
    let wasRunning = phase == .running
    if wasRunning {
      phase = .stopping
      wake()
    } else if phase == .idle {
      phase = .stopped
    }
    let thread = self.thread
    while phase == .stopping, !wasRunning { phaseChanged.wait(lock) }
    lock.unlock()
    guard wasRunning else { return }
    pthread_join(thread, nil)
    lock.withLock {
      for entry in entries.values { close(entry.pidfd) }
      entries = [:]
      close(epoll)
      close(wakeup)
      phase = .stopped
      phaseChanged.broadcast()
    }
  }

  /// Processes watched; for tests.
  var watchedCount: Int { lock.withLock { entries.count } }

  // MARK: Entries

  private func hold(_ process: Int32) throws(FSError) {
    try lock.withLock { () throws(FSError) in
      try startIfNeeded()
      if var entry = entries[process] {
        guard !entry.hasExited, !Self.hasExited(entry.pidfd) else { throw .noSuchProcess }
        entry.holds += 1
        entries[process] = entry
        return
      }
      let pidfd = holdfast_pidfd_open(process)
      guard pidfd >= 0 else { throw errno == ESRCH || errno == EINVAL ? .noSuchProcess : Self.failure() }
      var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: UInt64(process)))
      guard !Self.hasExited(pidfd), epoll_ctl(epoll, EPOLL_CTL_ADD, pidfd, &event) == 0 else {
        close(pidfd)
        throw .noSuchProcess
      }
      entries[process] = Entry(pidfd: pidfd, holds: 1)
    }
  }

  private func letGo(_ process: Int32) {
    let isOver = lock.withLock {
      guard var entry = entries[process] else { return false }
      entry.holds -= 1
      entries[process] = entry
      return entry.holds == 0 && entry.hasExited
    }
    if isOver { finish(process) }
    sweep()
  }

  /// Reports an exit, then forgets the entry, in this order: a recycled pid finds either the old entry, exited,
  /// or none with no request left.
  private func finish(_ process: Int32) {
    table.processDied(process)
    lock.withLock {
      guard let entry = entries[process], entry.hasExited, entry.holds == 0 else { return }
      close(entry.pidfd)
      entries[process] = nil
    }
  }

  /// Forgets processes that the table knows nothing of any more, once they are most of the entries.
  private func sweep() {
    let bound = table.processCount
    lock.withLock {
      guard entries.count > Self.sweepThreshold, entries.count > 2 * bound else { return }
      // Inserting needs a hold, so what has neither hold nor request has nothing to lose.
      for (process, entry) in entries where entry.holds == 0 && !entry.hasExited {
        guard !table.concerns(process: process) else { continue }
        close(entry.pidfd)
        entries[process] = nil
      }
    }
  }

  /// A pidfd is readable from the process's exit on.
  private static func hasExited(_ pidfd: Int32) -> Bool {
    var descriptor = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
    return poll(&descriptor, 1, 0) == 1
  }

  /// Out of descriptors or memory.
  private static func failure() -> FSError { errno == ENOSYS ? .unsupported : .wouldBlock }

  // MARK: The thread

  private func deadlineMovedNearer() {
    lock.withLock {
      guard (try? startIfNeeded()) != nil else { return }
      wake()
    }
  }

  /// Called with the lock held.
  private func wake() {
    var one: UInt64 = 1
    _ = write(wakeup, &one, 8)
  }

  /// Called with the lock held.
  private func startIfNeeded() throws(FSError) {
    switch phase {
    case .running: return
    case .stopping, .stopped: throw .noSuchProcess
    case .idle: break
    }
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    wakeup = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: Self.wakeTag))
    guard epoll >= 0, wakeup >= 0, epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, &event) == 0, spawn() else {
      let error = Self.failure()
      close(epoll)
      close(wakeup)
      throw error
    }
    phase = .running
  }

  /// Starts the thread with every signal blocked: they are for the daemon's main thread.
  private func spawn() -> Bool {
    var all = sigset_t()
    var previous = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &previous)
    defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
    let context = Unmanaged.passRetained(self)
    let status = pthread_create(
      &thread, nil,
      { context in
        Unmanaged<ProcessWatcher>.fromOpaque(context!).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    if status != 0 { context.release() }
    return status == 0
  }

  private func run() {
    var events = [epoll_event](repeating: epoll_event(), count: 64)
    while lock.withLock({ phase == .running }) {
      let deadlines = [table.releaseExpired(), table.fenceOverdue()]
      let timeout = Self.milliseconds(until: deadlines.compactMap { $0 }.min())
      let count = epoll_wait(epoll, &events, Int32(events.count), timeout)
      guard count > 0 else { continue }
      for event in events[..<Int(count)] { handle(event.data.u64) }
    }
  }

  private func handle(_ tag: UInt64) {
    if tag == Self.wakeTag {
      var value: UInt64 = 0
      _ = read(wakeup, &value, 8)
      return
    }
    let process = Int32(truncatingIfNeeded: tag)
    let isFree = lock.withLock {
      // An event may be of a pidfd swept meanwhile.
      guard var entry = entries[process], !entry.hasExited, Self.hasExited(entry.pidfd) else { return false }
      _ = epoll_ctl(epoll, EPOLL_CTL_DEL, entry.pidfd, nil)
      entry.hasExited = true
      entries[process] = entry
      return entry.holds == 0
    }
    if isFree { finish(process) }
  }

  /// For epoll_wait: rounded up, -1 for never.
  private static func milliseconds(until deadline: Int64?) -> Int32 {
    guard let deadline else { return -1 }
    let left = max(0, deadline - Clocks.monotonicNanoseconds())
    return Int32(min((left + 999_999) / 1_000_000, Int64(Int32.max)))
  }
}
