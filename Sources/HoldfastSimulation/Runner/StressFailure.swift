/// One thing that went wrong, and how it is told.

public struct StressFailure: Error, Equatable, Sendable {
  /// Shrinking keeps a failure of the same kind.
  public enum Kind: String, Sendable {
    case outcome, contents, metadata, sealedMap, seal, recovery, crashMetadata, crashContents, check, environment
    /// An honest error about metadata that was damaged on purpose.
    case damage
  }
  public var kind: Kind
  public var message: String
  /// Filled in by the runner.
  public var index = 0
  public var operation: Operation?

  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }
}

extension StressFailure: CustomStringConvertible {
  public var description: String {
    "operation \(index)\(operation.map { " (\($0))" } ?? ""): \(kind.rawValue): \(message)"
  }
}

enum ByteReport {
  /// Where two byte ranges differ, with the bytes around in hex and whose they are. `offset` is of `found`'s first byte in the file.
  static func difference(
    of node: NodeID, expected: UnsafeRawBufferPointer, found: UnsafeRawBufferPointer, offset: Int
  ) -> String? {
    let common = min(expected.count, found.count)
    guard let at = (0..<common).first(where: { expected[$0] != found[$0] }) else {
      return expected.count == found.count
        ? nil : "inode \(node): \(found.count) bytes at offset \(offset) where \(expected.count) were expected"
    }
    let last = (at..<common).last { expected[$0] != found[$0] } ?? at
    return "inode \(node) differs from offset \(offset + at) to \(offset + last + 1)\n"
      + "  expected \(hex(expected, around: at))\(owner(expected, at, offset))\n"
      + "  found    \(hex(found, around: at))\(owner(found, at, offset))"
  }

  static func hex(_ bytes: UnsafeRawBufferPointer, around at: Int) -> String {
    let start = at & ~7
    return bytes[start..<min(start + 16, bytes.count)].map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0" + text : text
    }.joined(separator: " ")
  }

  /// Which write the word around `at` comes from, where it can be told.
  static func owner(_ bytes: UnsafeRawBufferPointer, _ at: Int, _ offset: Int) -> String {
    // The first whole word, at an 8-aligned file offset, from here on.
    let start = at + (8 - (offset + at) % 8) % 8
    guard start + 8 <= bytes.count else { return "" }
    let word = bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
    if word == 0 { return "  (zeros)" }
    let (tag, source) = Pattern.decode(word)
    // Random bytes decode to nonsense: what no run reaches is not shown.
    guard tag.number < 1 << 27, source < 1 << 28 else { return "" }
    return "  (write \(tag.number) of job \(tag.job), its offset \(source))"
  }
}
