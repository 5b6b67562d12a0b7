/// What the daemon says: refusals, damage and device errors, recalls, fences and revokes; a bounded number of lines per
/// second.
///
/// Owns: the counts of lines in the current second, each under its lock. Errors that are a program's daily bread (ENOENT,
/// EACCES …) are not logged.

import Glibc
import HoldfastBase
import Logging

final class SessionLog: @unchecked Sendable {
  /// Of errors: a program may try what is refused in a loop.
  private static let errorsPerSecond = 10
  /// Of recalls, fences and revokes, each of which somebody will ask for: only a flood is cut.
  private static let noticesPerSecond = 100

  let logger: Logger
  private let errors = Rate(linesPerSecond: errorsPerSecond)
  private let notices = Rate(linesPerSecond: noticesPerSecond)

  init(_ logger: Logger) { self.logger = logger }

  func note(_ error: FSError, operation: Operation, inode: InodeNumber) {
    let level: Logger.Level
    switch error {
    case .sealed, .laidOut, .leased, .invalid(.notSealed): level = .notice
    case .device(_, _, let code): level = code == ENOSPC ? .warning : .error
    case .corrupt, .imageTruncated, .shutDown, .nameHashExhausted: level = .error
    default: return
    }
    log(level, "\(operation) of inode \(inode): \(error)", errors)
  }

  /// A line of what became of a request.
  func tell(_ line: String) { log(.notice, line, notices) }

  private func log(_ level: Logger.Level, _ line: String, _ rate: Rate) {
    guard let skipped = rate.admit() else { return }
    logger.log(level: level, "\(line)")
    if skipped > 0 { logger.notice("\(skipped) more lines like this in the seconds before") }
  }
}

private final class Rate: @unchecked Sendable {
  private let linesPerSecond: Int
  private let lock = Lock()
  private var second = 0
  private var lines = 0
  private var suppressed = 0

  init(linesPerSecond: Int) { self.linesPerSecond = linesPerSecond }

  /// nil when this second has had its lines; else how many lines were dropped before.
  func admit() -> Int? {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return lock.withLock {
      if now.tv_sec != second {
        second = now.tv_sec
        lines = 0
      }
      lines += 1
      guard lines <= linesPerSecond else {
        suppressed += 1
        return nil
      }
      defer { suppressed = 0 }
      return suppressed
    }
  }
}
