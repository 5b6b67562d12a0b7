import ArgumentParser
import CPlatform
import Glibc
import HoldfastClient
import HoldfastCommand
import HoldfastFormat

struct Why: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what would be refused on a file now, and because of whom.",
    discussion: """
      Names every holder of a seal and how to get it released; for a file that is not sealed, whether it could be \
      as it stands. Tells a seal's "Text file busy" from the kernel's own for a program that is running. Syncs the \
      file first, as sealing would.

      Example:
        holdfast why /mnt/data
      """)

  @Argument(help: "A file on a Holdfast mount.", completion: .file())
  var file: String

  func run() throws {
    var status = stat()
    guard stat(file, &status) == 0 else { throw CommandError(file, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw CommandError(file, "only regular files can be sealed") }
    var explanation = try asCommand { () throws(ClientError) in try Self.ask(file) }
    explanation.runners = Processes.running(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    for line in explanation.lines { print(line) }
  }

  private static func ask(_ path: String) throws(ClientError) -> Explanation {
    let file = try OpenFile(path)
    fsync(file.descriptor)
    let json = try file.holders()
    guard let requests = try? SealReport.decode(json) else {
      throw ClientError(.holders, path: path, errno: EPROTO)
    }
    var status = stat()
    fstat(file.descriptor, &status)
    var explanation = Explanation(
      path: path, size: UInt64(status.st_size), requests: requests, map: try? file.map())
    var mount = statvfs()
    explanation.isReadOnlyMount = fstatvfs(file.descriptor, &mount) == 0 && mount.f_flag & 1 != 0
    let flags = InodeFlags(rawValue: holdfast_inode_flags(file.descriptor))
    explanation.isImmutable = flags.contains(.immutable)
    explanation.isAppendOnly = flags.contains(.appendOnly)
    return explanation
  }
}
