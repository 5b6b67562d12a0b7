/// Threads for what must not be done where it is noticed. Not the workers' affair: those are in read(2), and one that did
/// an errand could not take the holder's release.
///
/// Owns: the queue, under `lock`, and its threads, from the start on: when the first recall comes it must not turn out
/// that there are none to be had.

import HoldfastBase

final class Errands: @unchecked Sendable {
  private let lock = Lock()
  private let changed = Condition()
  private var queue: [@Sendable () -> Void] = []
  private var next = 0
  private var isStopped = false
  private let name: String
  private let threadCount: Int
  private var threads: [Thread] = []

  init(name: String, threads: Int) {
    self.name = name
    threadCount = threads
  }

  func start() {
    threads = (0..<threadCount).map { number in Thread(name: "\(name) \(number)") { self.run() } }
  }

  /// Returns at once; waits for nothing.
  func submit(_ errand: @escaping @Sendable () -> Void) {
    lock.withLock { queue.append(errand) }
    changed.signal()
  }

  /// Waits for every errand submitted so far, and those they submit, and ends the threads.
  func stop() {
    lock.withLock { isStopped = true }
    changed.broadcast()
    for thread in threads { thread.join() }
  }

  private func run() {
    lock.lock()
    while true {
      while next == queue.count, !isStopped { changed.wait(lock) }
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
