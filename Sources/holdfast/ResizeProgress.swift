/// How far a resize is, shown while it lasts on a terminal: one line on stderr, written over itself.

import Glibc
import HoldfastBase
import HoldfastCommand

enum ResizeProgress {
  private static let intervalMicroseconds: UInt32 = 200_000

  /// Runs `body`; meanwhile another thread asks `look` now and then, and shows what it says.
  static func showing<Result, Failure>(
    _ look: @escaping @Sendable () -> (moved: UInt64, planned: UInt64)?, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard isatty(STDERR_FILENO) == 1 else { return try body() }
    let watch = Watch(look)
    watch.start()
    defer { watch.stop() }
    return try body()
  }

  private final class Watch: @unchecked Sendable {
    private let look: @Sendable () -> (moved: UInt64, planned: UInt64)?
    private let lock = Lock()
    private var isOver = false
    private var thread = pthread_t()

    init(_ look: @escaping @Sendable () -> (moved: UInt64, planned: UInt64)?) { self.look = look }

    func start() {
      let context = Unmanaged.passRetained(self).toOpaque()
      // Signals are the main thread's: one that ends the resize must find it in its call.
      var blocked = sigset_t()
      var before = sigset_t()
      sigfillset(&blocked)
      pthread_sigmask(SIG_SETMASK, &blocked, &before)
      pthread_create(
        &thread, nil,
        { context in
          Unmanaged<Watch>.fromOpaque(context!).takeRetainedValue().run()
          return nil
        }, context)
      pthread_sigmask(SIG_SETMASK, &before, nil)
    }

    func stop() {
      lock.withLock { isOver = true }
      pthread_join(thread, nil)
    }

    private func run() {
      var isShown = false
      while !lock.withLock({ isOver }) {
        if let (moved, planned) = look(), planned > 0 {
          let bytes = { ByteSize(bytes: $0 * UInt64(Block.size)) }
          show("\r\(bytes(moved)) of about \(bytes(planned)) moved\u{1b}[K")
          isShown = true
        }
        usleep(ResizeProgress.intervalMicroseconds)
      }
      if isShown { show("\r\u{1b}[K") }
    }

    private func show(_ text: String) { text.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) } }
  }
}
