import HoldfastBase
import HoldfastFormat

/// What stat(2) tells of an inode, and what makes its file handle.
public struct Attributes: Equatable, Sendable {
  public var inode: InodeNumber
  public var record: InodeRecord

  public init(inode: InodeNumber, record: InodeRecord) {
    self.inode = inode
    self.record = record
  }
}

/// Changes to an inode's attributes; nil leaves a field as it is.
public struct AttributeChanges: Sendable {
  public enum Time: Sendable { case now, at(Timestamp) }

  /// Permission bits (07777); the type cannot change.
  public var mode: UInt32?
  public var uid: UInt32?
  public var gid: UInt32?
  public var size: UInt64?
  public var accessed: Time?
  public var modified: Time?
  public var changed: Time?
  /// Clear set-id bits as an unprivileged write does (the kernel asks for this with a truncation).
  public var dropPrivileges = false
  /// Remove `security.capability` alone, with the change of size, whoever makes it.
  public var dropCapability = false

  public init() {}

  /// As notify_change in the kernel: mode, owner and times of the caller's choosing; only the present time may be set.
  var isRefusedOnAppendOnly: Bool {
    if mode != nil || uid != nil || gid != nil { return true }
    return [accessed, modified].contains { time in
      if case .at? = time { true } else { false }
    }
  }
}

/// What a new inode is to be.
public struct NewInode: Sendable {
  /// File type and permission bits, as mknod(2).
  public var mode: UInt32
  /// umask of the caller; ignored where the parent has a default ACL.
  public var umask: UInt32
  public var device: UInt64
  public init(mode: UInt32, umask: UInt32, device: UInt64 = 0) {
    self.mode = mode
    self.umask = umask
    self.device = device
  }
}

/// One entry as readdir gives it. `name` is valid during the callback only.
public struct DirectoryEntry {
  public var inode: InodeNumber
  public var type: FileType
  public var name: UnsafeRawBufferPointer
  /// Pass as `after` to go on behind this entry.
  public var offset: UInt64
}

public struct RenameFlags: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT of renameat2(2).
  public static let noReplace = RenameFlags(rawValue: 1)
  public static let exchange = RenameFlags(rawValue: 2)
  public static let whiteout = RenameFlags(rawValue: 4)
}

public struct AllocateMode: OptionSet, Sendable {
  public let rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }
  /// FALLOC_FL_* of fallocate(2).
  public static let keepSize = AllocateMode(rawValue: 0x01)
  public static let punchHole = AllocateMode(rawValue: 0x02)
  public static let collapseRange = AllocateMode(rawValue: 0x08)
  public static let zeroRange = AllocateMode(rawValue: 0x10)
  public static let insertRange = AllocateMode(rawValue: 0x20)
  public static let unshareRange = AllocateMode(rawValue: 0x40)
}

/// XATTR_CREATE and XATTR_REPLACE of setxattr(2).
public enum XattrMode: Sendable { case any, create, replace }

/// A piece of a file's map. Bytes.
public struct Extent: Equatable, Sendable {
  public var logical: UInt64
  public var physical: UInt64
  public var length: UInt64
  public var flags: ExtentRecord.Flags
}

/// Totals for statfs and `holdfast info`.
public struct VolumeUsage: Sendable {
  public var totalBlocks: UInt64
  /// Blocks a new file could take: free, and freed but not yet durable.
  public var freeBlocks: UInt64
  /// Blocks that are in no file and that a holder could still reach: used, until it is gone.
  public var quarantinedBlocks: UInt64
  public var inodes: UInt64
}
