/// The mount itself: made, found again and taken away. Everything about requests is elsewhere.
///
/// Root mounts with mount(2), which takes all flags and any path as its source. Others, and root without the right
/// to mount, go through libfuse and fusermount3. Owns: nothing; the descriptor it returns is the session's.

import CFuse3
import CPlatform
import Glibc
import HoldfastBase

struct KernelMount {
  var source: String
  var mountPoint: String
  var options: MountOptions

  /// Mounts and returns the connection's descriptor.
  func open() throws(MountError) -> Int32 {
    var status = stat()
    guard stat(mountPoint, &status) == 0 else { throw .mountPoint(path: mountPoint, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .notDirectory(path: mountPoint) }
    if geteuid() == 0, let descriptor = try mountDirectly(rootMode: status.st_mode & S_IFMT) { return descriptor }
    // fusermount3 has it for root only, who was refused.
    if options.blockDevice { throw .refused(path: mountPoint, errno: EPERM) }
    return try mountThroughHelper()
  }

  private var allowsOthers: Bool { options.allowOther ?? (geteuid() == 0) }

  /// nil when this process may not mount.
  private func mountDirectly(rootMode: mode_t) throws(MountError) -> Int32? {
    let descriptor = holdfast_open("/dev/fuse", O_RDWR | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw .noDevice(errno: errno) }
    var data = "fd=\(descriptor),rootmode=\(String(rootMode, radix: 8)),user_id=\(getuid()),group_id=\(getgid())"
    data += ",default_permissions"
    if allowsOthers { data += ",allow_other" }
    // The unit of BMAP; without it the kernel's is 512.
    if options.blockDevice { data += ",blksize=\(Block.size)" }
    let type = options.blockDevice ? "fuseblk.holdfast" : "fuse.holdfast"
    guard mount(source, mountPoint, type, kernelFlags, data) != 0 else { return descriptor }
    let code = errno
    close(descriptor)
    if code == EPERM { return nil }
    throw .refused(path: mountPoint, errno: code)
  }

  private var kernelFlags: UInt {
    var flags: UInt = 0
    if options.readOnly { flags |= holdfast_ms_rdonly }
    if options.kernelFlags.contains(.noSetID) { flags |= holdfast_ms_nosuid }
    if options.kernelFlags.contains(.noDevices) { flags |= holdfast_ms_nodev }
    if options.kernelFlags.contains(.noExecute) { flags |= holdfast_ms_noexec }
    if options.kernelFlags.contains(.synchronous) { flags |= holdfast_ms_synchronous }
    if options.kernelFlags.contains(.directorySynchronous) { flags |= holdfast_ms_dirsync }
    if options.kernelFlags.contains(.noDirectoryAccessTime) { flags |= holdfast_ms_nodiratime }
    if options.kernelFlags.contains(.lazyTime) { flags |= holdfast_ms_lazytime }
    switch options.accessTime {
    case .noatime: flags |= holdfast_ms_noatime
    case .relatime: flags |= holdfast_ms_relatime
    case .strictatime: flags |= holdfast_ms_strictatime
    }
    return flags
  }

  /// fusermount3 knows fewer options; nosuid and nodev are its rule for everybody but root.
  private func mountThroughHelper() throws(MountError) -> Int32 {
    var list = ["default_permissions", "subtype=holdfast", "fsname=" + Self.escaped(source)]
    if allowsOthers { list.append("allow_other") }
    list.append(options.readOnly ? "ro" : "rw")
    if options.kernelFlags.contains(.noExecute) { list.append("noexec") }
    if options.kernelFlags.contains(.synchronous) { list.append("sync") }
    if options.kernelFlags.contains(.directorySynchronous) { list.append("dirsync") }
    if options.accessTime == .noatime { list.append("noatime") }
    LibfuseMessages.start()
    let descriptor = fuse_open_channel(mountPoint, list.joined(separator: ","))
    let message = LibfuseMessages.finish()
    guard descriptor >= 0 else {
      if access("/dev/fuse", R_OK | W_OK) != 0 { throw .noDevice(errno: errno) }
      throw .helper(path: mountPoint, message: message ?? "fusermount3 failed")
    }
    return descriptor
  }

  /// fusermount3 and libfuse take a backslash before a comma or a backslash.
  static func escaped(_ path: String) -> String {
    var result = ""
    for character in path {
      if character == "," || character == "\\" { result.append("\\") }
      result.append(character)
    }
    return result
  }

  /// Detaches the mount if what is mounted there is still `device`; what uses it can go on until it closes.
  static func detach(_ mountPoint: String, device: MountTable.Device?) {
    if let device, MountTable.device(mountedOn: mountPoint) != device { return }
    if holdfast_detach(mountPoint) == 0 || errno != EPERM { return }
    let words = ["fusermount3", "-u", "-z", "-q", "--", mountPoint]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    defer { for argument in arguments { free(argument) } }
    arguments.append(nil)
    var child: pid_t = 0
    if posix_spawnp(&child, "fusermount3", nil, nil, arguments, Glibc.environ) == 0 {
      while waitpid(child, nil, 0) < 0, errno == EINTR {}
    }
  }
}
