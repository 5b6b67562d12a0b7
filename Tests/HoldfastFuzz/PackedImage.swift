/// Images and differences of images, packed for the repository: runs of one byte, and bytes as they are.
///
///     bytes 0 …   varint tokens until `byteCount` bytes are made: n << 1 | 1: the next byte, n times;
///                 n << 1: n bytes as they follow
///
/// The unpacked length and its CRC-32C stand in front: u64, u32, little-endian.

import Glibc
import HoldfastBase

public enum PackedImage {
  public enum Failure: Error { case malformed }

  private static let headerBytes = 12
  /// Shorter runs cost more than they save.
  private static let shortestRun = 6
  /// Larger than any image kept here: a malformed length must not take memory.
  private static let maximumBytes: UInt64 = 1 << 30

  public static func pack(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    var packed = [UInt8](repeating: 0, count: headerBytes)
    packed.withUnsafeMutableBytes {
      $0.baseAddress!.put(UInt64(bytes.count), 0)
      $0.baseAddress!.put(crc32c(bytes), 8)
    }
    var literal = 0
    var at = 0
    while at < bytes.count {
      let run = runLength(bytes, at)
      guard run >= shortestRun else {
        at += run
        continue
      }
      appendLiteral(bytes, literal..<at, to: &packed)
      append(run << 1 | 1, to: &packed)
      packed.append(bytes[at])
      at += run
      literal = at
    }
    appendLiteral(bytes, literal..<at, to: &packed)
    return packed
  }

  private static func runLength(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> Int {
    let byte = bytes[start]
    var end = start + 1
    while end < bytes.count, bytes[end] == byte { end += 1 }
    return end - start
  }

  private static func appendLiteral(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, to packed: inout [UInt8]) {
    guard !range.isEmpty else { return }
    append(range.count << 1, to: &packed)
    packed.append(contentsOf: bytes[range])
  }

  private static func append(_ number: Int, to packed: inout [UInt8]) {
    var rest = number
    while rest > 127 {
      packed.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    packed.append(UInt8(rest))
  }

  /// The bytes `pack` was given. - Throws: `Failure` for anything else than `pack` makes.
  public static func unpack(_ packed: ArraySlice<UInt8>) throws -> [UInt8] {
    let source = Array(packed)
    guard source.count >= headerBytes else { throw Failure.malformed }
    let (count, sum) = source.withUnsafeBytes { ($0.baseAddress!.u64(0), $0.baseAddress!.u32(8)) }
    guard count <= maximumBytes else { throw Failure.malformed }
    var bytes = [UInt8](repeating: 0, count: Int(count))
    var at = headerBytes
    var made = 0
    while made < bytes.count {
      let token = try number(source, &at)
      let length = token >> 1
      guard length > 0, length <= bytes.count - made else { throw Failure.malformed }
      let needed = token & 1 == 1 ? 1 : length
      guard needed <= source.count - at else { throw Failure.malformed }
      if token & 1 == 1 {
        if source[at] != 0 {
          bytes.withUnsafeMutableBytes { _ = memset($0.baseAddress! + made, Int32(source[at]), length) }
        }
      } else {
        bytes.replaceSubrange(made..<made + length, with: source[at..<at + length])
      }
      at += needed
      made += length
    }
    guard at == source.count, bytes.withUnsafeBytes({ crc32c($0) }) == sum else { throw Failure.malformed }
    return bytes
  }

  private static func number(_ source: [UInt8], _ at: inout Int) throws -> Int {
    var value = 0
    for shift in stride(from: 0, through: 49, by: 7) {
      guard at < source.count else { throw Failure.malformed }
      let byte = source[at]
      at += 1
      value |= Int(byte & 0x7f) << shift
      if byte < 0x80 { return value }
    }
    throw Failure.malformed
  }
}
