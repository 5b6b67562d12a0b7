/// Names of requests: 1 to 64 of `A-Za-z0-9_-`. The empty name is the default request, `holdfast.seal`.

public enum SealName {
  public static let maximumBytes = 64

  /// Whether `bytes` may follow `holdfast.seal.`: not empty.
  public static func isValid(_ bytes: some Collection<UInt8>) -> Bool {
    (1...maximumBytes).contains(bytes.count) && bytes.allSatisfy(isValid)
  }

  /// Whether `name` may name a request, the default one included.
  public static func isValidOrDefault(_ name: String) -> Bool { name.isEmpty || isValid(name.utf8) }

  private static func isValid(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}
