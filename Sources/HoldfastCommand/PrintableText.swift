/// Text from others (names of commands, paths) as it may be printed: whoever chose it must not steer a terminal or
/// fake a line of ours.

extension String {
  /// Control characters, line and direction marks as `\xNN` or `\u{N…}`; a backslash as two.
  public var printable: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control where scalar.value < 0x100:
        let digits = String(scalar.value, radix: 16)
        result += "\\x" + (digits.count < 2 ? "0" : "") + digits
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate:
        result += "\\u{" + String(scalar.value, radix: 16) + "}"
      default:
        if scalar == "\\" { result += "\\\\" } else { result.unicodeScalars.append(scalar) }
      }
    }
    return result
  }

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
