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
    _ path: String, mode: ImageFile.Mode, direct: Bool = false, claim: DeviceClaim? = nil, notice: (String) -> Void
  ) throws(CommandError) -> ImageFile {
    let resolved = try Path.resolved(path)
    var waited = 0
    while true {
      var isClaimed = false
      do throws(FSError) {
        return try ImageFile(
          path: resolved, mode: mode, direct: direct, waitMilliseconds: stepMilliseconds, claim: claim)
      } catch {
        switch error {
        case .imageBusy: break
        case .deviceClaimed:
          // Another filesystem's, or part of something, will not come free by waiting.
          guard isVolume(resolved) else { throw CommandError(path, error.description) }
          isClaimed = true
        default: throw CommandError(path, Info.text(error))
        }
      }
      if let mount = try Self.mount(of: resolved) {
        throw CommandError(path, "already mounted on \(mount.mountPoint)" + (isClaimed ? withoutDaemon : ""))
      }
      let user = isClaimed ? "the kernel" : user(of: resolved)
      if waited == noticeAfterMilliseconds { notice("\(path): waiting for \(user) to finish") }
      guard waited < limitMilliseconds else {
        throw CommandError(
          path,
          "still in use by \(user) after \(limitMilliseconds / 1000) seconds"
            + (isClaimed ? ": a mount of it, detached or of a loop device, lives; perhaps it is swapped to" : ""))
      }
      if isClaimed { usleep(UInt32(stepMilliseconds) * 1000) }
      waited += stepMilliseconds
    }
  }

  /// Its lock is free: nobody serves that mount.
  private static let withoutDaemon = ", and its daemon is gone: swapoff what is swapped to there, then unmount it"

  /// By the image's own name, or as a loop device that shows it.
  private static func mount(of path: String) throws(CommandError) -> MountEntry? {
    let table = try MountTable.current()
    for name in [path] + LoopDevice.devices(showing: path) {
      if let mount = table.holdfast(ofImage: name).last { return mount }
    }
    return nil
  }

  private static func isVolume(_ path: String) -> Bool {
    guard let image = try? UnlockedImage(path) else { return false }
    return (try? VolumeHead(reading: image)) != nil
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
