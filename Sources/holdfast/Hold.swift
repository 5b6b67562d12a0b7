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
      however they end. Signals sent to hold are passed on.

      When somebody needs a file that is held with --breakable, hold says so and sends COMMAND the signal of \
      --on-recall, once for each file. If COMMAND ends within the grace, the seal is released and whoever waits goes \
      on; else it is taken away, which hold says too. COMMAND is then left alone: what it still does to the old \
      blocks reaches blocks that belong to nobody.

      Exit status: COMMAND's, 128 + N when signal N killed it; 124 when a seal was taken away (fenced or revoked) \
      while COMMAND ran; 127 when there is no such command, 126 when it cannot be run; 1 when a file could not be \
      sealed (COMMAND is not run then).

      Examples:
        holdfast hold /mnt/data -- rdma-server /mnt/data
        holdfast hold --fill --ttl 60 /mnt/a /mnt/b -- sleep 30
        holdfast hold --breakable --grace 10 --on-recall USR1 /mnt/data -- cache-warmer /mnt/data
      """)

  @Argument(help: "Files on a Holdfast mount.", completion: .file())
  var files: [String]

  @OptionGroup var request: SealArguments

  @Option(
    help: ArgumentHelp(
      "Sent to COMMAND when a file is asked for, or was taken away: a name or number, or none.", valueName: "signal"))
  var onRecall = RecallSignal(signal: SignalName("TERM"))

  /// What stands behind `--`; the parser takes no arguments behind a list, so it never sees it.
  var command: [String] = []

  private enum CodingKeys: CodingKey { case files, request, onRecall }

  /// Parts the command line at the first `--` when it is one of `hold`.
  static func split(_ arguments: [String]) -> (arguments: [String], command: [String]) {
    guard arguments.first == _commandName, let terminator = arguments.firstIndex(of: "--") else {
      return (arguments, [])
    }
    return (Array(arguments[..<terminator]), Array(arguments[(terminator + 1)...]))
  }

  func run() throws {
    if command.isEmpty { throw ValidationError("no command given: holdfast hold FILE -- COMMAND") }
    let files = try files.map { path in try HeldFile(path, request.request(lifetime: .handle)) }
    var supervisor = try HeldCommand(files, onRecall: onRecall.signal)
    throw ExitCode(try supervisor.run(command))
  }
}

/// `--on-recall`: a signal, or `none`.
struct RecallSignal: ExpressibleByArgument {
  var signal: SignalName?

  init(signal: SignalName?) { self.signal = signal }

  init?(argument: String) {
    if argument == "none" { return }
    guard let signal = SignalName(argument) else { return nil }
    self.signal = signal
  }

  var defaultValueDescription: String { signal?.description ?? "none" }
}
