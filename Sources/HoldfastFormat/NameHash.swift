/// Keys of names. A directory entry's key is also its readdir offset, so it never moves while the entry lives.
///
///     dirent offset: hash (53 bits, never 0) | collision index (7 bits)
///     xattr offset:  hash (44 bits) | collision index (8 bits) | piece (8 bits)
///
/// Names with equal hashes take the lowest free collision index; a look-up reads all of them.

import CXXHash
import HoldfastBase

public enum NameHash {
  public static let direntCollisionBits: UInt64 = 7
  public static let xattrCollisionBits: UInt64 = 8
  public static let xattrPieceBits: UInt64 = 8

  /// XXH3-64 of the name, seeded by the volume.
  @inlinable public static func raw(_ name: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    XXH3_64bits_withSeed(name.baseAddress, name.count, seed)
  }

  /// First dirent offset (collision index 0) of the name: 128...2^60-128.
  @inlinable public static func dirent(_ name: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    max(raw(name, seed: seed) >> 11, 1) << direntCollisionBits
  }

  /// First xattr offset (collision index 0, piece 0) of the name.
  @inlinable public static func xattr(_ name: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    (raw(name, seed: seed) >> 20) << (xattrCollisionBits + xattrPieceBits)
  }
}
