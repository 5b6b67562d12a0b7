/// Limits of the filesystem, each with its reason.

public enum Limits {
  /// NAME_MAX of Linux. The kernel's FUSE passes longer names to the daemon, so this is ours to enforce.
  public static let nameBytes = 255
  /// PATH_MAX less the terminating NUL.
  public static let symlinkBytes = 4095
  /// XATTR_SIZE_MAX of Linux.
  public static let xattrValueBytes = 65536
  /// XATTR_LIST_MAX of Linux: more names could be stored but never listed.
  public static let xattrListBytes = 65536
  /// Largest file size: off_t's maximum.
  public static let fileBytes: UInt64 = 0x7fff_ffff_ffff_ffff
  /// Hard links to one inode, as XFS allows (2^31 - 1).
  public static let links: UInt32 = 0x7fff_ffff
}
