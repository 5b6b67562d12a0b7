/// The superblocks of an image, changed from outside: offsets as docs/FORMAT.md has them, the checksum computed here.

import Glibc

struct Superblocks {
  private static let blockBytes = 4096
  /// Where the copies lie, in blocks.
  private static let copies = [0, 256]
  private static let magic: [UInt8] = [0x48, 0x46, 0x53, 0x54]
  private let image: Path

  init(_ image: String) { self.image = Path(image) }

  /// Sets incompatible feature bits in every copy.
  func setIncompatible(_ features: UInt64) throws {
    let file = try image.open(O_RDWR)
    defer { file.close() }
    var changed = 0
    for index in Self.copies {
      var block = try file.read(Self.blockBytes, at: index * Self.blockBytes)
      guard block.count == Self.blockBytes, Array(block[4..<8]) == Self.magic, block[8] == 1, block[9] == 0 else {
        continue
      }
      for byte in 0..<8 { block[72 + byte] = UInt8(truncatingIfNeeded: features >> UInt64(8 * byte)) }
      let checksum = Self.checksum(block[4...])
      for byte in 0..<4 { block[byte] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * byte)) }
      try file.write(block, at: index * Self.blockBytes)
      changed += 1
    }
    guard changed == 2 else { throw Trouble("\(changed) superblocks found in \(image)") }
  }

  /// CRC-32C, bit by bit.
  private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var crc: UInt32 = ~0
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
    }
    return ~crc
  }
}
