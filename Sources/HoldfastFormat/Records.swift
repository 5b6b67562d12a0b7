/// Values of the tree's records, field by field. A decoder returns nil for bytes that cannot be such a record.

import HoldfastBase

public enum RootDirectory {
  public static let inode: InodeNumber = 1
  /// Numbers below are kept for the filesystem's own use.
  public static let firstOrdinaryInode: InodeNumber = 16
}

/// An inode, 128 bytes.
///
///     offset size field
///          0    4 mode (type and permissions, as stat)
///          4    4 uid,  8 gid,  12 nlink
///         16    8 size in bytes; of a directory: number of entries
///         24    8 blocks allocated to the file
///         32    8 atime, 40 mtime, 48 ctime, 56 btime: seconds
///         64    4 atime, 68 mtime, 72 ctime, 76 btime: nanoseconds
///         80    8 device number (character and block devices)
///         88    4 flags (`InodeFlags`)
///         92    4 generation
///         96    8 parent directory (directories only)
///        104    8 map generation
///        112    4 extent-size hint in blocks, 0 none
///        116   12 zero
public struct InodeRecord: Equatable, Sendable {
  public static let size = 128

  public var mode: UInt32
  public var uid: UInt32
  public var gid: UInt32
  public var links: UInt32
  public var size: UInt64
  public var blocks: UInt64
  public var accessed: Timestamp
  public var modified: Timestamp
  public var changed: Timestamp
  public var born: Timestamp
  public var device: UInt64
  public var flags: InodeFlags
  public var generation: UInt32
  public var parent: InodeNumber
  public var mapGeneration: UInt64
  public var extentSizeHint: UInt32

  public init(mode: UInt32, uid: UInt32, gid: UInt32, links: UInt32, generation: UInt32, now: Timestamp) {
    self.mode = mode
    self.uid = uid
    self.gid = gid
    self.links = links
    size = 0
    blocks = 0
    accessed = now
    modified = now
    changed = now
    born = now
    device = 0
    flags = []
    self.generation = generation
    parent = 0
    mapGeneration = 0
    extentSizeHint = 0
  }

  @inlinable public init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.size, let p = bytes.baseAddress else { return nil }
    mode = p.u32(0)
    uid = p.u32(4)
    gid = p.u32(8)
    links = p.u32(12)
    size = p.u64(16)
    blocks = p.u64(24)
    accessed = Timestamp(seconds: p.i64(32), nanoseconds: p.u32(64))
    modified = Timestamp(seconds: p.i64(40), nanoseconds: p.u32(68))
    changed = Timestamp(seconds: p.i64(48), nanoseconds: p.u32(72))
    born = Timestamp(seconds: p.i64(56), nanoseconds: p.u32(76))
    device = p.u64(80)
    flags = InodeFlags(rawValue: p.u32(88))
    generation = p.u32(92)
    parent = p.u64(96)
    mapGeneration = p.u64(104)
    extentSizeHint = p.u32(112)
    guard fileType != nil, size <= Limits.fileBytes else { return nil }
  }

  @inlinable public func encode(to p: UnsafeMutableRawPointer) {
    p.put(mode, 0)
    p.put(uid, 4)
    p.put(gid, 8)
    p.put(links, 12)
    p.put(size, 16)
    p.put(blocks, 24)
    p.put(accessed.seconds, 32)
    p.put(modified.seconds, 40)
    p.put(changed.seconds, 48)
    p.put(born.seconds, 56)
    p.put(accessed.nanoseconds, 64)
    p.put(modified.nanoseconds, 68)
    p.put(changed.nanoseconds, 72)
    p.put(born.nanoseconds, 76)
    p.put(device, 80)
    p.put(flags.rawValue, 88)
    p.put(generation, 92)
    p.put(parent, 96)
    p.put(mapGeneration, 104)
    p.put(extentSizeHint, 112)
    p.put(UInt32(0), 116)
    p.put(UInt64(0), 120)
  }

  @inlinable public var fileType: FileType? { FileType(rawValue: UInt8(truncatingIfNeeded: mode >> 12)) }
  @inlinable public var isDirectory: Bool { fileType == .directory }
  @inlinable public var isRegular: Bool { fileType == .regular }
}

/// File types as in `st_mode >> 12` and readdir's DT_ values.
public enum FileType: UInt8, Sendable {
  case fifo = 1
  case characterDevice = 2
  case directory = 4
  case blockDevice = 6
  case regular = 8
  case symlink = 10
  case socket = 12
}

/// Inode flags; the low ones are FS_IOC_GETFLAGS' own bits, so that lsattr and chattr read and write them.
public struct InodeFlags: OptionSet, Equatable, Sendable {
  public let rawValue: UInt32
  @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
  public static let synchronous = InodeFlags(rawValue: 0x8)
  public static let immutable = InodeFlags(rawValue: 0x10)
  public static let appendOnly = InodeFlags(rawValue: 0x20)
  public static let noDump = InodeFlags(rawValue: 0x40)
  public static let noAccessTime = InodeFlags(rawValue: 0x80)
  /// Blocks beyond the end of the file were asked for (fallocate KEEP_SIZE): last close does not trim them.
  public static let keepPreallocation = InodeFlags(rawValue: 0x0100_0000)
  /// What chattr may change.
  public static let userVisible: InodeFlags = [.synchronous, .immutable, .appendOnly, .noDump, .noAccessTime]
}

/// A mapping of file blocks to image blocks, 16 bytes: first image block u64, count u32, flags u32.
/// Count 1...2^32-1; the key's offset is the first file block.
public struct ExtentRecord: Equatable, Sendable {
  public static let size = 16
  public static let maximumBlocks: UInt64 = 0xffff_ffff

  public var physical: BlockNumber
  public var count: UInt32
  public var flags: Flags

  public struct Flags: OptionSet, Equatable, Sendable {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Allocated, but reads as zeros.
    public static let unwritten = Flags(rawValue: 1)
    /// Another file maps the same blocks (no operation makes these yet).
    public static let shared = Flags(rawValue: 2)
    public static let known: Flags = [.unwritten, .shared]
  }

  @inlinable public init(physical: BlockNumber, count: UInt32, flags: Flags) {
    self.physical = physical
    self.count = count
    self.flags = flags
  }

  @inlinable public init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.size, let p = bytes.baseAddress else { return nil }
    physical = p.u64(0)
    count = p.u32(8)
    flags = Flags(rawValue: p.u32(12))
    guard count > 0, flags.isSubset(of: .known) else { return nil }
  }

  @inlinable public func encode(to p: UnsafeMutableRawPointer) {
    p.put(physical, 0)
    p.put(count, 8)
    p.put(flags.rawValue, 12)
  }
}

/// A directory entry: inode u64, type u8, name length u8, name (1...255 bytes, no '/' and no NUL).
public enum DirentRecord {
  public static let headerBytes = 10

  @inlinable public static func encode(
    to p: UnsafeMutableRawPointer, inode: InodeNumber, type: FileType, name: UnsafeRawBufferPointer
  ) -> Int {
    p.put(inode, 0)
    p.put(type.rawValue, 8)
    p.put(UInt8(name.count), 9)
    (p + headerBytes).copyMemory(from: name.baseAddress!, byteCount: name.count)
    return headerBytes + name.count
  }

  @inlinable public static func decode(
    _ bytes: UnsafeRawBufferPointer
  ) -> (inode: InodeNumber, type: FileType, name: UnsafeRawBufferPointer)? {
    guard bytes.count > headerBytes, let p = bytes.baseAddress, let type = FileType(rawValue: p.u8(8)),
      bytes.count == headerBytes + Int(p.u8(9))
    else { return nil }
    return (p.u64(0), type, UnsafeRawBufferPointer(rebasing: bytes[headerBytes...]))
  }
}

/// The first piece of an extended attribute: value length u32, name length u8, pad u8 (0), name, value's first bytes.
/// Later pieces (key's low 8 bits = 1, 2, …) are bare bytes, `Key.pieceBytes` each but the last.
public enum XattrRecord {
  public static let headerBytes = 6

  @inlinable public static func encode(
    to p: UnsafeMutableRawPointer, name: UnsafeRawBufferPointer, valueBytes: Int, firstPiece: UnsafeRawBufferPointer
  ) -> Int {
    p.put(UInt32(valueBytes), 0)
    p.put(UInt8(name.count), 4)
    p.put(UInt8(0), 5)
    (p + headerBytes).copyMemory(from: name.baseAddress!, byteCount: name.count)
    if !firstPiece.isEmpty {
      (p + headerBytes + name.count).copyMemory(from: firstPiece.baseAddress!, byteCount: firstPiece.count)
    }
    return headerBytes + name.count + firstPiece.count
  }

  @inlinable public static func decode(
    _ bytes: UnsafeRawBufferPointer
  ) -> (valueBytes: Int, name: UnsafeRawBufferPointer, firstPiece: UnsafeRawBufferPointer)? {
    guard bytes.count > headerBytes, let p = bytes.baseAddress else { return nil }
    let valueBytes = Int(p.u32(0))
    let nameEnd = headerBytes + Int(p.u8(4))
    guard nameEnd > headerBytes, nameEnd <= bytes.count, valueBytes <= Limits.xattrValueBytes,
      bytes.count - nameEnd == min(valueBytes, Key.pieceBytes)
    else { return nil }
    return (
      valueBytes, UnsafeRawBufferPointer(rebasing: bytes[headerBytes..<nameEnd]),
      UnsafeRawBufferPointer(rebasing: bytes[nameEnd...])
    )
  }
}

/// Work a crash must not forget, 16 bytes: kind u8, 7 zero, then u64.
public struct OrphanRecord: Equatable, Sendable {
  public static let size = 16
  public enum Kind: UInt8, Sendable {
    /// No name is left: reclaim everything when the last user is gone.
    case unlinked = 1
    /// Blocks from `firstBlock` on are being freed; the size already says so.
    case truncating = 2
  }
  public var kind: Kind
  public var firstBlock: FileBlock

  public init(kind: Kind, firstBlock: FileBlock) {
    self.kind = kind
    self.firstBlock = firstBlock
  }

  public init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.size, let p = bytes.baseAddress, let kind = Kind(rawValue: p.u8(0)) else { return nil }
    self.kind = kind
    firstBlock = p.u64(8)
  }

  public func encode(to p: UnsafeMutableRawPointer) {
    p.put(UInt64(kind.rawValue), 0)
    p.put(firstBlock, 8)
  }
}

/// Blocks that left a file and are not yet free, 16 bytes: length in blocks u64, inode they came from u64.
public struct QuarantineRecord: Equatable, Sendable {
  public static let size = 16
  public var count: UInt64
  public var inode: InodeNumber

  public init(count: UInt64, inode: InodeNumber) {
    self.count = count
    self.inode = inode
  }

  public init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.size, let p = bytes.baseAddress else { return nil }
    count = p.u64(0)
    inode = p.u64(8)
    guard count > 0 else { return nil }
  }

  public func encode(to p: UnsafeMutableRawPointer) {
    p.put(count, 0)
    p.put(inode, 8)
  }
}

/// A bare length in blocks (free extents, metadata chunks): u64, 1 or more.
public enum LengthRecord {
  public static let size = 8
  @inlinable public static func decode(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
    guard bytes.count == size, let p = bytes.baseAddress, p.u64(0) > 0 else { return nil }
    return p.u64(0)
  }
}
