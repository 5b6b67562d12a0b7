/// The header of every metadata block: 48 bytes that say what the block is, whose, and where it belongs,
/// so that misdirected, stale and foreign blocks are recognised and not trusted.
///
///     offset size field
///          0    4 CRC-32C of bytes 4 up to the structure's end
///          4    4 magic "HFST"
///          8    2 type (1 superblock, 2 tree node, 3 chunk map, 4 journal record)
///         10    2 level (tree node: 0 leaf) else 0
///         12    4 count of entries
///         16   16 filesystem UUID
///         32    8 own address, in blocks
///         40    8 generation: checkpoint number, or the journal record's sequence

import HoldfastBase

public enum BlockType: UInt16, Sendable {
  case superblock = 1
  case node = 2
  case chunkMap = 3
  case journal = 4
}

public struct FilesystemID: Equatable, Sendable {
  public var high: UInt64
  public var low: UInt64
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
  public static func random() -> FilesystemID {
    // RFC 4122 version 4, variant 1.
    FilesystemID(
      high: .random(in: .min ... .max) & 0xffff_ffff_ffff_0fff | 0x4000,
      low: .random(in: .min ... .max) & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000)
  }
}

extension FilesystemID: CustomStringConvertible {
  public var description: String {
    func hex(_ value: UInt64, _ digits: Int) -> String {
      let text = String(value, radix: 16)
      return String(repeating: "0", count: digits - text.count) + text
    }
    return [
      hex(high >> 32, 8), hex(high >> 16 & 0xffff, 4), hex(high & 0xffff, 4), hex(low >> 48, 4),
      hex(low & 0xffff_ffff_ffff, 12),
    ].joined(separator: "-")
  }
}

public enum BlockHeader {
  public static let size = 48
  public static let magic: UInt32 = 0x5453_4648

  /// Writes all header fields but the checksum.
  @inlinable public static func write(
    to block: UnsafeMutableRawPointer, type: BlockType, level: UInt16, count: UInt32, id: FilesystemID,
    address: BlockNumber, generation: UInt64
  ) {
    block.put(magic, 4)
    block.put(type.rawValue, 8)
    block.put(level, 10)
    block.put(count, 12)
    block.put(id.high, 16)
    block.put(id.low, 24)
    block.put(address, 32)
    block.put(generation, 40)
  }

  /// Computes the checksum over `byteCount` bytes of the structure and stores it.
  @inlinable public static func seal(_ block: UnsafeMutableRawPointer, byteCount: Int = Block.size) {
    block.put(crc32c(UnsafeRawBufferPointer(start: block + 4, count: byteCount - 4)), 0)
  }

  /// True when checksum, magic, type, filesystem and address are as they must be.
  @inlinable public static func isValid(
    _ block: UnsafeRawPointer, type: BlockType, id: FilesystemID, address: BlockNumber, byteCount: Int = Block.size
  ) -> Bool {
    block.u32(4) == magic && block.u16(8) == type.rawValue && block.u64(16) == id.high && block.u64(24) == id.low
      && block.u64(32) == address
      && block.u32(0) == crc32c(UnsafeRawBufferPointer(start: block + 4, count: byteCount - 4))
  }

  @inlinable public static func level(_ block: UnsafeRawPointer) -> UInt16 { block.u16(10) }
  @inlinable public static func count(_ block: UnsafeRawPointer) -> Int { Int(block.u32(12)) }
  @inlinable public static func generation(_ block: UnsafeRawPointer) -> UInt64 { block.u64(40) }
}
