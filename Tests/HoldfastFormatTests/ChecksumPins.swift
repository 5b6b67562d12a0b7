import HoldfastBase
import Testing

/// CRC-32C against RFC 3720, appendix B.4.
@Suite struct ChecksumPins {
  private func checksum(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { crc32c($0) } }

  @Test func vectorsOfRFC3720() {
    #expect(checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(checksum((0..<32).map { $0 }) == 0x46dd_794e)
    #expect(checksum((0..<32).reversed().map { $0 }) == 0x113f_db5c)
    #expect(checksum(Array("123456789".utf8)) == 0xe306_9283)
    #expect(checksum([]) == 0)
  }

  @Test func continuesFromASeed() {
    let bytes = (0..<200).map { UInt8($0) }
    for cut in [0, 1, 7, 8, 63, 64, 199, 200] {
      let head = checksum(Array(bytes[..<cut]))
      #expect(bytes[cut...].withUnsafeBytes { crc32c($0, seed: head) } == checksum(bytes))
    }
  }
}
