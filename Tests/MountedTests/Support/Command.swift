/// Running programs: the built command above all. Output is collected in memory files, so that a daemon left behind
/// keeps nobody waiting for the end of a pipe.

import CMountedSupport
import Glibc

struct CommandResult {
  /// Exit status; 128 + N for signal N.
  var status: Int32
  var output: String
  var errors: String

  /// The message without its line end.
  var errorLine: String { errors.last == "\n" ? String(errors.dropLast()) : errors }
}

/// A started child process.
final class Child {
  let pid: pid_t
  private let output: Int32
  private let errors: Int32
  private var status: Int32?

  /// Starts `arguments[0]`, looked for in PATH, with no or all signals blocked, whatever this thread blocks.
  /// `inherited`: descriptors the child finds at 10, 11 and so on.
  init(
    _ arguments: [String], input: Int32? = nil, output: Int32? = nil, inherited: [Int32] = [],
    blockingSignals: Bool = false
  ) throws(Errno) {
    self.output = try check(output ?? hmt_memory_file())
    errors = try check(hmt_memory_file())
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let input {
      posix_spawn_file_actions_adddup2(&actions, input, 0)
    } else {
      posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    }
    posix_spawn_file_actions_adddup2(&actions, self.output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    for (index, descriptor) in inherited.enumerated() {
      posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(10 + index))
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var mask = sigset_t()
    if blockingSignals { sigfillset(&mask) } else { sigemptyset(&mask) }
    posix_spawnattr_setsigmask(&attributes, &mask)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, arguments[0], &actions, &attributes, words, Glibc.environ)
    pid = child
    guard code == 0 else {
      status = 127
      throw Errno(code)
    }
  }

  deinit {
    if status == nil {
      signal(SIGKILL)
      _ = wait(seconds: 10)
    }
    close(output)
    close(errors)
  }

  func signal(_ number: Int32) { if status == nil { kill(pid, number) } }

  /// Its exit status, nil when it still runs after so long.
  func wait(seconds: Double) -> Int32? {
    if let status { return status }
    let ended = eventually(within: seconds) {
      var raw: Int32 = 0
      guard waitpid(pid, &raw, WNOHANG) == pid else { return false }
      status = raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f)
      return true
    }
    return ended ? status : nil
  }

  /// So far, on its standard output.
  func hasSaid(_ text: String) -> Bool { Self.text(of: output).contains(text) }

  /// Everything it said, after its end; a program that does not end is killed (and has status 137).
  func finish(seconds: Double = 60) -> CommandResult {
    if wait(seconds: seconds) == nil { signal(SIGKILL) }
    let status = wait(seconds: 10) ?? 137
    return CommandResult(status: status, output: Self.text(of: output), errors: Self.text(of: errors))
  }

  private static func text(of file: Int32) -> String {
    let size = Int(lseek(file, 0, SEEK_END))
    guard size > 0 else { return "" }
    var bytes = [UInt8](repeating: 0, count: size)
    let count = pread(file, &bytes, size, 0)
    return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
  }
}

/// Runs a program to its end.
@discardableResult
func run(_ arguments: [String], seconds: Double = 60) throws -> CommandResult {
  try Child(arguments).finish(seconds: seconds)
}

/// Runs the command under test.
@discardableResult
func holdfast(_ arguments: String..., seconds: Double = 60) throws -> CommandResult {
  try run([TestEnvironment.holdfast] + arguments, seconds: seconds)
}
