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
}
