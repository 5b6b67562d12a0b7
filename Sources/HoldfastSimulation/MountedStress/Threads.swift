/// Threads for the jobs of a mounted stress, and what they share.

import Glibc
import HoldfastBase

enum Threads {
  private final class Work {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Runs `body` with 0 ..< count, each on a thread of its own, and waits for all.
  static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    var threads: [pthread_t] = []
    for index in 0..<count {
      var thread = pthread_t()
      let work = Unmanaged.passRetained(Work { body(index) })
      let status = pthread_create(
        &thread, nil,
        { context in
          Unmanaged<Work>.fromOpaque(context!).takeRetainedValue().body()
          return nil
        }, work.toOpaque())
      precondition(status == 0, "pthread_create: \(status)")
      threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
  }
}

/// Whether to go on, and how far everybody is.
final class SharedProgress: @unchecked Sendable {
  private let lock = Lock()
  private var done = 0
  private var stopped = false
  private let wanted: Int
  private let progress: (@Sendable (Int, Int) -> Void)?

  init(wanted: Int, progress: (@Sendable (Int, Int) -> Void)?) {
    self.wanted = wanted
    self.progress = progress
  }

  var isStopped: Bool { lock.withLock { stopped } }
  func stop() { lock.withLock { stopped = true } }

  func add(_ count: Int) {
    let total = lock.withLock {
      done += count
      return done
    }
    progress?(total, wanted)
  }
}
