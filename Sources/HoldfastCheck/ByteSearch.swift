import Glibc

extension UnsafeRawBufferPointer {
  /// Whether any of the bytes is `byte`.
  func holds(_ byte: UInt8) -> Bool {
    guard let base = baseAddress else { return false }
    return memchr(base, Int32(byte), count) != nil
  }

  /// Whether the bytes are those at `other`.
  func matches(_ other: UnsafeRawPointer) -> Bool {
    guard let base = baseAddress else { return true }
    return memcmp(base, other, count) == 0
  }
}
