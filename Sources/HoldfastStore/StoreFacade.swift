// Signatures only while the engine is being written; every method moves to its own file.
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

public struct FormatOptions: Sendable {
  public var label: String
  public var journalBlocks: UInt64?
  public var id: FilesystemID
  public var hashSeed: UInt64
  public var now: Timestamp
  /// Owner of the root directory.
  public var uid: UInt32
  public var gid: UInt32
}

public struct StoreOptions: Sendable {
  public var readOnly = false
  /// Bytes of tree nodes kept in memory.
  public var cacheBytes = 128 << 20
  /// Seconds between background commits.
  public var commitSeconds = 5
  public enum AccessTime: Sendable { case none, relative, strict }
  public var accessTime = AccessTime.relative
  public enum ErrorAction: Sendable { case remountReadOnly, shutdown }
  public var onError = ErrorAction.remountReadOnly
  /// Background thread for commits, checkpoints and reclaim; simulation turns it off and calls `housekeep()`.
  public var backgroundThread = true
  public init() {}
}

/// A mounted volume. Every method may be called from any thread. Names are raw bytes without NUL.
public final class Store: @unchecked Sendable {
  public static func format(_ device: BlockDevice, options: FormatOptions) throws(FSError) { fatalError() }
  public init(mounting device: BlockDevice, options: StoreOptions) throws(FSError) { fatalError() }
  /// Everything durable, clean superblock, background thread ended. The store is unusable afterwards.
  public func unmount() throws(FSError) { fatalError() }

  public var superblock: Superblock { fatalError() }
  public var usage: VolumeUsage { fatalError() }

  // Namespace: entries of `parent` named `name`.
  public func lookup(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) -> Attributes { fatalError() }
  public func attributes(of inode: InodeNumber) throws(FSError) -> Attributes { fatalError() }
  public func setAttributes(_ changes: AttributeChanges, of inode: InodeNumber, handle: UInt64?, by caller: Credentials) throws(FSError) -> Attributes { fatalError() }
  public func make(_ new: NewInode, _ name: UnsafeRawBufferPointer, in parent: InodeNumber, by caller: Credentials) throws(FSError) -> Attributes { fatalError() }
  /// O_TMPFILE: a regular file without a name; `link` gives it one.
  public func makeUnnamed(_ new: NewInode, in parent: InodeNumber, by caller: Credentials) throws(FSError) -> Attributes { fatalError() }
  public func makeSymlink(to target: UnsafeRawBufferPointer, _ name: UnsafeRawBufferPointer, in parent: InodeNumber, by caller: Credentials) throws(FSError) -> Attributes { fatalError() }
  public func readSymlink(_ inode: InodeNumber) throws(FSError) -> [UInt8] { fatalError() }
  public func link(_ inode: InodeNumber, as name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) -> Attributes { fatalError() }
  public func unlink(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) { fatalError() }
  public func removeDirectory(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) { fatalError() }
  public func rename(_ name: UnsafeRawBufferPointer, in parent: InodeNumber, to newName: UnsafeRawBufferPointer, in newParent: InodeNumber, flags: RenameFlags) throws(FSError) { fatalError() }
  /// Calls `body` for entries behind offset `after` (0 from the start; "." and ".." come first) until it returns false.
  public func readDirectory(_ inode: InodeNumber, after: UInt64, _ body: (DirectoryEntry) -> Bool) throws(FSError) { fatalError() }

  // References: an inode without names lives while any is held (open handles and kernel lookups alike).
  public func retain(_ inode: InodeNumber, count: UInt64 = 1) { fatalError() }
  public func release(_ inode: InodeNumber, count: UInt64 = 1) { fatalError() }
  /// A file handle was opened for writing or closed: last close trims speculative preallocation.
  public func opened(_ inode: InodeNumber, writing: Bool) { fatalError() }
  public func closed(_ inode: InodeNumber, handle: UInt64, writing: Bool) { fatalError() }

  // File contents. `handle` is the caller's handle, for rules about a holder's own operations.
  /// Returns the bytes read: 0 at or behind the end.
  public func read(_ inode: InodeNumber, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) -> Int { fatalError() }
  /// Writes all of `bytes` or nothing. `append`: at the end of the file, `offset` ignored. Clears set-id bits when `dropPrivileges`.
  public func write(_ inode: InodeNumber, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, append: Bool, dropPrivileges: Bool, handle: UInt64?, by caller: Credentials) throws(FSError) -> Int { fatalError() }
  public func allocate(_ inode: InodeNumber, mode: AllocateMode, offset: UInt64, length: UInt64, handle: UInt64?, by caller: Credentials) throws(FSError) { fatalError() }
  public func seekData(_ inode: InodeNumber, from offset: UInt64) throws(FSError) -> UInt64 { fatalError() }
  public func seekHole(_ inode: InodeNumber, from offset: UInt64) throws(FSError) -> UInt64 { fatalError() }
  public func copyRange(from source: InodeNumber, at sourceOffset: UInt64, to destination: InodeNumber, at destinationOffset: UInt64, length: UInt64, handle: UInt64?, by caller: Credentials) throws(FSError) -> UInt64 { fatalError() }
  /// fsync; with `dataOnly` fdatasync. Also fsyncdir.
  public func sync(_ inode: InodeNumber, dataOnly: Bool) throws(FSError) { fatalError() }
  public func syncAll() throws(FSError) { fatalError() }
  /// Up to `limit` extents from byte `offset` on.
  public func extents(of inode: InodeNumber, from offset: UInt64, limit: Int) throws(FSError) -> [Extent] { fatalError() }
  /// `holdfast.generation`.
  public func mapGeneration(of inode: InodeNumber) throws(FSError) -> UInt64 { fatalError() }
  /// FS_IOC_GETFLAGS's bits are in `attributes(of:).record.flags`; this is SETFLAGS (rights are checked here).
  public func setFlags(_ flags: InodeFlags, of inode: InodeNumber, by caller: Credentials) throws(FSError) { fatalError() }

  // Extended attributes, as stored (the virtual `holdfast.*` ones are the FUSE layer's).
  public func xattr(_ name: UnsafeRawBufferPointer, of inode: InodeNumber) throws(FSError) -> [UInt8] { fatalError() }
  /// Sets; a POSIX ACL is checked and changes the mode as Linux does.
  public func setXattr(_ name: UnsafeRawBufferPointer, of inode: InodeNumber, to value: UnsafeRawBufferPointer, mode: XattrMode, by caller: Credentials) throws(FSError) { fatalError() }
  public func removeXattr(_ name: UnsafeRawBufferPointer, of inode: InodeNumber) throws(FSError) { fatalError() }
  /// Names, each NUL-terminated, as listxattr(2) wants them.
  public func listXattrs(of inode: InodeNumber) throws(FSError) -> [UInt8] { fatalError() }

  /// Commit, checkpoint and reclaim what is due; simulation's stand-in for the background thread.
  public func housekeep() throws(FSError) { fatalError() }
}
