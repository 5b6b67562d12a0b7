/// Calls that may change an extent map, and therefore may have to wait until holders let go (docs/decisions/0006-recall.md):
///
///     perform ── attempt ──→ answer
///                   │ .mustWait
///                   ▼
///               ParkedCall ── woken ──→ attempt again, from the start
///                   └── a signal, the unmount ──→ EINTR
///
/// Nothing continues in the middle: what was true before the wait need not be true after it.

import CFuse3
import HoldfastBase
import HoldfastSeal
import HoldfastStore

protocol MapChangingCall: Sendable {
  /// The kind of reply that answers it.
  associatedtype Answer
  associatedtype Result

  var operation: Operation { get }
  var inode: InodeNumber { get }

  /// Makes the call, from the start. `.mustWait` means that it has changed nothing.
  func make(in session: MountSession) throws(FSError) -> Result
  /// The same, of a call that takes steps: it ends between two of them, by `.interrupted`, once `going` says false.
  func make(in session: MountSession, while going: () -> Bool) throws(FSError) -> Result
  func answer(_ reply: consuming Reply<Answer>, _ result: Result, in session: MountSession)
  /// It has failed for good, and is about to be answered so.
  func failed(in session: MountSession)
  /// The same call, usable after the request's memory has gone to the next one.
  func kept() -> Self
  /// What keeping it takes.
  var keptBytes: Int { get }
  /// It may take as long as a disk takes to write any amount.
  var isLong: Bool { get }
}

extension MapChangingCall {
  func make(in session: MountSession, while going: () -> Bool) throws(FSError) -> Result { try make(in: session) }
  func failed(in session: MountSession) {}
  func kept() -> Self { self }
  var keptBytes: Int { 0 }
  var isLong: Bool { false }
}

extension MountSession {
  func perform<Call: MapChangingCall>(_ call: Call, _ reply: consuming Reply<Call.Answer>) {
    counters.count(call.operation)
    attempt(call, reply, turn: nil)
  }

  /// `turn`: of the breaker whose wait is over, and which ends when the call is made but before it is answered, or a
  /// caller would still meet the recall it has waited for.
  fileprivate func attempt<Call: MapChangingCall>(
    _ call: Call, _ reply: consuming Reply<Call.Answer>, turn: UInt64?
  ) {
    do throws(FSError) {
      let interruption = reply.interruption
      let result = try attempt(call, turn) { !interruption.hasCome }
      call.answer(reply, result, in: self)
    } catch .mustWait(let breaker) {
      ParkedCall(call.kept(), reply, breaker: breaker, self).park()
    } catch {
      call.failed(in: self)
      fail(reply, error, call.operation, call.inode)
    }
  }

  private func attempt<Call: MapChangingCall>(
    _ call: Call, _ turn: UInt64?, while going: () -> Bool
  ) throws(FSError) -> Call.Result {
    defer { if let turn { store.seals.endTurn(turn) } }
    return try call.make(in: self, while: going)
  }

  /// Who makes a map change, for the gate. FUSE tells thread ids; a request bound to a process asks for the process.
  func caller(_ credentials: Credentials, changing inode: InodeNumber) -> Credentials {
    guard store.seals.hasProcessBoundRequests(inode) else { return credentials }
    var credentials = credentials
    credentials.pid = ProcessInfo.process(ofThread: credentials.pid) ?? credentials.pid
    return credentials
  }
}

/// An operation that waits, as the rest of the session knows it.
class Parked: Interruptible, @unchecked Sendable {
  fileprivate let breaker: UInt64
  fileprivate unowned let session: MountSession

  fileprivate init(breaker: UInt64, _ session: MountSession) {
    self.breaker = breaker
    self.session = session
  }

  /// It is not to wait any longer. May be called under libfuse's lock of the request, perhaps while it is being parked:
  /// so the answer is somebody else's errand. Does nothing when the wait is over anyhow.
  override func giveUp() {
    guard session.store.seals.giveUp(breaker) else { return }
    session.notices.submit { self.answer(.interrupted) }
  }

  fileprivate func answer(_ error: FSError) { fatalError("abstract") }
}

/// Its reply is answered by whoever ended the wait: `SealTable` tells each of them, once, whether it was they.
private final class ParkedCall<Call: MapChangingCall>: Parked, @unchecked Sendable {
  private let call: Call
  private var reply: Reply<Call.Answer>?
  /// Held while the reply is registered for interruption, which may end the wait before it has begun.
  private let registering = Lock()

  init(_ call: Call, _ reply: consuming Reply<Call.Answer>, breaker: UInt64, _ session: MountSession) {
    self.call = call
    self.reply = consume reply
    super.init(breaker: breaker, session)
  }

  /// Registered for interruption before it is published: libfuse may call back within.
  func park() {
    registering.withLock { reply!.onInterrupt(self) }
    let entry = session.parkingLot.enter(self, bytes: call.keptBytes)
    if entry == .full {
      if session.store.seals.giveUp(breaker) { answer(.recallInFlight) }
      return
    }
    let retries = call.isLong ? session.longRetries : session.retries
    switch session.store.seals.park(breaker, wake: { retries.submit { self.attemptAgain() } }) {
    case .parked: if entry == .closed { giveUp() }
    case .over: retries.submit { self.attemptAgain() }
    case .gaveUp: session.parkingLot.leave(self)
    }
  }

  private func attemptAgain() {
    let reply = takeReply()
    session.attempt(call, reply, turn: breaker)
  }

  fileprivate override func answer(_ error: FSError) {
    let reply = takeReply()
    call.failed(in: session)
    session.fail(reply, error, call.operation, call.inode)
  }

  private func takeReply() -> Reply<Call.Answer> {
    session.parkingLot.leave(self)
    registering.lock()
    let reply = self.reply.take()!
    registering.unlock()
    reply.ignoreInterrupts()
    return reply
  }
}

/// Every operation that waits, so that an unmount can end their waits, and so that what they keep is bounded.
/// Owns: the set, under `lock`.
final class ParkingLot: @unchecked Sendable {
  enum Entry { case open, closed, full }

  /// For the bytes of parked WRITEs, at most 1 MiB each, of whoever makes them wait: about what the page cache of a small
  /// machine spares. Beyond, who would wait is told to try again.
  private static let maximumBytes = 256 << 20

  private let lock = Lock()
  private var parked: [ObjectIdentifier: (call: Parked, bytes: Int)] = [:]
  private var bytes = 0
  private var isClosed = false

  var count: Int { lock.withLock { parked.count } }

  /// `closed`: nobody is to wait any more. `full`: it was not let in.
  fileprivate func enter(_ call: Parked, bytes keptBytes: Int) -> Entry {
    lock.withLock {
      guard keptBytes == 0 || bytes + keptBytes <= Self.maximumBytes else { return .full }
      parked[ObjectIdentifier(call)] = (call, keptBytes)
      bytes += keptBytes
      return isClosed ? .closed : .open
    }
  }

  /// Does nothing for one that is not in.
  fileprivate func leave(_ call: Parked) {
    lock.withLock {
      if let left = parked.removeValue(forKey: ObjectIdentifier(call)) { bytes -= left.bytes }
    }
  }

  /// Who waits is answered EINTR, and whoever comes later too.
  func close() {
    let waiting = lock.withLock {
      isClosed = true
      return parked.values.map(\.call)
    }
    for call in waiting { call.giveUp() }
  }
}
