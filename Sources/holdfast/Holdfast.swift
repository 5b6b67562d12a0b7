/// The command: its subcommands, and how failures reach the user: one line on stderr, exit status 1; bad usage
/// 64; fsck's own statuses. Help and version go to stdout.

import ArgumentParser
import Glibc
import HoldfastClient
import HoldfastCommand

@main
struct Holdfast: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "holdfast",
    abstract: "A filesystem whose files can be sealed: their extent maps stay put until you let go.",
    discussion: """
      Make an image, mount it, seal a file:
        holdfast mkfs disk.img --size 10G
        holdfast mount disk.img /mnt
        holdfast seal /mnt/data          or: setfattr -n holdfast.seal -v 1 /mnt/data
        truncate -s 0 /mnt/data          refused: Text file busy
        holdfast why /mnt/data           says who refused, and how to get it released
        holdfast unmount /mnt
      """,
    version: "holdfast 0.1.0",
    subcommands: [Remount.self, SwapGuardCommand.self],
    groupedSubcommands: [
      CommandGroup(
        name: "Volumes",
        subcommands: [
          Mkfs.self, Mount.self, Unmount.self, Fsck.self, Info.self, Sync.self, Grow.self, Shrink.self, Defrag.self,
        ]),
      CommandGroup(
        name: "Seals",
        subcommands: [
          Seal.self, Unseal.self, Hold.self, Seals.self, Why.self, MapCommand.self, Prepare.self, Revoke.self,
        ]),
      CommandGroup(name: "Trials", subcommands: [Stress.self]),
    ])

  static func main() {
    openStandardDescriptors()
    do {
      try refuseMangledArguments()
      let (arguments, held) = Hold.split(Array(CommandLine.arguments.dropFirst()))
      var command = try parseAsRoot(arguments)
      if var hold = command as? Hold {
        hold.command = held
        command = hold
      }
      try command.run()
      guard fflush(nil) == 0 else { throw CommandError("stdout", errno: errno) }
    } catch {
      end(with: error)
    }
  }

  /// Whoever starts us may have closed some of them: then the image would get that number, and messages would be
  /// written over it.
  private static func openStandardDescriptors() {
    while true {
      let descriptor = open("/dev/null", O_RDWR)
      if descriptor < 0 || descriptor > STDERR_FILENO {
        close(descriptor)
        return
      }
    }
  }

  /// Arguments become text, which cannot hold every byte: a name that is not UTF-8 would turn into another file's.
  private static func refuseMangledArguments() throws {
    for index in 1..<max(Int(CommandLine.argc), 1) {
      guard let argument = CommandLine.unsafeArgv[index], String(validatingCString: argument) == nil else { continue }
      throw CommandError("argument \(index)", "not UTF-8: use setfattr and getfattr for this file", exitStatus: 64)
    }
  }

  private static func end(with error: any Error) -> Never {
    fflush(nil)
    switch error {
    case let error as CommandError:
      complain("\(error)")
      Glibc.exit(error.exitStatus)
    case let error as ClientError:
      complain("\(error)")
      Glibc.exit(EXIT_FAILURE)
    case let code as ExitCode:
      Glibc.exit(code.rawValue)
    default:
      let code = exitCode(for: error)
      if code.isSuccess {
        print(fullMessage(for: error))
        Glibc.exit(EXIT_SUCCESS)
      }
      // Only mistakes on the command line are left.
      let line = message(for: error).split(separator: "\n").first.map(String.init) ?? "bad usage"
      guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-") else {
        complain("\(line) (see: holdfast help)")
        Glibc.exit(code.rawValue)
      }
      let isKnown = configuration.subcommands.contains { $0._commandName == word }
      complain(isKnown ? "\(line) (see: holdfast help \(word))" : "\(word): no such subcommand (see: holdfast help)")
      Glibc.exit(word == Fsck._commandName ? Fsck.Status.usage : code.rawValue)
    }
  }
}

/// A line on stderr with the command's name before it; control characters in it, of a file's name perhaps, are escaped.
func complain(_ text: String) {
  let line = "holdfast: " + text.split(separator: "\n").joined(separator: " ").printable + "\n"
  line.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) }
}
