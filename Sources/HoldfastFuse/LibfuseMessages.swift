/// libfuse tells of errors by printing them. While collecting, the last line is kept for our own error instead.
///
/// Owns: the collected line, under `lock`. libfuse's log function is one per process.

import CFuse3
import Glibc
import HoldfastBase

enum LibfuseMessages {
  private static let lock = Lock()
  private nonisolated(unsafe) static var last: String?

  static func start() {
    lock.withLock { last = nil }
    fuse_set_log_func { _, format, arguments in
      var line = [CChar](repeating: 0, count: 512)
      vsnprintf(&line, line.count, format!, arguments!)
      var text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      while text.last == "\n" { text.removeLast() }
      if text.hasPrefix("fuse: ") { text.removeFirst(6) }
      LibfuseMessages.keep(text)
    }
  }

  /// Prints again from here on; the last line collected.
  static func finish() -> String? {
    fuse_set_log_func(nil)
    return lock.withLock { last }
  }

  private static func keep(_ text: String) { lock.withLock { last = text } }
}
