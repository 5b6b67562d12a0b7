import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastCommand
import HoldfastDevice
import HoldfastFuse
import HoldfastStore
import Logging

struct Mount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mount a volume.",
    discussion: """
      Runs in the background and returns when the mount answers. Not only root may mount: with fusermount3 \
      installed, everybody may on a directory of theirs.

      Options (-o, comma-separated, may be repeated):
        ro, rw                   read-only, writable (default rw)
        allow_other, noallow_other        whether other users may use the mount (default: root's, yes)
        noatime, relatime, strictatime    access times (default relatime)
        nosuid nodev noexec nodiratime sync dirsync lazytime
        direct                   open the image with O_DIRECT
        blkdev                   a block device as fuseblk: swapon works on sealed files (root only)
        cache=SIZE               memory for metadata, 1M or more (default 128M)
        commit=SECONDS           longest time between background commits, 1 to 3600 (default 5)
        seal_policy=owner|writer|admin    who may seal a file (default owner)
        grace=SECONDS            time a breakable seal's holder has to let go, 0 to 86400 (default 30)
        max_seals=N              requests a user other than root may have (default 20000)
        max_seals_all=N          requests all those users may have together (default 1000000)
        max_pinned=SIZE          bytes the requests of such a user may hold (default 1T)
        max_pinned_all=SIZE      bytes those of all such users may hold (default 1048576T)
        errors=remount-ro|shutdown        what to do when metadata is found damaged (default remount-ro)

      In the background it logs to syslog, or to the file of --log; with -f to stderr. If the previous daemon \
      of the image is still finishing, it is waited for, up to 30 seconds.

      Examples:
        holdfast mount disk.img /mnt
        holdfast mount disk.img /mnt -o ro,noatime
        mount -t holdfast disk.img /mnt             with the helpers installed; works in fstab too
      """)

  @Argument(help: "Image file or block device.", completion: .file())
  var image: String

  @Argument(help: "Directory to mount on.", completion: .directory)
  var mountPoint: String

  @Option(name: .customShort("o"), help: ArgumentHelp("Mount options.", valueName: "options"))
  var options: [String] = []

  @Flag(name: .customShort("f"), help: "Stay in the foreground.")
  var foreground = false

  @Option(help: ArgumentHelp("In the background, log to this file.", valueName: "file"), completion: .file())
  var log: String?

  /// Set on the daemon started in the background: where it reports to the command that waits.
  @Option(help: .hidden)
  var reportTo: Int32?

  /// A mount whose daemon has died still answers stat(2) from the kernel's cache; another one would hide it.
  private func refuseDeadMount(_ directory: String) throws(CommandError) {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor >= 0 {
      close(descriptor)
    } else if errno == ENOTCONN {
      throw CommandError(mountPoint, "a mount without its daemon is there: holdfast unmount \(mountPoint) first")
    }
  }

  func run() throws {
    let parsed = try Self.parse(options)
    let source = try Path.resolved(image)
    let directory = try Path.resolved(mountPoint)
    var status = stat()
    guard stat(directory, &status) == 0 else { throw CommandError(mountPoint, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw CommandError(mountPoint, "not a directory") }
    try refuseDeadMount(directory)
    if let reportTo {
      try DaemonReport.serving(on: reportTo, log: log) { (report) throws(CommandError) in
        try serve(source, directory, parsed, Log.background(toFile: log != nil), report)
      }
    } else if foreground {
      try serve(source, directory, parsed, Log.foreground(), .onStderr())
    } else {
      try Daemon.start(image: source, mountPoint: directory, options: options.joined(separator: ","), log: log)
    }
  }

  static func parse(_ options: [String]) throws(CommandError) -> MountOptions {
    do throws(MountOptions.ParseError) {
      return try MountOptions(parsing: options.joined(separator: ","))
    } catch {
      throw CommandError("-o", "\(error) (see: holdfast help mount)", exitStatus: EX_USAGE)
    }
  }

  /// What to ask of the kernel before the image is opened; nil: what its mode wants.
  private func claim(of source: String, _ options: MountOptions) throws(CommandError) -> DeviceClaim? {
    guard options.blockDevice else { return nil }
    var status = stat()
    guard stat(source, &status) == 0 else { throw CommandError(source, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFBLK else {
      throw CommandError(source, "blkdev: not a block device (losetup makes one of a file)")
    }
    guard geteuid() == 0 else { throw CommandError(source, "blkdev: only root mounts block devices this way") }
    return .toBeMounted
  }

  private func serve(
    _ source: String, _ directory: String, _ options: MountOptions, _ logger: Logger, _ report: DaemonReport
  ) throws(CommandError) {
    let device = try ImageLock.open(
      source, mode: options.readOnly ? .readOnly : .readWrite, direct: options.direct,
      claim: try claim(of: source, options), notice: report.note)
    let store: Store
    do throws(FSError) {
      store = try Store(mounting: device, options: options.storeOptions)
    } catch {
      throw CommandError(source, "\(error)")
    }
    do throws(MountError) {
      try MountedVolume.run(
        store: store, image: source, mountPoint: directory, options: options, logger: logger, onReady: report.ready)
    } catch {
      throw CommandError(line: "\(error)")
    }
  }
}
