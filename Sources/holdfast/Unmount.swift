import ArgumentParser
import CPlatform
import FoundationEssentials
import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand

struct Unmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Unmount a volume and wait until everything is on disk.",
    discussion: """
      umount(8) works as well, but returns while the daemon may still be writing; this returns when it is gone.

      Example:
        holdfast unmount /mnt
      """)

  @Argument(help: "The mount point.", completion: .directory)
  var mountPoint: String

  func run() throws {
    let directory = try resolvedMountPoint()
    guard let mount = try MountTable.current().holdfast(at: directory) else {
      throw CommandError(mountPoint, "no Holdfast volume is mounted there")
    }
    let daemon = daemon(of: directory)
    defer { if let daemon { close(daemon.descriptor) } }
    try detach(directory)
    guard let daemon else {
      complain("\(mountPoint): unmounted, but its daemon was not found: whether all is on disk is not known")
      throw ExitCode.failure
    }
    waitForEnd(of: daemon.descriptor)
    try checkClean(mount, uuid: daemon.uuid)
  }

  /// With a dead daemon the directory itself answers nothing; its parent does.
  private func resolvedMountPoint() throws(CommandError) -> String {
    if let resolved = try? Path.resolved(mountPoint) { return resolved }
    let resolved = try Path.resolvedParent(mountPoint)
    guard try MountTable.current().holdfast(at: resolved) != nil else { return try Path.resolved(mountPoint) }
    return resolved
  }

  /// A pidfd of the daemon, taken while it answers, so that no other process can be meant.
  private func daemon(of directory: String) -> (descriptor: Int32, uuid: String)? {
    struct Information: Decodable {
      var pid: Int32
      var uuid: String
    }
    guard let text = try? OpenFile(directory).mountInfo(),
      let information = try? JSONDecoder().decode(Information.self, from: Data(text))
    else { return nil }
    let descriptor = holdfast_pidfd_open(information.pid)
    return descriptor >= 0 ? (descriptor, information.uuid) : nil
  }

  private func detach(_ directory: String) throws(CommandError) {
    if holdfast_umount(directory, 0) == 0 { return }
    if errno == EPERM {
      let pid = try Subprocess.start(["fusermount3", "-u", "--", directory])
      let status = Subprocess.wait(for: pid)
      guard status == 0 else { throw CommandError(mountPoint, "fusermount3 could not unmount it") }
      return
    }
    guard errno == EBUSY else { throw CommandError(mountPoint, errno: errno) }
    throw CommandError(mountPoint, "busy: " + Self.users(of: directory))
  }

  private static func users(of directory: String) -> String {
    var status = stat()
    guard stat(directory, &status) == 0 else { return "something still uses it" }
    if let file = SwapTable.file(below: directory) { return "the machine swaps to \(file.printable): swapoff it first" }
    let users = Processes.using(device: UInt64(status.st_dev), limit: 5)
    if users.isEmpty { return "open files, a working directory or another mount below keep it in use" }
    return "in use by " + users.map { "process \($0.pid) (\($0.command))" }.joined(separator: ", ")
  }

  /// poll(2) on a pidfd: readable when the process has ended.
  private func waitForEnd(of daemon: Int32) {
    var descriptor = pollfd(fd: daemon, events: Int16(POLLIN), revents: 0)
    while poll(&descriptor, 1, 1000) <= 0 {
      if isatty(STDERR_FILENO) == 1 { complain("\(mountPoint): waiting for the daemon to write everything") }
    }
  }

  /// The daemon cannot tell us how its last writes went; the superblock does, where the image is still the one there was.
  private func checkClean(_ mount: MountEntry, uuid: String) throws(CommandError) {
    if mount.superOptions.contains("ro") || mount.options.contains("ro") { return }
    let image: UnlockedImage
    do throws(FSError) {
      image = try UnlockedImage(mount.source)
    } catch .device(_, _, ENOENT) {
      throw CommandError(
        mount.source, "unmounted, but the image has been deleted or moved: whether all is on it is not known")
    } catch {
      // Somebody else's image, which this user may not read.
      return
    }
    let head: VolumeHead
    do throws(FSError) {
      head = try VolumeHead(reading: image)
    } catch {
      throw CommandError(mount.source, "unmounted, but not cleanly: \(error)")
    }
    guard head.superblock.id.description == uuid else {
      throw CommandError(
        mount.source, "unmounted, but this is not the volume that was mounted: whether all is on its image is not known"
      )
    }
    guard head.superblock.state.contains(.clean) else {
      throw CommandError(mount.source, "unmounted, but not cleanly (see the daemon's log): run holdfast fsck")
    }
  }
}
