import HoldfastCommand
import Testing

@Suite struct ByteSizeTests {
  @Test(arguments: [
    ("0", 0), ("4096", 4096), ("1K", 1024), ("1k", 1024), ("16M", 16 << 20), ("10G", 10 << 30), ("2T", 2 << 40),
    ("9223372036854775807", UInt64(Int64.max)), ("8388607T", 8_388_607 << 40),
  ])
  func reads(_ text: String, _ bytes: UInt64) {
    #expect(ByteSize(text)?.bytes == bytes)
  }

  @Test(arguments: [
    "", "K", "-1", "+1", "1.5G", "1 G", "0x10", "1KB", "1KK", "ten", "9223372036854775808", "8388608T",
    "18446744073709551616", "99999999999999999999G", "１", "1\u{0}",
  ])
  func refuses(_ text: String) {
    #expect(ByteSize(text) == nil)
  }

  @Test func writes() {
    #expect(ByteSize(bytes: 0).description == "0 B")
    #expect(ByteSize(bytes: 4096).description == "4 KiB")
    #expect(ByteSize(bytes: 10 << 30).description == "10 GiB")
    #expect(ByteSize(bytes: 3 << 29).description == "1.50 GiB")
    #expect(ByteSize(bytes: (1 << 20) - 1).description == "1023 KiB")
    #expect(ByteSize(bytes: 12_900_000).description == "12.3 MiB")
  }

  @Test func ranges() {
    #expect(ByteRange("0+1M") == ByteRange(offset: 0, length: 1 << 20))
    #expect(ByteRange("4K+4K") == ByteRange(offset: 4096, length: 4096))
    for text in ["", "+", "1", "1+", "+1", "1+0", "1+1+1", "1-2", "9223372036854775807+1"] {
      #expect(ByteRange(text) == nil, "\(text)")
    }
  }
}
