import ArgumentParser
import CPlatform
import Glibc
import HoldfastClient
import HoldfastCommand

struct Hold: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Seal files for as long as a command runs.",
    usage: "holdfast hold [<options>] <files> ... -- <command> [<arguments> ...]",
    discussion: """
      The seals are bound to open handles, which COMMAND inherits: they go when hold and COMMAND have both ended, \
      however they end. Signals sent to hold are passed on; its exit status is COMMAND's, 128 + N when signal N \
      killed it, 127 when there is no such command, and 1 when a file could not be sealed (COMMAND is not run then).

      Examples:
        holdfast hold /mnt/data -- rdma-server /mnt/data
        holdfast hold --fill --ttl 60 /mnt/a /mnt/b -- sleep 30
      """)

  @Argument(help: "Files on a Holdfast mount.", completion: .file())
  var files: [String]

  @OptionGroup var request: SealArguments

  /// What stands behind `--`; the parser takes no arguments behind a list, so it never sees it.
  var command: [String] = []

  private enum CodingKeys: CodingKey { case files, request }

  /// Parts the command line at the first `--` when it is one of `hold`.
  static func split(_ arguments: [String]) -> (arguments: [String], command: [String]) {
    guard arguments.first == _commandName, let terminator = arguments.firstIndex(of: "--") else {
      return (arguments, [])
    }
    return (Array(arguments[..<terminator]), Array(arguments[(terminator + 1)...]))
  }

  func run() throws {
    if command.isEmpty { throw ValidationError("no command given: holdfast hold FILE -- COMMAND") }
    let holders = try files.map { path in try Holder(path, request.request(lifetime: .handle)) }
    let status = try withExtendedLifetime(holders) { try ForwardingWait.run(command) }
    throw ExitCode(status)
  }
}

/// A sealed open file; noncopyable files cannot be in an array themselves.
private final class Holder {
  private let file: OpenFile

  init(_ path: String, _ request: SealRequest) throws(ClientError) {
    file = try OpenFile(path, inheritable: true)
    try file.seal(request)
  }
}

/// Runs a command in our own process group and terminal, passing on the signals others send us.
private enum ForwardingWait {
  private static let forwarded = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP, SIGWINCH]

  static func run(_ command: [String]) throws(CommandError) -> Int32 {
    var waited = sigset_t()
    sigemptyset(&waited)
    for signal in forwarded + [SIGCHLD] { sigaddset(&waited, signal) }
    var original = sigset_t()
    pthread_sigmask(SIG_BLOCK, &waited, &original)
    defer { pthread_sigmask(SIG_SETMASK, &original, nil) }
    let child = try Subprocess.start(command, signalMask: original)
    while true {
      var information = siginfo_t()
      let signal = sigwaitinfo(&waited, &information)
      if signal == SIGCHLD {
        if let status = collect(child) { return status }
      } else if signal > 0 && information.si_code <= 0 {
        // From a process. What the terminal sends, COMMAND in the same group has got itself.
        kill(child, signal)
      }
    }
  }

  /// The exit status when the child has ended. When it has stopped, so do we, until continued.
  private static func collect(_ child: pid_t) -> Int32? {
    var status: Int32 = 0
    while true {
      let pid = waitpid(child, &status, WNOHANG | WUNTRACED)
      if pid < 0 && errno == EINTR { continue }
      guard pid == child else { return pid < 0 ? EXIT_FAILURE : nil }
      guard status & 0xff == 0x7f else { return Subprocess.exitStatus(status) }
      raise(SIGSTOP)
    }
  }
}
