/// Which image a mount has: the member "image" of INFO's JSON object, found without a JSON parser's allocations.

import CHoldfast
import CPlatform

public struct ImageName: ~Copyable {
  /// PATH_MAX of Linux, its terminating NUL included.
  public static let capacity = 4096
  /// INFO's text lies behind the structure's head (docs/ABI.md).
  private static let textOffset = 32
  private static let structureBytes = textOffset + Int(HOLDFAST_JSON_BYTES)

  /// NUL-terminated.
  private let bytes: UnsafeMutablePointer<CChar>

  /// Asks the mount of an open file or directory. The daemon says the path as it sees it: absolute, of its own mount
  /// namespace.
  /// - Throws: `.openImage`: the ioctl's errno, or `.noImageName`.
  public init(mountOf file: Int32) throws(DirectError) {
    let report = UnsafeMutableRawPointer.allocate(byteCount: Self.structureBytes, alignment: 8)
    defer { report.deallocate() }
    report.initializeMemory(as: UInt8.self, repeating: 0, count: Self.structureBytes)
    report.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), as: UInt32.self)
    var code = holdfast_direct_ioctl(file, holdfast_ioc_info, report)
    while code == -EINTR { code = holdfast_direct_ioctl(file, holdfast_ioc_info, report) }
    guard code >= 0 else { throw DirectError(.openImage, errno: -code) }
    let length = min(Int(report.load(fromByteOffset: 4, as: UInt32.self)), Int(HOLDFAST_JSON_BYTES))
    try self.init(information: UnsafeRawBufferPointer(start: report + Self.textOffset, count: length))
  }

  /// The string member "image" of a JSON object's text, which may end early.
  public init(information text: UnsafeRawBufferPointer) throws(DirectError) {
    let bytes = UnsafeMutablePointer<CChar>.allocate(capacity: Self.capacity)
    var reader = MemberReader(text: text)
    guard reader.copyString(member: "image", to: bytes, capacity: Self.capacity) else {
      bytes.deallocate()
      throw DirectError(.openImage, .noImageName)
    }
    // Last: whole, it would be released by the error, too.
    self.bytes = bytes
  }

  deinit { bytes.deallocate() }

  /// The path, as long as `body` runs.
  public borrowing func withPath<Result: ~Copyable, Failure>(
    _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(bytes)
  }
}

/// Walks over a JSON text, only as far as is needed to find a string member of the outermost object.
private struct MemberReader {
  let text: UnsafeRawBufferPointer
  var position = 0
  var depth = 0

  init(text: UnsafeRawBufferPointer) { self.text = text }

  private var next: UInt8? { position < text.count ? text[position] : nil }

  /// Writes the value, NUL-terminated; false when there is none or it does not fit.
  mutating func copyString(member: StaticString, to output: UnsafeMutablePointer<CChar>, capacity: Int) -> Bool {
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: "\""):
        let start = position
        guard skipString() else { return false }
        let isNamed = depth == 1 && equals(member, start, position - 1)
        if isNamed, skip(UInt8(ascii: ":")), skip(UInt8(ascii: "\"")) {
          return copy(to: output, capacity: capacity)
        }
      default: break
      }
    }
    return false
  }

  private func equals(_ name: StaticString, _ start: Int, _ end: Int) -> Bool {
    guard end - start == name.utf8CodeUnitCount else { return false }
    for index in 0..<name.utf8CodeUnitCount where text[start + index] != name.utf8Start[index] { return false }
    return true
  }

  private mutating func skip(_ byte: UInt8) -> Bool {
    while next == UInt8(ascii: " ") { position += 1 }
    guard next == byte else { return false }
    position += 1
    return true
  }

  /// To behind the closing quote.
  private mutating func skipString() -> Bool {
    while let byte = next {
      position += 1
      if byte == UInt8(ascii: "\"") { return true }
      if byte == UInt8(ascii: "\\") { position += 1 }
    }
    return false
  }

  /// The string that begins here, its escapes undone: those of JSONWriter, which escapes no byte above 0x7f.
  private mutating func copy(to output: UnsafeMutablePointer<CChar>, capacity: Int) -> Bool {
    var count = 0
    while var byte = next {
      position += 1
      if byte == UInt8(ascii: "\"") {
        output[count] = 0
        return count > 0
      }
      if byte == UInt8(ascii: "\\") {
        guard let unescaped = unescape() else { return false }
        byte = unescaped
      }
      guard byte != 0, count < capacity - 1 else { return false }
      output[count] = CChar(bitPattern: byte)
      count += 1
    }
    return false
  }

  private mutating func unescape() -> UInt8? {
    guard let kind = next else { return nil }
    position += 1
    switch kind {
    case UInt8(ascii: "n"): return 0x0a
    case UInt8(ascii: "r"): return 0x0d
    case UInt8(ascii: "t"): return 0x09
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return kind
    case UInt8(ascii: "u"):
      var value: UInt32 = 0
      for _ in 0..<4 {
        guard let byte = next, let digit = Self.hexValue(byte) else { return nil }
        position += 1
        value = value << 4 | UInt32(digit)
      }
      return value < 0x80 ? UInt8(value) : nil
    default: return nil
    }
  }

  private static func hexValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
