/// Threads of the daemon: named, with signals blocked, so that a signal reaches the thread that waits for it.

import CFuse3
import Glibc

struct Thread {
  private let identifier: pthread_t

  /// Runs `body` on a new thread. A process that cannot start a thread cannot serve a mount: that traps.
  init(name: String, _ body: @escaping @Sendable () -> Void) {
    final class Box {
      let name: String
      let body: @Sendable () -> Void
      init(_ name: String, _ body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
      }
    }
    var blocked = sigset_t()
    var before = sigset_t()
    sigfillset(&blocked)
    sigdelset(&blocked, Self.wakeSignal)
    pthread_sigmask(SIG_SETMASK, &blocked, &before)
    var identifier = pthread_t()
    let status = pthread_create(
      &identifier, nil,
      { argument in
        let box = Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue()
        holdfast_name_thread(box.name)
        box.body()
        return nil
      }, Unmanaged.passRetained(Box(name, body)).toOpaque())
    pthread_sigmask(SIG_SETMASK, &before, nil)
    precondition(status == 0, "pthread_create: \(status)")
    self.identifier = identifier
  }

  func join() { pthread_join(identifier, nil) }
  func detach() { pthread_detach(identifier) }

  /// Ends a system call the thread is blocked in; the call answers EINTR.
  func wake() { pthread_kill(identifier, Self.wakeSignal) }

  static let wakeSignal = SIGUSR1

  /// To be called before the first `wake`: the signal's default action would end the process.
  static func prepareWaking() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    sigaction(wakeSignal, &action, nil)
  }
}
