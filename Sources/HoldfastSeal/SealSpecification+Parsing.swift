/// The parser of seal specifications, over raw bytes from an unprivileged caller: whatever they are, it returns
/// or throws.
///
///     specification = "1" / word *("," word)
///     word   = "hard" / "breakable" ["=" number] / "pid=" number / "signal=" number / "ttl=" number
///            / "persistent" / "range=" size "+" size / "fill" / "as-is"
///     size   = number ["K" / "M" / "G" / "T"]          number = 1*DIGIT
///
/// Every word at most once; `hard` excludes `breakable`, `fill` excludes `as-is`, `pid` excludes `persistent`; `signal`
/// wants `pid` and `breakable`.

import HoldfastBase

extension SealSpecification {
  /// Longer texts hold nothing but leading zeros or repetition.
  public static let maximumBytes = 256

  /// - Throws: `.invalid(.sealSpecification)`, or `.numberTooLarge` when only a number's size is wrong.
  public init(parsing text: UnsafeRawBufferPointer) throws(FSError) {
    self.init()
    if text.count == 1, text[0] == UInt8(ascii: "1") { return }
    guard text.count <= Self.maximumBytes else { throw .invalid(.sealSpecification) }
    var seen: Seen = []
    // A number too large is reported only when no other word is wrong.
    var tooLarge = false
    var start = 0
    while true {
      var end = start
      while end < text.count, text[end] != UInt8(ascii: ",") { end += 1 }
      if let error = parse(checked: UnsafeRawBufferPointer(rebasing: text[start..<end]), &seen) {
        guard error == .numberTooLarge else { throw error }
        tooLarge = true
      }
      if end == text.count { break }
      start = end + 1
    }
    for contradiction: Seen in [[.hard, .breakable], [.fill, .asIs], [.pid, .persistent]]
    where seen.isSuperset(of: contradiction) { throw .invalid(.sealSpecification) }
    guard signal == nil || allowsSignal else { throw .invalid(.sealSpecification) }
    if tooLarge { throw .numberTooLarge }
  }

  public init(parsing text: String) throws(FSError) {
    let bytes = Array(text.utf8)
    self = try bytes.withUnsafeBufferPointer { (bytes) throws(FSError) in
      try Self(parsing: UnsafeRawBufferPointer(bytes))
    }
  }

  /// The words met so far.
  private struct Seen: OptionSet {
    let rawValue: UInt16
    static let hard = Seen(rawValue: 1)
    static let breakable = Seen(rawValue: 2)
    static let pid = Seen(rawValue: 4)
    static let ttl = Seen(rawValue: 8)
    static let persistent = Seen(rawValue: 16)
    static let range = Seen(rawValue: 32)
    static let fill = Seen(rawValue: 64)
    static let asIs = Seen(rawValue: 128)
    static let signal = Seen(rawValue: 256)
  }

  private mutating func parse(checked word: UnsafeRawBufferPointer, _ seen: inout Seen) -> FSError? {
    do throws(FSError) {
      try parse(word: word, &seen)
      return nil
    } catch {
      return error
    }
  }

  private mutating func parse(word: UnsafeRawBufferPointer, _ seen: inout Seen) throws(FSError) {
    let equals = word.firstIndex(of: UInt8(ascii: "="))
    let key = UnsafeRawBufferPointer(rebasing: word[..<(equals ?? word.count)])
    let value = equals.map { UnsafeRawBufferPointer(rebasing: word[($0 + 1)...]) }
    guard let name = Self.name(of: key, hasValue: value != nil), seen.insert(name).inserted else {
      throw .invalid(.sealSpecification)
    }
    switch (name, value) {
    case (.breakable, nil): kind = .breakable(graceSeconds: nil)
    case (.breakable, let value?):
      let seconds = try Self.number(value)
      guard seconds <= Self.maximumGraceSeconds else { throw .numberTooLarge }
      kind = .breakable(graceSeconds: UInt32(seconds))
    case (.pid, let value?): pid = Int32(try Self.count(value, UInt64(Int32.max)))
    case (.signal, let value?): signal = Int32(try Self.count(value, UInt64(Self.highestSignal)))
    case (.ttl, let value?): ttlSeconds = UInt32(try Self.count(value, UInt64(UInt32.max)))
    case (.persistent, nil): isPersistent = true
    case (.range, let value?): scope = try Self.range(value)
    case (.fill, nil): preparation = .fill
    case (.asIs, nil): preparation = .asIs
    default: break
    }
  }

  /// Which word `key` is, if it may appear with or without a value as it does.
  private static func name(of key: UnsafeRawBufferPointer, hasValue: Bool) -> Seen? {
    func matches(_ word: StaticString) -> Bool {
      key.elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    }
    if matches("breakable") { return .breakable }
    if hasValue {
      return matches("pid")
        ? .pid : matches("signal") ? .signal : matches("ttl") ? .ttl : matches("range") ? .range : nil
    }
    return matches("hard")
      ? .hard : matches("persistent") ? .persistent : matches("fill") ? .fill : matches("as-is") ? .asIs : nil
  }

  /// A number from 1 to `limit`.
  private static func count(_ text: UnsafeRawBufferPointer, _ limit: UInt64) throws(FSError) -> UInt64 {
    let value = try number(text)
    guard value > 0 else { throw .invalid(.sealSpecification) }
    guard value <= limit else { throw .numberTooLarge }
    return value
  }

  private static func number(_ text: UnsafeRawBufferPointer) throws(FSError) -> UInt64 {
    guard !text.isEmpty, text.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
      throw .invalid(.sealSpecification)
    }
    var value: UInt64 = 0
    for digit in text {
      let (product, overflowed) = value.multipliedReportingOverflow(by: 10)
      let (sum, carried) = product.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
      guard !overflowed, !carried else { throw .numberTooLarge }
      value = sum
    }
    return value
  }

  private static func size(_ text: UnsafeRawBufferPointer) throws(FSError) -> UInt64 {
    let shift: UInt64
    switch text.last {
    case UInt8(ascii: "K"): shift = 10
    case UInt8(ascii: "M"): shift = 20
    case UInt8(ascii: "G"): shift = 30
    case UInt8(ascii: "T"): shift = 40
    default: return try number(text)
    }
    let value = try number(UnsafeRawBufferPointer(rebasing: text.dropLast()))
    guard value <= UInt64.max >> shift else { throw .numberTooLarge }
    return value << shift
  }

  private static func range(_ text: UnsafeRawBufferPointer) throws(FSError) -> SealScope {
    guard let plus = text.firstIndex(of: UInt8(ascii: "+")) else { throw .invalid(.sealSpecification) }
    let offsetText = UnsafeRawBufferPointer(rebasing: text[..<plus])
    let countText = UnsafeRawBufferPointer(rebasing: text[(plus + 1)...])
    let offset = try size(offsetText)
    let byteCount = try size(countText)
    guard byteCount > 0 else { throw .invalid(.sealSpecification) }
    guard offset <= Limits.fileBytes, byteCount <= Limits.fileBytes - offset else { throw .numberTooLarge }
    return .range(byteOffset: offset, byteCount: byteCount)
  }
}
