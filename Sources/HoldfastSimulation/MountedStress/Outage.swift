/// Rounds in which the filesystem's daemon is killed under load: one command kills it, all jobs notice, another
/// command mounts the filesystem again, and every job holds what it finds against what a crash may leave.

import CPlatform
import Glibc
import HoldfastBase

/// Where the jobs of a round wait for the filesystem to come back.
final class Outage: @unchecked Sendable {
  private let lock = Lock()
  private let changed = Condition()
  private var expected: Int
  private var waiting = 0
  private var outcome: StressFailure?
  private var isOver = false
  private let killCommand: String
  private let mountCommand: String

  init(jobs: Int, killCommand: String, mountCommand: String) {
    expected = jobs
    self.killCommand = killCommand
    self.mountCommand = mountCommand
  }

  /// The controller's part: kills after a while, waits for the jobs, mounts.
  func run(afterMilliseconds delay: Int) {
    usleep(UInt32(delay) * 1000)
    _ = system(killCommand)
    lock.lock()
    while waiting < expected { changed.wait(lock) }
    lock.unlock()
    // Nobody uses the dead mount any more.
    let status = system(mountCommand)
    lock.withLock {
      isOver = true
      if status != 0 { outcome = StressFailure(.environment, "'\(mountCommand)' ended with status \(status)") }
    }
    changed.broadcast()
  }

  /// A job's part: it has closed everything and waits until the filesystem is back.
  func wait() throws(StressFailure) {
    lock.lock()
    defer { lock.unlock() }
    waiting += 1
    changed.broadcast()
    while !isOver { changed.wait(lock) }
    if let outcome { throw outcome }
  }

  /// A job that failed waits for nothing.
  func leave() {
    lock.withLock { expected -= 1 }
    changed.broadcast()
  }

  /// Whether the daemon behind `folder` is gone: the kernel then answers for it.
  static func hasBegun(at folder: [UInt8]) -> Bool {
    var usage = statvfs()
    let result = (folder + [0]).withUnsafeBytes {
      statvfs($0.baseAddress!.assumingMemoryBound(to: CChar.self), &usage)
    }
    return result != 0 && (errno == ENOTCONN || errno == ECONNABORTED)
  }
}
