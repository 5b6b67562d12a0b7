/// Sizes as users write and read them: bytes, or with K, M, G or T for powers of 1024.

public struct ByteSize: Equatable, Sendable {
  public var bytes: UInt64

  public init(bytes: UInt64) { self.bytes = bytes }

  /// Digits, then at most one of K M G T in either case. Nil for anything else, and for more than 2^63 - 1 bytes.
  public init?(_ text: String) {
    var digits = Substring(text)
    var shift: UInt64 = 0
    switch text.utf8.last {
    case UInt8(ascii: "K"), UInt8(ascii: "k"): shift = 10
    case UInt8(ascii: "M"), UInt8(ascii: "m"): shift = 20
    case UInt8(ascii: "G"), UInt8(ascii: "g"): shift = 30
    case UInt8(ascii: "T"), UInt8(ascii: "t"): shift = 40
    default: break
    }
    if shift > 0 { digits.removeLast() }
    guard !digits.isEmpty, digits.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
      let number = UInt64(digits), number <= UInt64(Int64.max) >> shift
    else { return nil }
    bytes = number << shift
  }
}

extension ByteSize: CustomStringConvertible {
  /// At most three digits and a unit where the value allows: `4096`, `16 MiB`, `9.77 GiB`.
  public var description: String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var unit = 0
    while unit + 1 < units.count && bytes >> (10 * UInt64(unit + 1)) > 0 { unit += 1 }
    let one = UInt64(1) << (10 * UInt64(unit))
    let whole = bytes / one
    // Hundredths of the unit, rounded down: a size is never shown as more than it is.
    let hundredths = Int(Double(bytes % one) / Double(one) * 100)
    if hundredths == 0 || whole >= 100 { return "\(whole) \(units[unit])" }
    if whole >= 10 { return "\(whole).\(hundredths / 10) \(units[unit])" }
    return "\(whole).\(hundredths < 10 ? "0" : "")\(hundredths) \(units[unit])"
  }
}

/// `OFF+LEN`: a range of a file's bytes.
public struct ByteRange: Equatable, Sendable {
  public var offset: UInt64
  public var length: UInt64

  public init(offset: UInt64, length: UInt64) {
    self.offset = offset
    self.length = length
  }

  /// Two sizes joined by `+`, the second not zero, the end within 2^63 - 1.
  public init?(_ text: String) {
    let parts = text.split(separator: "+", omittingEmptySubsequences: false)
    guard parts.count == 2, let offset = ByteSize(String(parts[0])), let length = ByteSize(String(parts[1])),
      length.bytes > 0, offset.bytes <= UInt64(Int64.max) - length.bytes
    else { return nil }
    self.init(offset: offset.bytes, length: length.bytes)
  }
}
