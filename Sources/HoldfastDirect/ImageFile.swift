/// The image of a mount, opened by whoever may: one open file description for one layout, because that is what a lease
/// hangs on. The lease ends with the descriptor and every mapping made from it, children's included (docs/ABI.md,
/// Leases).

import CHoldfast
import CPlatform

public struct ImageFile: ~Copyable, Sendable {
  public let descriptor: Int32
  public let isWritable: Bool
  /// Reads and writes go past the image's page cache (O_DIRECT). Mappings never do.
  public let isDirect: Bool

  /// open(2) of the very path that is mounted. The right to do so is the right to every byte of the volume
  /// (docs/SECURITY.md).
  /// - Throws: `.openImage` with open(2)'s errno.
  public init(path: UnsafePointer<CChar>, writable: Bool, direct: Bool = false) throws(DirectError) {
    let flags = (writable ? O_RDWR : O_RDONLY) | (direct ? holdfast_o_direct : 0)
    var descriptor = holdfast_direct_open(path, flags)
    while descriptor == -EINTR { descriptor = holdfast_direct_open(path, flags) }
    guard descriptor >= 0 else { throw DirectError(.openImage, errno: -descriptor) }
    self.init(owning: descriptor, writable: writable, direct: direct)
  }

  /// Takes over a descriptor that is open for reading, and for writing when `writable`. Nobody else may hold a lease
  /// by it.
  public init(owning descriptor: Int32, writable: Bool, direct: Bool = false) {
    self.descriptor = descriptor
    isWritable = writable
    isDirect = direct
  }

  deinit { holdfast_direct_close(descriptor) }

  /// Locks the byte of `inode`: from now on no block the inode has is given to anybody else, whatever happens.
  /// - Throws: `.lease` with fcntl(2)'s errno.
  func lease(inode: UInt64) throws(DirectError) {
    let code = holdfast_direct_lease(descriptor, Int64(HOLDFAST_LEASE_OFFSET + inode))
    guard code == 0 else { throw DirectError(.lease, errno: -code) }
  }

  /// Whether it is the file or device node with these numbers: the one whose locks the daemon sees.
  func verify(device: UInt64, inode: UInt64, rdev: UInt64) throws(DirectError) {
    var identity = holdfast_identity()
    let code = holdfast_identify(descriptor, &identity)
    guard code == 0 else { throw DirectError(.identify, errno: -code) }
    guard identity.device == device, identity.inode == inode, identity.rdev == rdev else {
      throw DirectError(.identify, .otherImage)
    }
  }
}
