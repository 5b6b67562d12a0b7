import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct HoldersJSONTests {
  @Test func holders() throws {
    let table = SealTable()
    #expect(table.holdersJSON(of: 3) == Array("[]".utf8))
    var first = request("db", lifetime: .process(31), ttl: 100)
    first.command = "a\"b\\c\n\u{1}é"
    try table.insert(first, inode: 3, createOnly: false, generation: 12)
    try table.take(
      request(
        lifetime: .handle(9), taker: bob, kind: .breakable(graceSeconds: 5),
        scope: .range(byteOffset: 5000, byteCount: 1)), on: 3)
    try table.take(request(), on: 2)
    guard case .array(let holders)? = JSON(table.holdersJSON(of: 3)), holders.count == 2 else {
      Issue.record("not an array of two")
      return
    }
    #expect(holders[0]["kind"] == .string("hard") && holders[0]["range"] == .null)
    #expect(holders[0]["name"] == .string("db") && holders[0]["pid"] == .number("31"))
    #expect(holders[0]["uid"] == .number("1000") && holders[0]["generation"] == .number("12"))
    #expect(holders[0]["command"] == .string(first.command) && holders[0]["inode"] == .number("3"))
    #expect(holders[0]["lifetime"] == .string("process") && holders[0]["handle_bound"] == .bool(false))
    guard case .number(let left)? = holders[0]["ttl_ms"], case .number(let age)? = holders[0]["age_ms"] else {
      Issue.record("no times")
      return
    }
    #expect((1...100_000).contains(Int(left)!) && (0..<100_000).contains(Int(age)!))
    #expect(holders[1]["kind"] == .string("breakable") && holders[1]["ttl_ms"] == .null)
    #expect(holders[1]["range"] == .object(["offset": .number("4096"), "length": .number("4096")]))
    #expect(holders[1]["handle_bound"] == .bool(true) && holders[1]["name"] == .string(""))
    guard case .array(let all)? = JSON(table.allHoldersJSON()) else {
      Issue.record("not an array")
      return
    }
    #expect(all.map { $0["inode"] } == [.number("2"), .number("3"), .number("3")])
  }

  @Test func writerEscapesAnyBytes() {
    var generator = SeededGenerator()
    for round in 0..<2_000 {
      let count = Int.random(in: 0...12, using: &generator)
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
      var json = JSONWriter()
      json.beginObject()
      json.key("raw")
      json.value(rawText: bytes)
      json.endObject()
      let expected = JSON.string(String(decoding: bytes, as: UTF8.self))
      #expect(JSON(json.finish())?["raw"] == expected, "seed \(generator.seed), round \(round): \(bytes)")
    }
  }

  @Test func writerNests() {
    var json = JSONWriter()
    json.beginArray()
    json.beginObject()
    json.endObject()
    json.beginArray()
    json.value(1)
    json.value(-2)
    json.value(UInt64.max)
    json.endArray()
    json.value(true)
    json.null()
    json.beginObject()
    json.member("a", false)
    json.member("b", Int?.none)
    json.member("c", "\u{7f}/")
    json.endObject()
    json.endArray()
    #expect(
      String(decoding: json.finish(), as: UTF8.self)
        == #"[{},[1,-2,18446744073709551615],true,null,{"a":false,"b":null,"c":"\u007f/"}]"#)
  }
}
