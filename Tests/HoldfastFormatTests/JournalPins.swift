import HoldfastBase
import HoldfastFormat
import Testing

@Suite struct JournalPins {
  private struct Mutation: Equatable {
    var key: Key
    var value: [UInt8]?
  }

  private func parse(_ payload: [UInt8]) -> [Mutation]? {
    var found: [Mutation] = []
    let parses = payload.withUnsafeBytes {
      JournalRecord.forEachMutation($0) { found.append(Mutation(key: $0, value: $1.map { Array($0) })) }
    }
    return parses ? found : nil
  }

  @Test func layout() {
    #expect(JournalRecord.headerBytes == 64 && JournalRecord.mutationHeaderBytes == 18)
    #expect(JournalRecord.deletion == 0xffff && TreeNode.maximumValueBytes < 0xffff)
    #expect(JournalRecord.blocks(payloadBytes: 0) == 1)
    #expect(JournalRecord.blocks(payloadBytes: 4096 - 64) == 1)
    #expect(JournalRecord.blocks(payloadBytes: 4096 - 63) == 2)
    #expect(
      encoded(64) { $0.put(UInt32(77), 48) }.withUnsafeBytes { JournalRecord.payloadBytes($0.baseAddress!) } == 77)
  }

  @Test func mutations() {
    let payload = hex(
      """
      0700000000000000 0000000000000010 0300 aabbcc
      0800000000000001 0000000000000000 ffff
      0900000000000003 0500000000000000 0000
      """)
    #expect(
      parse(payload) == [
        Mutation(key: .inode(7), value: [0xaa, 0xbb, 0xcc]), Mutation(key: .orphan(8), value: nil),
        Mutation(key: .freeByLength(BlockRange(start: 5, count: 9)), value: []),
      ])
    #expect(parse([]) == [])
  }

  @Test func whatDoesNotParse() {
    let whole = hex("0700000000000000 0000000000000010 0300 aabbcc")
    for count in 1..<whole.count { #expect(parse(Array(whole[..<count])) == nil) }
    #expect(parse(whole + [0]) == nil)
    let long = TreeNode.maximumValueBytes + 1
    let tooLong = hex("0700000000000000 0000000000000010") + [UInt8(long & 255), UInt8(long >> 8)]
    #expect(parse(tooLong + [UInt8](repeating: 0, count: long)) == nil)
  }

  @Test func aThrowEndsTheWalk() {
    struct Stop: Error {}
    let payload = hex("0700000000000000 0000000000000010 ffff 0700000000000000 0000000000000010 ffff")
    var calls = 0
    #expect(throws: Stop.self) {
      _ = try payload.withUnsafeBytes {
        try JournalRecord.forEachMutation($0) { _, _ in
          calls += 1
          throw Stop()
        }
      }
    }
    #expect(calls == 1)
  }
}
