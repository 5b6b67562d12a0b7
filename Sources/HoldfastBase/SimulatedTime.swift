/// Time of a simulation's own: runs of one seed must leave the same bytes, so whoever simulates says what time it is.
/// A value a thread, since simulations run beside each other; without one, `Timestamp.now` is CLOCK_REALTIME.

import Glibc

public enum SimulatedTime {
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let status = pthread_key_create(&key, nil)
    precondition(status == 0, "pthread_key_create: \(status)")
    return key
  }()

  /// This thread's simulated time; nil outside a simulation.
  static var current: Timestamp? { pthread_getspecific(key)?.load(as: Timestamp.self) }

  /// Runs `body` with this thread's clock standing at `start`; only `advance` moves it.
  public static func run<Result, Failure>(
    from start: Timestamp, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let before = pthread_getspecific(key)
    let now = UnsafeMutablePointer<Timestamp>.allocate(capacity: 1)
    now.initialize(to: start)
    pthread_setspecific(key, now)
    defer {
      pthread_setspecific(key, before)
      now.deallocate()
    }
    return try body()
  }

  /// Moves this thread's simulated clock on; below a second at a time. Nothing outside a simulation.
  public static func advance(nanoseconds: UInt32) {
    guard let now = pthread_getspecific(key)?.assumingMemoryBound(to: Timestamp.self) else { return }
    now.pointee.nanoseconds += nanoseconds
    if now.pointee.nanoseconds >= 1_000_000_000 {
      now.pointee.nanoseconds -= 1_000_000_000
      now.pointee.seconds += 1
    }
  }
}
