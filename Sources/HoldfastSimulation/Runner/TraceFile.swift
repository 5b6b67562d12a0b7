/// The operations of a run as they come, each on disk before it is done: what is left when the engine traps. It is a log
/// that `--replay` takes.

import Glibc

final class TraceFile {
  private let path: String
  private let descriptor: Int32

  /// Nil when there can be no such file.
  init?(path: String, options: StressOptions) {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return nil }
    put(OperationLog(options: options, job: 0, operations: []).text)
  }

  deinit { close(descriptor) }

  func note(_ operation: Operation) { put("\(operation)\n") }

  private func put(_ text: String) {
    var text = text
    text.withUTF8 { _ = write(descriptor, $0.baseAddress, $0.count) }
  }

  /// The run came back: it can tell what it did by itself.
  func remove() { unlink(path) }
}
