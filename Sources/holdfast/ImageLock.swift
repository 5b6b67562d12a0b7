/// Opening an image that a daemon may be just about to let go: umount(8) returns before the daemon has written
/// everything, so whoever comes next waits for its lock, a bounded time, and says so.

import Glibc
import HoldfastBase
import HoldfastCommand
import HoldfastDevice

enum ImageLock {
  private static let noticeAfterMilliseconds = 1000
  private static let limitMilliseconds = 30_000
  private static let stepMilliseconds = 100

  /// - Throws: at once when the image is mounted here, after half a minute when somebody else keeps it locked.
  static func open(
    _ path: String, mode: ImageFile.Mode, direct: Bool = false, notice: (String) -> Void
  ) throws(CommandError) -> ImageFile {
    let resolved = try Path.resolved(path)
    var waited = 0
    while true {
      do throws(FSError) {
        return try ImageFile(path: resolved, mode: mode, direct: direct, waitMilliseconds: stepMilliseconds)
      } catch {
        guard error == .imageBusy else { throw CommandError(path, Info.text(error)) }
      }
      if let mount = try MountTable.current().holdfast(ofImage: resolved).last {
        throw CommandError(path, "already mounted on \(mount.mountPoint)")
      }
      if waited == noticeAfterMilliseconds { notice("\(path): waiting for \(user(of: resolved)) to finish") }
      guard waited < limitMilliseconds else {
        throw CommandError(path, "still in use by \(user(of: resolved)) after \(limitMilliseconds / 1000) seconds")
      }
      waited += stepMilliseconds
    }
  }

  /// Who has the lock, by /proc/locks, where that can be seen.
  private static func user(of path: String) -> String {
    var status = stat()
    guard stat(path, &status) == 0, let table = try? TextFile.read("/proc/locks") else {
      return "another Holdfast process"
    }
    for line in table.split(separator: "\n") {
      // 1: FLOCK ADVISORY WRITE 123 fe:00:456 0 EOF
      let fields = line.split(separator: " ")
      guard fields.count >= 6, fields[1] == "FLOCK", fields[5].hasSuffix(":\(status.st_ino)"),
        let pid = Int32(fields[4])
      else { continue }
      return "process \(pid) (\(Processes.command(of: pid)))"
    }
    return "another Holdfast process"
  }
}
