import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct SpecificationTests {
  static func parse(_ text: String) -> Result<SealSpecification, FSError> {
    do throws(FSError) { return .success(try SealSpecification(parsing: text)) } catch { return .failure(error) }
  }

  /// Accepted texts and their canonical form.
  @Test(arguments: [
    ("1", "hard"),
    ("hard", "hard"),
    ("breakable", "breakable"),
    ("breakable=7", "breakable=7"),
    ("breakable=0", "breakable=0"),
    ("breakable=86400", "breakable=86400"),
    ("ttl=5", "hard,ttl=5"),
    ("ttl=4294967295", "hard,ttl=4294967295"),
    ("ttl=0005", "hard,ttl=5"),
    ("pid=1", "hard,pid=1"),
    ("signal=10,breakable,pid=1", "breakable,pid=1,signal=10"),
    ("pid=2147483647", "hard,pid=2147483647"),
    ("persistent", "hard,persistent"),
    ("persistent,ttl=60", "hard,ttl=60,persistent"),
    ("range=0+1", "hard,range=0+1"),
    ("range=4K+2M", "hard,range=4096+2097152"),
    ("range=1G+1T", "hard,range=1073741824+1099511627776"),
    ("range=9223372036854775806+1", "hard,range=9223372036854775806+1"),
    ("fill", "hard,fill"),
    ("as-is", "hard,as-is"),
    ("as-is,range=8192+4096,breakable=30,ttl=9,pid=12", "breakable=30,pid=12,ttl=9,range=8192+4096,as-is"),
  ])
  func accepts(_ text: String, canonical: String) throws {
    let specification = try SealSpecification(parsing: text)
    #expect(specification.text == canonical)
    #expect(try SealSpecification(parsing: specification.text) == specification)
  }

  @Test(arguments: [
    "", ",", "1,", ",1", "1,hard", "hard,1", "1\n", "hard\n", "1\0", "hard\0", "\0", " ", " hard", "hard ", "HARD",
    "signal=1", "pid=1,signal=1", "breakable,signal=1", "breakable,pid=1,signal=0", "breakable,pid=1,signal",
    "hard,hard", "hard,breakable", "breakable,breakable=5", "fill,as-is", "fill,fill", "pid=5,persistent",
    "pid", "pid=", "pid=0", "pid=-1", "pid=+1", "pid=1x", "pid=1,pid=1", "pid=0x10", "pid= 1", "pid=1=1",
    "ttl", "ttl=", "ttl=0", "ttl=-5", "ttl=1.5", "ttl=1K", "ttl=5,ttl=5",
    "breakable=", "breakable=x", "hard=1", "fill=1", "as-is=", "persistent=1",
    "range", "range=", "range=+", "range=1", "range=1+", "range=+1", "range=0+0", "range=1+2+3", "range=1-2",
    "range=1k+1", "range=1KK+1", "range=K+1", "range=0+1,range=0+1", "2", "0", "01", "soft", "hard;fill",
    "härd", "ttl=5,,fill", "ttl=99999999999999999999,hard,breakable", "pid=99999999999,bogus",
  ])
  func refuses(_ text: String) { #expect(Self.parse(text) == .failure(.invalid(.sealSpecification))) }

  @Test(arguments: [
    "ttl=4294967296", "ttl=99999999999999999999999999", "pid=2147483648", "breakable=4294967296",
    "range=18446744073709551616+1", "range=0+18446744073709551616", "range=9223372036854775807+1",
    "range=0+9223372036854775808", "range=99999999T+1", "range=0+8388608T", "range=18446744073709551615+1",
    "range=18446744073709551615+18446744073709551615", "hard,ttl=4294967296,fill",
  ])
  func saysTooLarge(_ text: String) { #expect(Self.parse(text) == .failure(.numberTooLarge)) }

  @Test func refusesLongText() {
    #expect(Self.parse("ttl=" + String(repeating: "0", count: 251) + "1") == .success(Self.ttl(1)))
    #expect(Self.parse("ttl=" + String(repeating: "0", count: 252) + "1") == .failure(.invalid(.sealSpecification)))
  }

  private static func ttl(_ seconds: UInt32) -> SealSpecification {
    var specification = SealSpecification()
    specification.ttlSeconds = seconds
    return specification
  }

  @Test func parsesNoBytesAtAll() {
    let empty = UnsafeRawBufferPointer(start: nil, count: 0)
    #expect(throws: FSError.invalid(.sealSpecification)) { try SealSpecification(parsing: empty) }
  }

  /// Whatever the bytes: no trap; what is accepted has a canonical text that means the same.
  @Test func survivesRandomBytes() throws {
    var generator = SeededGenerator()
    let words = [
      "1", "hard", "breakable", "pid", "ttl", "persistent", "range", "fill", "as-is", "=", "+", ",", "K", "T", "0",
      "9223372036854775807", "18446744073709551615", "\0", "\n",
    ].map { Array($0.utf8) }
    for round in 0..<20_000 {
      var bytes: [UInt8] = []
      for _ in 0..<Int.random(in: 0...8, using: &generator) {
        if Int.random(in: 0..<5, using: &generator) == 0 {
          bytes.append(UInt8.random(in: 0...255, using: &generator))
        } else {
          bytes += words.randomElement(using: &generator)!
        }
      }
      guard let parsed = try? bytes.withUnsafeBytes({ try SealSpecification(parsing: $0) }) else { continue }
      let again = try? SealSpecification(parsing: parsed.text)
      #expect(again == parsed, "seed \(generator.seed), round \(round): \(bytes)")
      let request = SealRequest(parsed, name: "n", taker: alice, defaultGraceSeconds: 30)
      #expect(request.isExpired() == false, "seed \(generator.seed), round \(round): \(bytes)")
      #expect(request.scope.blocks?.isEmpty != true, "seed \(generator.seed), round \(round): \(bytes)")
    }
  }

  @Test func becomesARequest() throws {
    let process = SealRequest(
      try SealSpecification(parsing: "breakable,pid=7,ttl=3,as-is"), name: "a", handle: 5, taker: alice,
      defaultGraceSeconds: 30)
    #expect(process.kind == .breakable(graceSeconds: 30))
    #expect(process.lifetime == .process(7))
    #expect(process.holderPid == 7 && process.pid == alice.pid)
    #expect(process.identity == .named(uid: 1000, name: "a"))
    #expect(process.specification.text == "breakable=30,pid=7,ttl=3,as-is")
    let handle = SealRequest(SealSpecification(), name: "", handle: 5, taker: alice, defaultGraceSeconds: 30)
    #expect(handle.identity == .handle(5, name: ""))
    let pin = SealRequest(
      try SealSpecification(parsing: "range=5000+1,persistent"), name: "p", taker: alice, defaultGraceSeconds: 30)
    #expect(pin.scope.blocks == BlockRange(start: 1, count: 1))
    #expect(pin.isPersistent && pin.identity == .named(uid: 1000, name: "p"))
  }

  @Test func names() {
    #expect(SealName.isValid("aZ09_-".utf8))
    #expect(SealName.isValid(String(repeating: "x", count: 64).utf8))
    for name in ["", String(repeating: "x", count: 65), "a.b", "a b", "a\0", "a\n", "é", "a/b", "a=b"] {
      #expect(!SealName.isValid(name.utf8), "\(name)")
    }
    #expect(SealName.isValidOrDefault(""))
  }
}
