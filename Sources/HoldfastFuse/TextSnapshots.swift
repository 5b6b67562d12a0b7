/// Long answers that an ioctl hands out in pages: each page is cut from the same snapshot.
///
/// Owns: the last few snapshots, under `lock`; the oldest makes room. A reader that comes back too late gets
/// ESTALE and starts again.

import HoldfastBase

final class TextSnapshots: @unchecked Sendable {
  private static let limit = 16

  private let lock = Lock()
  private var snapshots: [(cookie: UInt64, text: [UInt8])] = []
  private var nextCookie: UInt64 = 1

  /// Keeps `text` and returns what its later pages are asked for with.
  func keep(_ text: [UInt8]) -> UInt64 {
    lock.withLock {
      if snapshots.count == Self.limit { snapshots.removeFirst() }
      defer { nextCookie += 1 }
      snapshots.append((nextCookie, text))
      return nextCookie
    }
  }

  func text(_ cookie: UInt64) throws(FSError) -> [UInt8] {
    guard let found = lock.withLock({ snapshots.first { $0.cookie == cookie } }) else { throw .stale }
    return found.text
  }

  /// The last page was read.
  func drop(_ cookie: UInt64) {
    lock.withLock { snapshots.removeAll { $0.cookie == cookie } }
  }
}
