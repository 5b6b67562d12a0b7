/// The kernel's claim of a block device (O_EXCL): whoever mounts a filesystem from it, builds another device of it or swaps
/// to it has it. A mount has it as long as it lives, its daemon or no: then the kernel may still be storing into blocks it
/// was told of (docs/decisions/0012).

import CPlatform
import Glibc
import HoldfastBase

public enum DeviceClaim: Sendable {
  /// Whether it is claimed makes no difference: nothing is written, or the claim is the caller's own.
  case any
  /// Not to be used while it is claimed.
  case unused
  /// Likewise; and its block size is made ours: the kernel would when it mounts the device, and drop its cache under us.
  case toBeMounted

  /// - Parameter fd: open at `path`: a block device, or a file that loop devices may show.
  /// - Throws: `.deviceClaimed`.
  func check(_ fd: Int32, path: String) throws(FSError) {
    if case .any = self { return }
    var status = stat()
    guard fstat(fd, &status) == 0 else { throw .device(operation: .open, byteOffset: 0, errno: errno) }
    if status.st_mode & S_IFMT == S_IFBLK {
      try Self.withClaim(of: path) { (claimed) throws(FSError) in
        guard case .toBeMounted = self, holdfast_set_block_size(claimed, Int32(Block.size)) != 0 else { return }
        throw .device(operation: .open, byteOffset: 0, errno: errno)
      }
    } else if status.st_mode & S_IFMT == S_IFREG {
      for device in LoopDevice.devices(showing: status) { try Self.withClaim(of: device) { _ throws(FSError) in } }
    }
  }

  /// Of a loop device: others may show the same file.
  static func checkSiblings(ofLoopDevice fd: Int32, showing below: Int32) throws(FSError) {
    var device = stat()
    var file = stat()
    guard fstat(fd, &device) == 0, fstat(below, &file) == 0 else {
      throw .device(operation: .open, byteOffset: 0, errno: errno)
    }
    for path in LoopDevice.devices(showing: file) {
      var other = stat()
      guard stat(path, &other) == 0, other.st_rdev != device.st_rdev else { continue }
      try withClaim(of: path) { _ throws(FSError) in }
    }
  }

  /// Claims the device for as long as `body` runs.
  private static func withClaim(of path: String, _ body: (Int32) throws(FSError) -> Void) throws(FSError) {
    let claimed = holdfast_open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK, 0)
    guard claimed >= 0 else {
      if errno == EBUSY { throw .deviceClaimed }
      throw .device(operation: .open, byteOffset: 0, errno: errno)
    }
    defer { close(claimed) }
    try body(claimed)
  }
}
