import ArgumentParser
import HoldfastClient
import HoldfastCommand

struct Sync: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make everything written so far durable.",
    discussion: """
      sync(1) does not reach a filesystem in user space; this does, and returns when all is on disk.

      Example:
        holdfast sync /mnt
      """)

  @Argument(help: "A mount point, or any path on the mount.", completion: .directory)
  var mountPoint: String

  func run() throws {
    try asCommand { () throws(ClientError) in try OpenFile(mountPoint).syncMount() }
  }
}
