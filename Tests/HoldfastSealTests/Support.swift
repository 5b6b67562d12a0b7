/// Seeded randomness, short spellings and a strict JSON reader for the tests of the seal layer.

import Glibc
import HoldfastBase

@testable import HoldfastSeal

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
  let seed: UInt64
  private var state: UInt64

  /// HOLDFAST_SEED replays a failure.
  init() {
    let given = getenv("HOLDFAST_SEED").flatMap { UInt64(String(cString: $0)) }
    self.init(seed: given ?? UInt64.random(in: 0...UInt64.max))
  }

  init(seed: UInt64) {
    self.seed = seed
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}

let alice = Credentials(uid: 1000, gid: 1000, pid: 4242)
let bob = Credentials(uid: 1001, gid: 1001, pid: 4343)
let root = Credentials(uid: 0, gid: 0, pid: 1)

func byAlice(handle: UInt64? = nil) -> Actor { Actor(credentials: alice, handle: handle) }

func request(
  _ name: String = "", lifetime: SealLifetime = .name, taker: Credentials = alice, kind: SealKind = .hard,
  scope: SealScope = .wholeFile, ttl: UInt32? = nil, pinnedBytes: UInt64 = 0
) -> SealRequest {
  SealRequest(
    kind: kind, scope: scope, lifetime: lifetime, name: name, taker: taker, ttlSeconds: ttl, command: "test",
    pinnedBytes: pinnedBytes)
}

extension SealTable {
  @discardableResult
  func take(_ request: SealRequest, on inode: InodeNumber) throws(FSError) -> SealGrant {
    try insert(request, inode: inode, createOnly: false, generation: 1)
  }

  /// Asks and drops the permit.
  func ask(_ change: MapChange, inode: InodeNumber, by actor: Actor) throws(FSError) {
    _ = try authorize(change, inode: inode, by: actor)
  }

  func checkInvariants() {
    withState { state in
      state.index.checkInvariants()
      state.recalls.checkInvariants { state.index[$0].fencedAt != nil }
      state.fenced.checkInvariants()
      state.kernel.checkInvariants()
    }
  }
}

/// The error `body` throws, nil for none.
func thrown(_ body: () throws(FSError) -> Void) -> FSError? {
  do throws(FSError) {
    try body()
    return nil
  } catch {
    return error
  }
}

/// A strict JSON reader: nil for anything RFC 8259 does not allow.
enum JSON: Equatable {
  case null, bool(Bool), number(String), string(String), array([JSON]), object([String: JSON])

  init?(_ bytes: [UInt8]) {
    guard String(validating: bytes, as: UTF8.self) != nil else { return nil }
    var reader = Reader(bytes: bytes[...])
    guard let value = reader.value(), reader.bytes.isEmpty else { return nil }
    self = value
  }

  subscript(key: String) -> JSON? { if case .object(let members) = self { members[key] } else { nil } }

  private struct Reader {
    var bytes: ArraySlice<UInt8>

    mutating func take(_ text: String) -> Bool {
      guard bytes.starts(with: text.utf8) else { return false }
      bytes = bytes.dropFirst(text.utf8.count)
      return true
    }

    mutating func value() -> JSON? {
      if take("null") { return .null }
      if take("true") { return .bool(true) }
      if take("false") { return .bool(false) }
      if take("[") { return array() }
      if take("{") { return object() }
      if take("\"") { return string().map { .string($0) } }
      return number()
    }

    mutating func number() -> JSON? {
      var text = take("-") ? "-" : ""
      let digits = bytes.prefix { (0x30...0x39).contains($0) }
      guard let first = digits.first, first != 0x30 || digits.count == 1 else { return nil }
      text += String(decoding: digits, as: UTF8.self)
      bytes = bytes.dropFirst(digits.count)
      return .number(text)
    }

    mutating func array() -> JSON? {
      var items: [JSON] = []
      if take("]") { return .array(items) }
      while true {
        guard let item = value() else { return nil }
        items.append(item)
        if take("]") { return .array(items) }
        guard take(",") else { return nil }
      }
    }

    mutating func object() -> JSON? {
      var members: [String: JSON] = [:]
      if take("}") { return .object(members) }
      while true {
        guard take("\""), let key = string(), take(":"), let item = value(),
          members.updateValue(item, forKey: key) == nil
        else { return nil }
        if take("}") { return .object(members) }
        guard take(",") else { return nil }
      }
    }

    /// The rest of a string whose opening quote is taken.
    mutating func string() -> String? {
      var text: [UInt8] = []
      while let byte = bytes.popFirst() {
        switch byte {
        case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
        case 0..<0x20: return nil
        case UInt8(ascii: "\\"):
          guard let escape = bytes.popFirst() else { return nil }
          switch escape {
          case UInt8(ascii: "n"): text.append(0x0a)
          case UInt8(ascii: "r"): text.append(0x0d)
          case UInt8(ascii: "t"): text.append(0x09)
          case UInt8(ascii: "\""), UInt8(ascii: "\\"): text.append(escape)
          case UInt8(ascii: "u"):
            guard let code = UInt8(String(decoding: bytes.prefix(4), as: UTF8.self), radix: 16), code < 0x80 else {
              return nil
            }
            bytes = bytes.dropFirst(4)
            text.append(code)
          default: return nil
          }
        default: text.append(byte)
        }
      }
      return nil
    }
  }
}
