/// Threads for what must not be done where it is noticed: parked calls made again, interrupted ones answered, recalls
/// told. Not the workers' affair: those are in read(2), and one that did an errand could not take the holder's release.
///
/// Owns: the queue, under `lock`. Threads start when all others are busy, up to `limit`, and stay.

import HoldfastBase

final class Errands: @unchecked Sendable {
  /// Calls made again may wait for each other's inode: a few threads keep the others going.
  private static let limit = 4

  private let lock = Lock()
  private let changed = Condition()
  private var queue: [@Sendable () -> Void] = []
  private var next = 0
  private var idle = 0
  private var threads: [Thread] = []
  private var isStopped = false

  /// Returns at once; waits for nothing.
  func submit(_ errand: @escaping @Sendable () -> Void) {
    lock.withLock {
      queue.append(errand)
      if idle == 0, threads.count < Self.limit, !isStopped {
        threads.append(Thread(name: "errands \(threads.count)") { self.run() })
      }
      changed.signal()
    }
  }

  /// Waits for every errand submitted so far, and ends the threads. What is submitted later is not done.
  func stop() {
    let all = lock.withLock {
      isStopped = true
      changed.broadcast()
      return threads
    }
    for thread in all { thread.join() }
  }

  private func run() {
    lock.lock()
    while true {
      while next == queue.count, !isStopped {
        idle += 1
        changed.wait(lock)
        idle -= 1
      }
      guard next < queue.count else { break }
      let errand = queue[next]
      next += 1
      if next == queue.count {
        queue.removeAll(keepingCapacity: true)
        next = 0
      }
      lock.unlock()
      errand()
      lock.lock()
    }
    lock.unlock()
  }
}
