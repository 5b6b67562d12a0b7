/// A volume in a folder of its own, mounted by the command under test: made, mounted, unmounted, checked, removed.
///
/// Whatever a test does, `remove` leaves no mount, no daemon and no file behind.

import CMountedSupport
import FoundationEssentials
import Glibc
import Synchronization
import Testing

final class Volume: @unchecked Sendable {
  /// The volume of the suite that runs (`.mounted`).
  @TaskLocal static var shared: Volume?

  let folder: String
  var image: String { folder + "/image" }
  var mountPoint: String { folder + "/mnt" }
  var root: Path { Path(mountPoint) }
  var logFile: String { folder + "/log" }
  private let folderLock = Mutex(0)
  /// Of the mount there is.
  private(set) var connection: FuseControl?
  private(set) var daemon: pid_t = 0
  private var isHung = false

  /// An image of so many MiB, not yet mounted.
  init(mebibytes: Int, in parent: String = TestEnvironment.scratchFolder) throws {
    var template = Array("\(parent)/holdfast-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno(errno) }
    folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    chmod(folder, 0o755)
    mkdir(mountPoint, 0o755)
    let made = try holdfast("mkfs", image, "--size", "\(mebibytes)M")
    guard made.status == 0 else { throw Trouble("mkfs: \(made.errorLine)") }
  }

  deinit { remove() }

  /// `blockingSignals`: as a parent that blocks all signals would start it. `faults`: what will fail below it.
  /// `prefix`: a command that runs the command, such as prlimit(1).
  func mount(
    _ options: String = "", blockingSignals: Bool = false, faults: Faults? = nil, prefix: [String] = []
  ) throws {
    var arguments = prefix + [TestEnvironment.holdfast, "mount", image, mountPoint, "--log", logFile]
    if let faults { arguments = ["env"] + faults.environment + arguments }
    if !options.isEmpty { arguments += ["-o", options] }
    let result = try Child(arguments, blockingSignals: blockingSignals).finish()
    guard result.status == 0 else { throw Trouble("mount: \(result.errorLine)\n\(log)") }
    connection = FuseControl(mountPoint: mountPoint)
    daemon = try information().pid
  }

  /// In order; everything is on disk and the daemon gone.
  func unmount() throws {
    let result = try tryUnmount()
    guard result.status == 0 else { throw Trouble("unmount: \(result.errorLine)") }
  }

  /// What `holdfast unmount` says; unless that is "busy" the mount is gone.
  func tryUnmount() throws -> CommandResult {
    let result = try unmountAsHolder(mountPoint)
    if result.status == 0 || !result.errors.contains("busy") {
      connection = nil
      daemon = 0
    }
    return result
  }

  func remount(_ options: String = "") throws {
    try unmount()
    try mount(options)
  }

  /// kill -9 of the daemon, and the dead mount taken away.
  func crash() throws {
    let dying = hmt_pidfd_open(daemon)
    defer { close(dying) }
    guard daemon > 0, kill(daemon, SIGKILL) == 0 else { throw Trouble("no daemon to kill") }
    var wait = pollfd(fd: dying, events: Int16(POLLIN), revents: 0)
    guard poll(&wait, 1, 20_000) > 0 else { throw Trouble("the daemon outlives SIGKILL") }
    try check(hmt_umount(mountPoint, 1))
    connection = nil
    daemon = 0
  }

  /// The daemon has ended by itself: what is left of the mount goes.
  func ended() {
    _ = hmt_umount(mountPoint, 1)
    connection = nil
    daemon = 0
  }

  /// `holdfast fsck` of the unmounted image.
  func fsck() throws -> CommandResult { try holdfast("fsck", image, "-n") }

  /// Unmounts if mounted and expects a clean volume.
  func finish() {
    do {
      if connection != nil { try unmount() }
      let result = try fsck()
      if result.status != 0 { Issue.record("fsck exits \(result.status): \(result.output)\(result.errors)\n\(log)") }
    } catch {
      Issue.record("finishing the volume: \(error)\n\(log)")
    }
  }

  /// Takes everything away, by force where it must be.
  func remove() {
    if let connection {
      if isHung { kill(daemon, SIGKILL) }
      if isHung || hmt_umount(mountPoint, 0) != 0 {
        connection.abort()
        _ = hmt_umount(mountPoint, 1)
      }
      if daemon > 0, !eventually(within: 10, { kill(daemon, 0) != 0 }) { kill(daemon, SIGKILL) }
      self.connection = nil
      daemon = 0
    }
    _ = hmt_umount(mountPoint, 1)
    for path in [image, logFile] { unlink(path) }
    rmdir(mountPoint)
    _ = try? run(["rm", "-rf", "--one-file-system", folder])
  }

  /// A hang is over when this returns: every call on the mount fails.
  func abort() {
    isHung = true
    connection?.abort()
    _ = hmt_umount(mountPoint, 1)
  }

  /// A new directory of this volume for one test.
  func freshFolder(mode: mode_t = 0o755) throws -> Path {
    let number = folderLock.withLock { number in
      number += 1
      return number
    }
    let path = root / "test-\(number)"
    try path.makeDirectory()
    try path.changeMode(mode)
    return path
  }

  struct Information: Decodable {
    var pid: Int32
    var image: String
    var mountpoint: String
    var readOnly: Bool
    var state: String
    var failure: String
    var errorsSeen: Bool
    var seals: Int
    var usage: Usage
    var quarantine: [Quarantine]

    struct Quarantine: Decodable, Equatable {
      var inode: UInt64
      var blocks: Int
      var leased: Bool
      var pids: [Int32]
    }

    struct Usage: Decodable {
      var totalBlocks: Int
      var freeBlocks: Int
      var quarantinedBlocks: Int
      var inodes: Int
    }
  }

  /// `holdfast info` of the image.
  struct ImageInformation: Decodable {
    var sizeBytes: UInt64
    var journalBytes: UInt64
    var clean: Bool
    var errorsSeen: Bool
  }

  func imageInformation() throws -> ImageInformation {
    let result = try holdfast("info", image, "--json")
    guard result.status == 0 else { throw Trouble("info: \(result.errorLine)") }
    return try decoded(Array(result.output.utf8))
  }

  func information() throws -> Information {
    let result = try holdfast("info", mountPoint, "--json")
    guard result.status == 0 else { throw Trouble("info: \(result.errorLine)") }
    return try decoded(Array(result.output.utf8))
  }

  /// `holdfast.stats`, of which tests read this.
  struct Statistics: Decodable {
    var waitingOperations: Int
  }

  func statistics() throws -> Statistics { try decoded(try root.attribute("holdfast.stats")) }

  /// Threads of the daemon.
  func daemonThreads() throws -> Int { try Path("/proc/\(daemon)/task").names().count - 2 }

  /// Everything so far is on disk.
  func sync() throws {
    let result = try holdfast("sync", mountPoint)
    guard result.status == 0 else { throw Trouble("sync: \(result.errorLine)") }
  }

  /// What the daemon said.
  var log: String { (try? Path(logFile).contents()).map { String(decoding: $0, as: UTF8.self) } ?? "" }
}

/// `holdfast unmount` by a process that had files open there: children that other tests start hold our descriptors, closed
/// or not, for a moment until they exec.
func unmountAsHolder(_ mountPoint: String) throws -> CommandResult {
  var result = try holdfast("unmount", mountPoint)
  for _ in 0..<20 where result.status != 0 && result.errors.contains("busy") {
    usleep(50_000)
    result = try holdfast("unmount", mountPoint)
  }
  return result
}

/// Something the fixture needs did not work.
struct Trouble: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// The kernel's control folder of one FUSE connection.
struct FuseControl: Sendable {
  private let number: UInt32
  private static let folder = "/sys/fs/fuse/connections"

  /// While it still answers.
  init?(mountPoint: String) {
    guard let status = try? Path(mountPoint).status() else { return nil }
    number = hmt_minor(status.st_dev)
  }

  /// Ends the connection: what waits on it fails with ECONNABORTED.
  func abort() {
    let file = "\(Self.folder)/\(number)/abort"
    let isOurs = access(file, W_OK) != 0 && hmt_mount("fusectl", Self.folder, "fusectl") == 0
    defer { if isOurs { _ = hmt_umount(Self.folder, 0) } }
    guard let abort = try? Path(file).open(O_WRONLY) else { return }
    _ = try? abort.write(Array("1".utf8))
    abort.close()
  }
}
