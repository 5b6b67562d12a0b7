import ArgumentParser
import HoldfastClient
import HoldfastCommand

struct Revoke: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Take seals away from their holders (administrators).",
    discussion: """
      Fences, then releases: a holder that could still reach the blocks hits blocks that belong to nobody.

      Examples:
        holdfast revoke /mnt/data                 every request on the file
        holdfast revoke /mnt/data --name rdma     only that of the name
        holdfast revoke /mnt --inode 17           of a file that has no name any more
        holdfast revoke --all /mnt                of the whole mount; without a mount, of all mounts
        holdfast revoke --all --pid 1234          everything the process holds
      """)

  @Argument(help: "A file; with --all or --inode the mount.", completion: .file())
  var path: String?

  @Flag(help: "Of every file of the mount.")
  var all = false

  @Option(help: "Only requests of this name.")
  var name: String?

  @Option(help: "Only requests held by this process.")
  var pid: Int32?

  @Option(help: "Of the inode with this number.")
  var inode: UInt64?

  func validate() throws {
    if path == nil && !all { throw ValidationError("name a file, or --all") }
    if all && inode != nil { throw ValidationError("--all and --inode exclude each other") }
    if let name, !SealRequest.isValid(name: name) { throw ValidationError("--name takes up to 64 of A-Z a-z 0-9 _ -") }
    if let pid, pid <= 0 { throw ValidationError("--pid takes a process id") }
  }

  func run() throws {
    let target: Revocation.Target = all ? .allFiles : inode.map { .inode($0) } ?? .file
    let paths = try path.map { [$0] } ?? MountTable.current().holdfastMounts.map(\.mountPoint)
    guard !paths.isEmpty else { throw CommandError("--all", "no Holdfast volume is mounted here") }
    var revoked: UInt64 = 0
    for path in paths {
      revoked += try asCommand { () throws(ClientError) in
        try OpenFile(path).revoke(Revocation(target, name: name, pid: pid))
      }
    }
    print(revoked == 1 ? "1 request revoked" : "\(revoked) requests revoked")
  }
}
