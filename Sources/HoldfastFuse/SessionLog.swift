/// What the daemon says: refusals, damage and device errors, a bounded number of lines per second.
///
/// Owns: the count of lines in the current second, under `lock`. Errors that are a program's daily bread (ENOENT,
/// EACCES …) are not logged.

import Glibc
import HoldfastBase
import Logging

final class SessionLog: @unchecked Sendable {
  private static let linesPerSecond = 10

  let logger: Logger
  private let lock = Lock()
  private var second = 0
  private var lines = 0
  private var suppressed = 0

  init(_ logger: Logger) { self.logger = logger }

  func note(_ error: FSError, operation: Operation, inode: InodeNumber) {
    let level: Logger.Level
    switch error {
    case .sealed: level = .notice
    case .device(_, _, let code): level = code == ENOSPC ? .warning : .error
    case .corrupt, .imageTruncated, .shutDown, .nameHashExhausted: level = .error
    default: return
    }
    guard let skipped = admit() else { return }
    logger.log(level: level, "\(operation) of inode \(inode): \(error)")
    if skipped > 0 { logger.notice("\(skipped) more lines like this in the seconds before") }
  }

  /// nil when this second has had its lines; else how many lines were dropped before.
  private func admit() -> Int? {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return lock.withLock {
      if now.tv_sec != second {
        second = now.tv_sec
        lines = 0
      }
      lines += 1
      guard lines <= Self.linesPerSecond else {
        suppressed += 1
        return nil
      }
      defer { suppressed = 0 }
      return suppressed
    }
  }
}
