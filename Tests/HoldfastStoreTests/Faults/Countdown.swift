import HoldfastBase

/// Counts calls from several threads; true once, at the nth.
final class Countdown: @unchecked Sendable {
  private let lock = Lock()
  private let nth: Int
  private var calls = 0

  init(_ nth: Int) { self.nth = nth }

  func strikes() -> Bool {
    lock.withLock {
      calls += 1
      return calls - 1 == nth
    }
  }

  var count: Int { lock.withLock { calls } }
  /// The nth call has been.
  var isOver: Bool { count > nth }
}
