import ArgumentParser
import HoldfastClient
import HoldfastCommand

/// What `mount -o remount` calls by mount.holdfast: the kernel keeps our own options from us.
struct Remount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Change a mount's own options while it is mounted.", shouldDisplay: false)

  @Argument(help: "The mount point.", completion: .directory)
  var mountPoint: String

  @Option(name: .customShort("o"), help: "Options, comma-separated.")
  var options: [String] = []

  func run() throws {
    // Here for its message: the daemon can only answer an errno.
    _ = try Mount.parse(options)
    try asCommand { () throws(ClientError) in
      try OpenFile(mountPoint).remount(options: options.joined(separator: ","))
    }
  }
}
