/// Writes JSON text as bytes: enough for holders, statistics and what `--json` prints, without Foundation.
///
/// Commas come by themselves. Whatever bytes a string is made of, the output is valid UTF-8: what is not
/// becomes U+FFFD. The caller balances `begin…` and `end…`; `finish()` checks that.

public struct JSONWriter {
  public private(set) var bytes: [UInt8] = []
  /// Containers that are open.
  private var depth = 0
  /// True when the next value or key must be parted from one before it.
  private var needsComma = false

  public init() {}

  public mutating func beginObject() { open(UInt8(ascii: "{")) }
  public mutating func endObject() { close(UInt8(ascii: "}")) }
  public mutating func beginArray() { open(UInt8(ascii: "[")) }
  public mutating func endArray() { close(UInt8(ascii: "]")) }

  /// The name of the next value of an object.
  public mutating func key(_ name: String) {
    separate()
    append(quoting: name)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  public mutating func value(_ text: String) {
    separate()
    append(quoting: text)
  }

  /// A string of arbitrary bytes, such as a file's name.
  public mutating func value(rawText: some Collection<UInt8>) { value(String(decoding: rawText, as: UTF8.self)) }

  public mutating func value(_ number: some BinaryInteger) {
    separate()
    bytes.append(contentsOf: String(number).utf8)
  }

  /// Finite.
  public mutating func value(_ number: Double) {
    precondition(number.isFinite, "JSON has no \(number)")
    separate()
    bytes.append(contentsOf: "\(number)".utf8)
  }

  public mutating func value(_ flag: Bool) {
    separate()
    bytes.append(contentsOf: (flag ? "true" : "false").utf8)
  }

  public mutating func null() {
    separate()
    bytes.append(contentsOf: "null".utf8)
  }

  public mutating func member(_ name: String, _ text: String) {
    key(name)
    value(text)
  }

  /// A number, or null where there is none.
  public mutating func member(_ name: String, _ number: (some BinaryInteger)?) {
    key(name)
    if let number { value(number) } else { null() }
  }

  public mutating func member(_ name: String, _ flag: Bool) {
    key(name)
    value(flag)
  }

  /// The whole text.
  public consuming func finish() -> [UInt8] {
    precondition(depth == 0, "unbalanced JSON")
    return bytes
  }

  private mutating func open(_ bracket: UInt8) {
    separate()
    bytes.append(bracket)
    depth += 1
    needsComma = false
  }

  private mutating func close(_ bracket: UInt8) {
    bytes.append(bracket)
    depth -= 1
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
  }

  private mutating func append(quoting text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0x0a: bytes.append(contentsOf: "\\n".utf8)
      case 0x0d: bytes.append(contentsOf: "\\r".utf8)
      case 0x09: bytes.append(contentsOf: "\\t".utf8)
      case 0..<0x20, 0x7f:
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(Self.hexDigit(byte >> 4))
        bytes.append(Self.hexDigit(byte & 15))
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }
}
