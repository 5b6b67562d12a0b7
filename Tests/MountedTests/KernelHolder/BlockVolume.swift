/// A volume on a loop device, mounted with `blkdev`, and what is swapped to on it.
///
/// Not in memory, unlike other volumes: a swap file whose blocks are pages that may be swapped out waits for itself.
/// Whatever a test does, `remove` leaves no swap, no mount, no loop device and no file behind. For a daemon that was killed it
/// has a way of its own, should the swap guard fail: the daemon's connection, duplicated when it was started.

import CMountedSupport
import Glibc
import Testing

final class BlockVolume {
  let folder: String
  var image: String { folder + "/image" }
  var mountPoint: String { folder + "/mnt" }
  var root: Path { Path(mountPoint) }
  let device: String
  private(set) var daemon: pid_t = 0
  private var connection: Int32 = -1
  private var swapFiles: [Path] = []

  init(mebibytes: Int = 96) throws {
    var template = Array("\(Self.parent)/holdfast-swap-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno(errno) }
    let folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    self.folder = folder
    let file = try Path(folder + "/image").open(O_CREAT | O_RDWR, 0o600)
    try file.truncate(mebibytes << 20)
    file.close()
    let attached = try run(["losetup", "--find", "--show", folder + "/image"])
    guard attached.status == 0 else {
      _ = try? run(["rm", "-rf", folder])
      throw Trouble("losetup: \(attached.errorLine)")
    }
    device = String(attached.output.prefix { $0 != "\n" })
    try Path(mountPoint).makeDirectory()
    let made = try holdfast("mkfs", device)
    guard made.status == 0 else { throw Trouble("mkfs: \(made.errorLine)") }
  }

  deinit { remove() }

  private static var parent: String { getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp" }

  func mount(_ options: String = "blkdev") throws {
    let result = try holdfast("mount", device, mountPoint, "--log", folder + "/log", "-o", options)
    guard result.status == 0 else { throw Trouble("mount: \(result.errorLine)\n\(log)") }
    daemon = try information().pid
    let descriptors = "/proc/\(daemon)/fd"
    let number = try Path(descriptors).names().first { (try? Path("\(descriptors)/\($0)").symlinkTarget()) == fuse }
    connection = try check(hmt_descriptor_of(daemon, try #require(number.flatMap { Int32($0) })))
  }

  private var fuse: [UInt8] { Array("/dev/fuse".utf8) }

  /// Whatever keeps it alive but the daemon and its guard: to be given up before either's end is waited for.
  func dropConnection() {
    if connection >= 0 { close(connection) }
    connection = -1
  }

  func unmount() throws {
    dropConnection()
    let result = try unmountAsHolder(mountPoint)
    guard result.status == 0 else { throw Trouble("unmount: \(result.errorLine)\n\(log)") }
    daemon = 0
  }

  /// kill -9 of the daemon; its mount stays.
  func killDaemon() throws {
    let dying = hmt_pidfd_open(daemon)
    defer { close(dying) }
    guard daemon > 0, kill(daemon, SIGKILL) == 0 else { throw Trouble("no daemon to kill") }
    var wait = pollfd(fd: dying, events: Int16(POLLIN), revents: 0)
    guard poll(&wait, 1, 20_000) > 0 else { throw Trouble("the daemon outlives SIGKILL") }
  }

  /// Whether a child of the daemon is its swap guard.
  var hasGuard: Bool {
    let processes = (try? Path("/proc").names()) ?? []
    return processes.contains { name in
      guard Int32(name) != nil, let status = try? Path("/proc/\(name)/status").contentsOfStream(),
        let command = try? Path("/proc/\(name)/cmdline").contentsOfStream()
      else { return false }
      return status.contains("PPid:\t\(daemon)\n") && command.contains("swap-guard")
    }
  }

  func swapOn(_ path: Path) throws(Errno) {
    try check(hmt_swapon(path.bytes))
    swapFiles.append(path)
  }

  func swapOff(_ path: Path) throws(Errno) {
    try check(hmt_swapoff(path.bytes))
    swapFiles.removeAll { $0.text == path.text }
  }

  func information() throws -> Volume.Information {
    let result = try holdfast("info", mountPoint, "--json")
    guard result.status == 0 else { throw Trouble("info: \(result.errorLine)") }
    return try decoded(Array(result.output.utf8))
  }

  var log: String { (try? Path(folder + "/log").contents()).map { String(decoding: $0, as: UTF8.self) } ?? "" }

  /// Unmounts and expects a clean volume.
  func finish() throws {
    try unmount()
    let result = try holdfast("fsck", device, "-n")
    #expect(result.status == 0, "\(result.output)\(result.errors)")
  }

  func remove() {
    let leftovers = swapFiles.filter { (try? swapOff($0)) == nil }
    var rescuer: Child?
    if !leftovers.isEmpty, connection >= 0, daemon > 0, kill(daemon, 0) != 0 {
      // The guard did not do it: another one, which finds the end of its pipe at once.
      rescuer = try? Child(
        ["sh", "-c", "exec \(TestEnvironment.holdfast) swap-guard 3<&10 </dev/null"], inherited: [connection])
      for path in leftovers where (try? swapOff(path)) == nil { Issue.record("the machine still swaps to \(path)") }
    }
    dropConnection()
    if hmt_umount(mountPoint, 0) != 0 { _ = hmt_umount(mountPoint, 1) }
    _ = rescuer?.wait(seconds: 5)
    if daemon > 0, !eventually(within: 10, { kill(daemon, 0) != 0 }) { kill(daemon, SIGKILL) }
    // Looked at first: the device is another test's by now when this comes a second time.
    _ = eventually(within: 5) { !isAttached || (try? run(["losetup", "-d", device]))?.status == 0 }
    _ = try? run(["rm", "-rf", "--one-file-system", folder])
    daemon = 0
  }

  private var isAttached: Bool { (try? run(["losetup", "-j", image]))?.output.isEmpty == false }
}

/// Whether swap can be tried here.
enum SwapEnvironment {
  static let skipReason = "swap needs root, swapoff(2) and a free loop device"

  static var runs: Bool { obstacle == nil || TestEnvironment.requiresMount }

  static var obstacle: String? {
    if let obstacle = TestEnvironment.obstacle { return obstacle }
    // Of no file: without the right, or without swap in the kernel, the answer is another.
    if hmt_swapoff("/nonexistent/swap") == 0 || errno != ENOENT { return "swapoff: \(Errno(errno))" }
    guard let free = try? run(["losetup", "--find"]), free.status == 0 else { return "no loop device" }
    return nil
  }
}

extension Trait where Self == ConditionTrait {
  static var needsSwap: Self { .enabled(if: SwapEnvironment.runs, "\(SwapEnvironment.skipReason)") }
}

/// A mounted volume for a test of the kernel's requests; fails, with the reason, where it must not be skipped and cannot be.
func mountedBlockVolume(mebibytes: Int = 96, options: String = "blkdev") throws -> BlockVolume {
  if let obstacle = SwapEnvironment.obstacle { throw Trouble("\(SwapEnvironment.skipReason): \(obstacle)") }
  let volume = try BlockVolume(mebibytes: mebibytes)
  do { try volume.mount(options) } catch {
    volume.remove()
    throw error
  }
  return volume
}

extension File {
  /// FIBMAP: where a block of 4096 bytes is, in such blocks of the device; 0: nowhere.
  func deviceBlock(_ block: Int) throws(Errno) -> Int {
    var number = Int32(block)
    try control(hmt_fibmap, &number)
    return Int(number)
  }
}
