/// Keys of the tree: 128 bits that order everything on the volume.
///
///     high: space (8 bits) | object (56 bits)
///     low:  within space `file`: record type (4 bits) | offset (60 bits); other spaces: as listed
///
/// All records of one inode lie together, its inode record first.

import HoldfastBase

public struct Key: Equatable, Hashable, Sendable {
  public var high: UInt64
  public var low: UInt64

  @inlinable public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  @inlinable public init(space: Space, object: UInt64, low: UInt64) {
    high = UInt64(space.rawValue) << 56 | object & Key.maximumObject
    self.low = low
  }

  public static let maximumObject: UInt64 = 0x00ff_ffff_ffff_ffff
  public static let maximumOffset: UInt64 = 0x0fff_ffff_ffff_ffff
  public static let minimum = Key(high: 0, low: 0)
  public static let maximum = Key(high: .max, low: .max)

  public enum Space: UInt8, Sendable {
    /// object = inode number, low = type and offset.
    case file = 0
    /// object = inode number, low = 0; value `OrphanRecord`.
    case orphan = 1
    /// object = first block, low = 0; value: length in blocks, u64.
    case free = 2
    /// object = length in blocks, low = first block; no value. The by-length index of `free`.
    case freeByLength = 3
    /// object = first block, low = 0; value `QuarantineRecord`.
    case quarantine = 4
    /// object = first block, low = 0; value: length in blocks, u64. The metadata chunks.
    case chunk = 5
    /// object = inode number, low = hash of (uid, name); value: opaque to the format.
    case persistentSeal = 6
  }

  public enum RecordType: UInt8, Sendable {
    /// offset 0; value `InodeRecord`.
    case inode = 1
    /// offset = `NameHash.xattr` | piece; value `XattrRecord`.
    case xattr = 2
    /// offset = `NameHash.dirent`; value `DirentRecord`.
    case dirent = 3
    /// offset = first file block; value `ExtentRecord`.
    case extent = 4
    /// offset = piece; value: up to `Key.pieceBytes` bytes of the target.
    case symlink = 5
  }

  /// Bytes of a long value (xattr, symlink target) kept in one record.
  public static let pieceBytes = 1024

  @inlinable public var spaceBits: UInt8 { UInt8(truncatingIfNeeded: high >> 56) }
  @inlinable public var space: Space? { Space(rawValue: spaceBits) }
  @inlinable public var object: UInt64 { high & Key.maximumObject }
  @inlinable public var typeBits: UInt8 { UInt8(truncatingIfNeeded: low >> 60) }
  @inlinable public var type: RecordType? { RecordType(rawValue: typeBits) }
  @inlinable public var offset: UInt64 { low & Key.maximumOffset }

  @inlinable public static func file(_ inode: InodeNumber, _ type: RecordType, _ offset: UInt64) -> Key {
    Key(high: inode, low: UInt64(type.rawValue) << 60 | offset & maximumOffset)
  }
  @inlinable public static func inode(_ inode: InodeNumber) -> Key { file(inode, .inode, 0) }
  @inlinable public static func extent(_ inode: InodeNumber, _ block: FileBlock) -> Key { file(inode, .extent, block) }
  @inlinable public static func orphan(_ inode: InodeNumber) -> Key { Key(space: .orphan, object: inode, low: 0) }
  @inlinable public static func free(_ start: BlockNumber) -> Key { Key(space: .free, object: start, low: 0) }
  @inlinable public static func freeByLength(_ range: BlockRange) -> Key {
    Key(space: .freeByLength, object: range.count, low: range.start)
  }
  @inlinable public static func quarantine(_ start: BlockNumber) -> Key {
    Key(space: .quarantine, object: start, low: 0)
  }
  @inlinable public static func chunk(_ start: BlockNumber) -> Key { Key(space: .chunk, object: start, low: 0) }

  /// The next key in order; only the greatest key of all has none.
  @inlinable public var successor: Key {
    low == .max ? Key(high: high + 1, low: 0) : Key(high: high, low: low + 1)
  }
}

extension Key: Comparable {
  @inlinable public static func < (a: Key, b: Key) -> Bool { a.high < b.high || (a.high == b.high && a.low < b.low) }
}
