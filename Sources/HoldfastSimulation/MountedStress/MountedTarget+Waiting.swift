/// Operations that wait for holders: system calls on threads of their own, so that the job can let go, or signal them.

import CPlatform
import Glibc
import HoldfastBase

/// A system call under way on a thread of its own.
final class WaitingCall: @unchecked Sendable {
  private let lock = Lock()
  private var outcome: Outcome?
  private let work: () -> Outcome
  private var thread = pthread_t()

  init(_ work: @escaping () -> Outcome) {
    self.work = work
    Self.catchSignals()
    let status = pthread_create(
      &thread, nil,
      { context in
        let call = Unmanaged<WaitingCall>.fromOpaque(context!).takeRetainedValue()
        let outcome = call.work()
        call.lock.withLock { call.outcome = outcome }
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(status == 0, "pthread_create: \(status)")
  }

  /// The one that interrupts.
  private static let signal = SIGUSR1

  /// Does nothing, but no system call goes on after it.
  private static func catchSignals() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    sigaction(signal, &action, nil)
  }

  var isOver: Bool { lock.withLock { outcome != nil } }

  /// Waits for its end, which a signal may bring about: sent again and again, for the first may come before the call.
  func end(interrupting: Bool) -> Outcome {
    while interrupting, !isOver {
      pthread_kill(thread, Self.signal)
      usleep(2000)
    }
    pthread_join(thread, nil)
    return lock.withLock { outcome! }
  }
}

extension MountedTarget {
  /// On a mount an operation waits unless its handle says otherwise.
  func patience(for operation: Operation, asked: Patience?, _ model: ModelFilesystem) -> Patience? {
    guard isHoldfast else { return nil }
    var access: Access? = operation.handleSlot.flatMap { model.handle($0)?.access }
    if case .open(_, _, let opened) = operation { access = opened }
    return access?.contains(.nonblocking) == true ? nil : asked ?? .released
  }

  var isParked: Bool { parked != nil }
  /// Nobody tells: it ends soon, or the comparison of what it did does not come.
  var isFree: Bool { true }
  var isCertainlyFree: Bool { parked?.isOver ?? false }
  var keepsItsTurn: Bool { false }
  var hasRealClock: Bool { true }

  /// Begins it, and goes on when its holders have been asked to let go.
  func park(_ operation: Operation, _ model: ModelFilesystem) -> Outcome {
    let call = WaitingCall { [unowned self] in attempt(operation, model) }
    guard let id = model.subject(of: operation) else { return call.end(interrupting: false) }
    let wasPending = (model.seals[id] ?? []).contains(where: \.isRecalled)
    var patience = 5000
    while patience > 0, !call.isOver, !isRecallPending(on: id, model) {
      usleep(1000)
      patience -= 1
    }
    // Nothing tells when it has come as far as others did before it; nothing that follows depends on it.
    if wasPending { usleep(5000) }
    guard !call.isOver else { return call.end(interrupting: false) }
    parked = call
    return .failed(EAGAIN)
  }

  func resume(_ operation: Operation, _ model: ModelFilesystem) -> Outcome { end(operation, interrupting: false) }

  func interrupt(_ operation: Operation) -> Outcome { end(operation, interrupting: true) }

  private func end(_ operation: Operation, interrupting: Bool) -> Outcome {
    guard let call = parked else { return .failed(ENXIO) }
    let outcome = call.end(interrupting: interrupting)
    parked = nil
    noteOutage(operation, outcome)
    return outcome
  }
}
