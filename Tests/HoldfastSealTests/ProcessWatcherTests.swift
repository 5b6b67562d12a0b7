/// Real processes and real clocks.

import CPlatform
import Glibc
import HoldfastBase
import Testing

@testable import HoldfastSeal

/// A `sleep` that is killed and reaped at the latest with this value.
final class Sleeper {
  let pid: Int32
  private var isReaped = false

  /// `prefix` is a command that ends in executing its arguments.
  init(through prefix: [String] = []) {
    var pid: pid_t = 0
    let arguments = prefix + ["/bin/sleep", "60"]
    var pointers = arguments.map { strdup($0) } + [nil]
    let status = posix_spawnp(&pid, arguments[0], nil, nil, &pointers, nil)
    for pointer in pointers { free(pointer) }
    precondition(status == 0, "posix_spawn: \(status)")
    self.pid = pid
  }

  func terminate() { kill(pid, SIGKILL) }

  func reap() {
    guard !isReaped else { return }
    terminate()
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    isReaped = true
  }

  deinit { reap() }
}

/// Waits for what a thread does soon; false after ten seconds.
func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<2_000 {
    if condition() { return true }
    usleep(5_000)
  }
  return condition()
}

@Suite struct ProcessWatcherTests {
  let table = SealTable()
  let watcher: ProcessWatcher

  init() { watcher = ProcessWatcher(table: table) }

  private func seal(_ inode: InodeNumber, name: String = "", boundTo pid: Int32) throws(FSError) {
    try watcher.whileWatching(pid) { (process) throws(FSError) in
      _ = try table.take(request(name, lifetime: .process(process)), on: inode)
    }
  }

  /// Row 27: kill -9 releases, and one pidfd serves many requests.
  @Test func exitReleases() throws {
    defer { watcher.stop() }
    let sleeper = Sleeper()
    let other = Sleeper()
    for inode in InodeNumber(1)...50 { try seal(inode, boundTo: sleeper.pid) }
    try seal(1, name: "other", boundTo: other.pid)
    #expect(watcher.watchedCount == 2 && table.totalCount == 51)
    sleeper.terminate()
    #expect(eventually { table.totalCount == 1 })
    #expect(eventually { watcher.watchedCount == 1 })
    other.reap()
    #expect(eventually { table.totalCount == 0 && watcher.watchedCount == 0 })
    table.checkInvariants()
  }

  /// An exit between watching and inserting is not lost.
  @Test func exitDuringInsertionReleases() throws {
    defer { watcher.stop() }
    let sleeper = Sleeper()
    try watcher.whileWatching(sleeper.pid) { (process) throws(FSError) in
      sleeper.reap()
      usleep(50_000)
      _ = try table.take(request(lifetime: .process(process)), on: 1)
    }
    #expect(eventually { table.totalCount == 0 && watcher.watchedCount == 0 })
  }

  @Test func noSuchProcess() {
    defer { watcher.stop() }
    let sleeper = Sleeper()
    sleeper.terminate()
    // A zombie has exited, too.
    #expect(eventually { thrown { () throws(FSError) in try seal(1, boundTo: sleeper.pid) } == .noSuchProcess })
    table.processDied(sleeper.pid)
    sleeper.reap()
    #expect(thrown { () throws(FSError) in try seal(1, boundTo: sleeper.pid) } == .noSuchProcess)
    for pid in [Int32(0), -1, .min, .max] {
      #expect(thrown { () throws(FSError) in try seal(1, boundTo: pid) } == .noSuchProcess)
    }
    #expect(table.totalCount == 0)
  }

  /// A thread's id stands for its process.
  @Test func threadsMapToTheirProcess() throws {
    defer { watcher.stop() }
    let thread = Int32(syscallGettid())
    #expect(ProcessInfo.process(ofThread: thread) == getpid())
    try seal(1, boundTo: thread)
    #expect(table.requests(of: 1).map(\.request.lifetime) == [.process(getpid())])
  }

  @Test func failedInsertionIsForgotten() throws {
    defer { watcher.stop() }
    let sleepers = (0..<70).map { _ in Sleeper() }
    for sleeper in sleepers {
      #expect(
        thrown { () throws(FSError) in
          try watcher.whileWatching(sleeper.pid) { (_) throws(FSError) in throw .quotaExceeded }
        } == .quotaExceeded)
    }
    // Beyond the threshold, entries without requests are swept.
    #expect(watcher.watchedCount <= 64)
  }

  @Test func ttlReleasesInTime() throws {
    defer { watcher.stop() }
    let withdrawn = Recorder<InodeNumber>()
    table.onWithdrawal = { withdrawn.add($0) }
    try table.take(request("long", ttl: 3600), on: 1)
    let start = Clocks.monotonicNanoseconds()
    try table.take(request("short", ttl: 1), on: 2)
    #expect(eventually { table.count(2) == 0 })
    let elapsed = Clocks.monotonicNanoseconds() - start
    #expect(elapsed >= Clocks.nanosecondsPerSecond)
    #expect(table.count(1) == 1)
    #expect(eventually { withdrawn.all == [2] })
  }

  @Test func ttlSetBeforeTheWatcherIsSeen() throws {
    watcher.stop()
    try table.take(request(ttl: 1), on: 1)
    let late = ProcessWatcher(table: table)
    defer { late.stop() }
    #expect(eventually { table.count(1) == 0 })
  }

  @Test func stopIsFinalAndRepeatable() throws {
    let sleeper = Sleeper()
    try seal(1, boundTo: sleeper.pid)
    watcher.stop()
    watcher.stop()
    #expect(watcher.watchedCount == 0)
    #expect(thrown { () throws(FSError) in try seal(2, boundTo: sleeper.pid) } != nil)
    // A ttl taken afterwards wakes nobody and harms nothing.
    try table.take(request("t", ttl: 1), on: 3)
  }

  @Test func processInformation() {
    let sleeper = Sleeper()
    #expect(eventually { ProcessInfo.command(of: sleeper.pid) == "sleep" })
    #expect(ProcessInfo.command(of: 0) == "" && ProcessInfo.command(of: -1) == "")
    #expect(ProcessInfo.process(ofThread: sleeper.pid) == sleeper.pid)
    #expect(ProcessInfo.isAdministrator(pid: 0, uid: 0))
    #expect(!ProcessInfo.isAdministrator(pid: 0, uid: 1000))
    #expect(!ProcessInfo.isAdministrator(pid: .max, uid: 1000))
    sleeper.reap()
    #expect(ProcessInfo.command(of: sleeper.pid) == "" && ProcessInfo.process(ofThread: sleeper.pid) == nil)
  }

  /// Rule 9: the capability counts, but not inside a user namespace of the caller's own.
  @Test(.enabled(if: getuid() == 0)) func administrators() {
    func command(_ sleeper: Sleeper) -> Bool { eventually { ProcessInfo.command(of: sleeper.pid) == "sleep" } }
    let asUser = ["setpriv", "--reuid=1000", "--clear-groups"]
    let plain = Sleeper(through: asUser)
    #expect(command(plain) && !ProcessInfo.isAdministrator(pid: plain.pid, uid: 1000))
    let capability = ["--inh-caps=+linux_immutable", "--ambient-caps=+linux_immutable"]
    let capable = Sleeper(through: asUser + capability)
    #expect(command(capable) && ProcessInfo.isAdministrator(pid: capable.pid, uid: 1000))
    // Has every capability, in a namespace of its own. Where such are forbidden the command just fails.
    let contained = Sleeper(through: asUser + ["unshare", "--user", "--map-root-user"])
    _ = eventually { ["sleep", ""].contains(ProcessInfo.command(of: contained.pid)) }
    #expect(!ProcessInfo.isAdministrator(pid: contained.pid, uid: 1000))
  }

  private func syscallGettid() -> pid_t { gettid() }
}
