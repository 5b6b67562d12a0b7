/// The bytes every simulated write carries. Each 8-byte word at an 8-aligned file offset names the operation that
/// wrote it and its own offset, scrambled so that no two words share bytes by more than chance; `decode` tells
/// whose bytes turned up in the wrong place.

import Glibc

/// Identity of a write: job 0...63, number of the operation 0 ..< 2^30.
public struct PatternTag: Equatable, Sendable {
  public var job: Int
  public var number: Int
  public init(job: Int, number: Int) {
    self.job = job
    self.number = number
  }
  @inline(__always) var base: UInt64 { UInt64(job & 0x3f) << 58 | UInt64(number & 0x3fff_ffff) << 28 }
}

public enum Pattern {
  @inline(__always) static func word(_ base: UInt64, at offset: UInt64) -> UInt64 {
    SeededRandom.mix((base | (offset >> 3 & 0xfff_ffff)) ^ 0x5ea1_ed00_5ea1_ed00).littleEndian
  }

  /// Fills `buffer` with the bytes operation `tag` writes at file offset `offset`.
  public static func fill(_ buffer: UnsafeMutableRawBufferPointer, tag: PatternTag, offset: UInt64) {
    guard let start = buffer.baseAddress else { return }
    let base = tag.base
    var done = 0
    while done < buffer.count {
      let at = offset + UInt64(done)
      let inWord = Int(at & 7)
      if inWord == 0 && buffer.count - done >= 8 {
        start.storeBytes(of: word(base, at: at), toByteOffset: done, as: UInt64.self)
        done += 8
      } else {
        var value = word(base, at: at)
        let count = min(8 - inWord, buffer.count - done)
        _ = withUnsafeBytes(of: &value) { memcpy(start + done, $0.baseAddress! + inWord, count) }
        done += count
      }
    }
  }

  /// Whose word this is, if it is one: the tag and the file offset it was written for.
  public static func decode(_ word: UInt64) -> (tag: PatternTag, offset: UInt64) {
    let plain = SeededRandom.unmix(UInt64(littleEndian: word)) ^ 0x5ea1_ed00_5ea1_ed00
    return (
      PatternTag(job: Int(plain >> 58), number: Int(plain >> 28 & 0x3fff_ffff)), (plain & 0xfff_ffff) << 3
    )
  }
}

/// A content hash for values the model does not keep: attribute values and symlink targets.
public struct ValueDigest: Equatable, Sendable {
  public var count: Int
  public var hash: UInt64

  public init(_ bytes: UnsafeRawBufferPointer) {
    count = bytes.count
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    self.hash = hash
  }

  public init(_ bytes: [UInt8]) { self = bytes.withUnsafeBytes { ValueDigest($0) } }
}
