/// The record of a persistent seal, read by its description in docs/FORMAT.md: a mount refuses a volume with one
/// it cannot read, so the check must see it first.

import HoldfastBase
import HoldfastFormat

struct SealRecordCheck {
  private static let headerBytes = 60
  private static let nameBytes = 64

  /// The low half of the record's key; nil when the bytes are no such record.
  static func keyHash(of bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64? {
    guard bytes.count >= headerBytes, let record = bytes.baseAddress else { return nil }
    let nameEnd = headerBytes + Int(record.u8(56))
    guard record.u8(0) == 1, record.u8(1) <= 1, record.u8(2) <= 1, record.u8(3) <= 2, record.u16(58) == 0,
      nameEnd + Int(record.u8(57)) == bytes.count, nameEnd - headerBytes <= nameBytes
    else { return nil }
    if record.u8(1) == 0, record.u32(4) != 0 { return nil }
    guard hasPossibleScope(record) else { return nil }
    let name = bytes[headerBytes..<nameEnd]
    guard name.allSatisfy(isNameByte), String(validating: bytes[nameEnd...], as: UTF8.self) != nil else { return nil }
    var hashed: [UInt8] = []
    hashed.append(contentsOf: bytes[24..<28])
    hashed.append(contentsOf: name)
    return hashed.withUnsafeBytes { NameHash.raw($0, seed: seed) }
  }

  private static func hasPossibleScope(_ record: UnsafeRawPointer) -> Bool {
    let offset = record.u64(8)
    let count = record.u64(16)
    if record.u8(2) == 0 { return offset == 0 && count == 0 }
    return count > 0 && offset <= Limits.fileBytes && count <= Limits.fileBytes - offset
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x5f: true
    default: false
    }
  }
}
