/// Something that takes its time, on a thread of its own: an operation that waits for a holder.

import CMountedSupport
import Glibc
import Synchronization
import Testing

final class Background: @unchecked Sendable {
  private let body: @Sendable () throws -> Void
  private let outcome = Mutex<Result<Void, any Error>?>(nil)
  private var thread = pthread_t()

  init(_ body: @escaping @Sendable () throws -> Void) {
    self.body = body
    let status = pthread_create(
      &thread, nil,
      { context in
        let this = Unmanaged<Background>.fromOpaque(context!).takeRetainedValue()
        // The thread that runs tests may block them all, and be inherited from.
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        let result = Result { try this.body() }
        this.outcome.withLock { $0 = result }
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(status == 0, "pthread_create: \(status)")
  }

  var isDone: Bool { outcome.withLock { $0 != nil } }

  /// Waits for its end; throws what it threw.
  func finish() throws {
    pthread_join(thread, nil)
    try outcome.withLock { try $0!.get() }
  }

  /// Sends the thread a signal, which ends a system call it waits in.
  func interrupt(_ signal: Int32) { pthread_kill(thread, signal) }
}
