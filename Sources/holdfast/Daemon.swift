/// The mount in the background: the command starts itself again in a session of its own and waits on a pipe
/// until that says `ready` or why not. One line each: `=ready`, `=note TEXT`, `=error TEXT`. Until then the pipe is
/// the daemon's stderr, too: other lines are what its helpers complain of, such as fusermount3.

import ArgumentParser
import CPlatform
import Glibc
import HoldfastCommand

enum Daemon {
  /// The descriptor the child finds its end of the pipe at.
  private static let reportDescriptor: Int32 = 3

  /// Returns when the mount answers. - Throws: what the daemon says is wrong.
  static func start(image: String, mountPoint: String, options: String, log: String?) throws(CommandError) {
    var arguments = ["holdfast", "mount", "--report-to", "\(reportDescriptor)", "-o", options]
    if let log { arguments += ["--log", try openable(log)] }
    arguments += ["--", image, mountPoint]
    let null = holdfast_open("/dev/null", O_RDWR | O_CLOEXEC, 0)
    guard null >= 0 else { throw CommandError("/dev/null", errno: errno) }
    var ends: [Int32] = [0, 0]
    guard pipe2(&ends, O_CLOEXEC) == 0 else { throw CommandError("pipe", errno: errno) }
    let pid = try Subprocess.start(
      arguments, program: ownProgram(), streams: .init(input: null, output: null, error: ends[1], extra: ends[1]),
      newSession: true)
    close(ends[1])
    try wait(for: pid, on: ends[0], image: image)
  }

  /// The log's absolute path, made if need be: the daemon opens it when nobody can be told any more.
  private static func openable(_ log: String) throws(CommandError) -> String {
    let descriptor = holdfast_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
    guard descriptor >= 0 else { throw CommandError(log, errno: errno) }
    close(descriptor)
    return try Path.resolved(log)
  }

  private static func wait(for pid: pid_t, on pipe: Int32, image: String) throws(CommandError) {
    var lines = LineReader(pipe)
    var complaints: [String] = []
    while let line = lines.next() {
      let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
      switch parts.first {
      case "=ready": return
      case "=note": complain(parts.count > 1 ? parts[1] : "")
      case "=error":
        var error = CommandError(line: parts.count > 1 ? parts[1] : "")
        if !complaints.isEmpty { error.why += " (\(complaints.joined(separator: "; ")))" }
        throw error
      default:
        if !line.isEmpty { complaints.append(line) }
      }
    }
    let status = Subprocess.wait(for: pid)
    let end = status > 128 ? "killed by signal \(status - 128)" : "exit status \(status)"
    throw CommandError(image, (["the daemon ended early (\(end))"] + complaints.suffix(3)).joined(separator: "; "))
  }

  /// This program's file; its name shows in ps, unlike that of /proc/self/exe, which is left for a file replaced meanwhile.
  static func ownProgram() -> String {
    guard let path = try? Path.resolved("/proc/self/exe"), access(path, X_OK) == 0 else { return "/proc/self/exe" }
    return path
  }
}

/// The daemon's end of that pipe, or stderr in the foreground.
final class DaemonReport {
  /// Nil in the foreground, and once the mount answers: whoever waited has gone.
  private var descriptor: Int32?
  private let log: String?

  static func onStderr() -> DaemonReport { DaemonReport(descriptor: nil, log: nil) }

  private init(descriptor: Int32?, log: String?) {
    self.descriptor = descriptor
    self.log = log
  }

  /// Runs `body` and reports its failure; the process ends with it.
  static func serving(
    on descriptor: Int32, log: String?, _ body: (DaemonReport) throws(CommandError) -> Void
  ) throws {
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    signal(SIGPIPE, SIG_IGN)
    umask(0)
    let report = DaemonReport(descriptor: descriptor, log: log)
    do throws(CommandError) {
      guard chdir("/") == 0 else { throw CommandError("/", errno: errno) }
      try body(report)
    } catch {
      report.say("=error \(error)")
      // stderr is that pipe, or the log: the line is not to come twice.
      throw ExitCode(error.exitStatus)
    }
  }

  func note(_ text: String) { descriptor == nil ? complain(text) : say("=note \(text)") }

  /// The mount answers: nobody waits any more, and stderr becomes the log.
  func ready() {
    guard let descriptor else { return }
    let errors = holdfast_open(log ?? "/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC, 0)
    if errors >= 0 {
      dup2(errors, STDERR_FILENO)
      close(errors)
    }
    say("=ready")
    close(descriptor)
    self.descriptor = nil
  }

  private func say(_ line: String) {
    guard let descriptor else { return }
    let text = line.split(separator: "\n").joined(separator: " ") + "\n"
    text.withCString { _ = write(descriptor, $0, strlen($0)) }
  }
}

/// Lines from a pipe.
private struct LineReader {
  private let descriptor: Int32
  private var pending: [UInt8] = []

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  /// Nil at the end; a last line may lack its newline.
  mutating func next() -> String? {
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        defer { pending.removeSubrange(...end) }
        return String(decoding: pending[..<end], as: UTF8.self)
      }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        defer { pending = [] }
        return pending.isEmpty ? nil : String(decoding: pending, as: UTF8.self)
      }
      pending += buffer[..<count]
    }
  }
}
