/// Text from others as a shell reads it back.

import HoldfastBase

extension String {
  /// One word of a shell's command line; what is not printable as bash, zsh and ksh write it.
  public var shellQuoted: String {
    let isPlain =
      !isEmpty
      && utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"):
          true
        default: "_-/.,+:@%".utf8.contains($0)
        }
      }
    if isPlain { return self }
    let escaped = printable
    if escaped == self {
      return "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
    let digits = Array("0123456789abcdef".utf8)
    var bytes: [UInt8] = []
    for byte in utf8 {
      switch byte {
      case 0x20...0x7e where byte != UInt8(ascii: "'") && byte != UInt8(ascii: "\\"): bytes.append(byte)
      default: bytes += Array("\\x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return "$'" + String(decoding: bytes, as: UTF8.self) + "'"
  }
}
