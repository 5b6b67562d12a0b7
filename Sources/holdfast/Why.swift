import ArgumentParser
import CPlatform
import Glibc
import HoldfastClient
import HoldfastCommand
import HoldfastFormat

struct Why: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what would be refused on a file now, or would wait, and because of whom.",
    discussion: """
      Names every holder of a seal or pin and how to get it released, and goes through the kinds of operations; for \
      a file that is not sealed, whether it could be as it stands. Tells a seal's "Text file busy" from the kernel's \
      own for a program that is running. A file that is not sealed is synced first, as sealing would. Changes \
      nothing else, and never waits for a holder.

      Example:
        holdfast why /mnt/data
      """)

  @Argument(help: "A file on a Holdfast mount.", completion: .file())
  var file: String

  func run() throws {
    do {
      for line in try explanation().lines { print(line) }
    } catch {
      // A volume that was shut down does not even open the file.
      let stopped = Explanation.stopped(Self.volume(near: file))
      guard !stopped.isEmpty else { throw error }
      for line in stopped { print(line) }
    }
  }

  private func explanation() throws -> Explanation {
    var status = stat()
    guard stat(file, &status) == 0 else { throw CommandError(file, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw CommandError(file, "only regular files can be sealed") }
    var explanation = try asCommand { () throws(ClientError) in try Self.ask(file) }
    explanation.runners = Processes.running(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    return explanation
  }

  private static func ask(_ path: String) throws(ClientError) -> Explanation {
    let file = try OpenFile(path)
    let json = try file.holders()
    guard let requests = try? SealReport.decode(json) else {
      throw ClientError(.holders, path: path, errno: EPROTO)
    }
    // fsync(2) waits behind an operation that waits for a holder; of a sealed file it would tell nothing new.
    if requests.isEmpty { fsync(file.descriptor) }
    var status = stat()
    fstat(file.descriptor, &status)
    var explanation = Explanation(
      path: path, size: UInt64(status.st_size), requests: requests, map: try? file.map())
    explanation.volume = (try? file.mountInfo()).flatMap { VolumeState(json: $0) }
    explanation.lastRefusal = (try? file.attribute("holdfast.last_refusal"))?.flatMap { RefusalReport(json: $0) }
    var mount = statvfs()
    explanation.isReadOnlyMount = fstatvfs(file.descriptor, &mount) == 0 && mount.f_flag & 1 != 0
    let flags = InodeFlags(rawValue: holdfast_inode_flags(file.descriptor))
    explanation.isImmutable = flags.contains(.immutable)
    explanation.isAppendOnly = flags.contains(.appendOnly)
    return explanation
  }

  /// Asked of the directory the file is in, which is to be had even then.
  private static func volume(near path: String) -> VolumeState? {
    let slash = path.lastIndex(of: "/")
    let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    guard let directory = try? OpenFile(directory), let json = try? directory.mountInfo() else { return nil }
    return VolumeState(json: json)
  }
}
