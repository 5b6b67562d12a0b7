import HoldfastBase
import HoldfastFormat
import Testing

/// Keys: their bits, their order, the hashes in them.
@Suite struct KeyPins {
  @Test func bits() {
    let key = Key.file(0x0012_3456_789a_bcde, .dirent, 0x0abc_def0_1234_5678)
    #expect(key.high == 0x0012_3456_789a_bcde && key.low == 0x3abc_def0_1234_5678)
    #expect(key.space == .file && key.object == 0x12_3456_789a_bcde)
    #expect(key.type == .dirent && key.offset == 0x0abc_def0_1234_5678)
    #expect(Key.inode(7) == Key(high: 7, low: 0x1000_0000_0000_0000))
    #expect(Key.file(7, .xattr, 1) == Key(high: 7, low: 0x2000_0000_0000_0001))
    #expect(Key.extent(7, 9) == Key(high: 7, low: 0x4000_0000_0000_0009))
    #expect(Key.file(7, .symlink, 1) == Key(high: 7, low: 0x5000_0000_0000_0001))
    #expect(Key.orphan(7) == Key(high: 0x0100_0000_0000_0007, low: 0))
    #expect(Key.free(7) == Key(high: 0x0200_0000_0000_0007, low: 0))
    #expect(Key.freeByLength(BlockRange(start: 9, count: 7)) == Key(high: 0x0300_0000_0000_0007, low: 9))
    #expect(Key.quarantine(7) == Key(high: 0x0400_0000_0000_0007, low: 0))
    #expect(Key.chunk(7) == Key(high: 0x0500_0000_0000_0007, low: 0))
    #expect(Key(space: .persistentSeal, object: 7, low: 3) == Key(high: 0x0600_0000_0000_0007, low: 3))
    #expect(Key.file(1, .extent, .max).offset == Key.maximumOffset)
    #expect(Key(space: .free, object: .max, low: 0).object == Key.maximumObject)
    #expect(Key.pieceBytes == 1024)
  }

  @Test func unknownBitsAreNil() {
    for space in 7...255 { #expect(Key(high: UInt64(space) << 56, low: 0).space == nil) }
    for type in [0, 6, 7, 15] { #expect(Key(high: 1, low: UInt64(type) << 60).type == nil) }
  }

  @Test func order() {
    let ascending: [Key] = [
      .minimum, .inode(1), .file(1, .xattr, 0), .file(1, .xattr, 5), .file(1, .dirent, 0), .extent(1, 0),
      .extent(1, 1), .extent(1, Key.maximumOffset), .file(1, .symlink, 0), .inode(2), .inode(Key.maximumObject),
      .orphan(0), .orphan(1), .free(0), .free(1 << 51), .freeByLength(BlockRange(start: 5, count: 1)),
      .freeByLength(BlockRange(start: 1, count: 2)), .quarantine(1), .chunk(1),
      Key(space: .persistentSeal, object: 1, low: .max), .maximum,
    ]
    for (index, key) in ascending.enumerated() {
      for (other, later) in ascending.enumerated() {
        #expect((key < later) == (index < other) && (key == later) == (index == other))
      }
    }
  }

  @Test func successor() {
    #expect(Key(high: 1, low: 2).successor == Key(high: 1, low: 3))
    #expect(Key(high: 1, low: .max).successor == Key(high: 2, low: 0))
  }

  @Test func nameHashes() {
    func dirent(_ name: String, _ seed: UInt64) -> UInt64 {
      Array(name.utf8).withUnsafeBytes { NameHash.dirent($0, seed: seed) }
    }
    func xattr(_ name: String, _ seed: UInt64) -> UInt64 {
      Array(name.utf8).withUnsafeBytes { NameHash.xattr($0, seed: seed) }
    }
    func raw(_ name: String, _ seed: UInt64) -> UInt64 {
      Array(name.utf8).withUnsafeBytes { NameHash.raw($0, seed: seed) }
    }
    #expect(raw("", 0) == 0x2d06_8005_38d3_94c2)
    #expect(raw("a", 0) == 0xe6c6_32b6_1e96_4e1f)
    #expect(raw("README.md", 0x5eed) == 0xdab7_7aa4_0967_8474)
    #expect(dirent("README.md", 0x5eed) == 0x0dab_77aa_4096_7800)
    #expect(xattr("user.comment", 0x5eed) == 0x0d3a_90d7_d553_0000)
    var random = Seeded(1)
    for _ in 0..<1000 {
      let name = String(random.next(), radix: 36)
      let seed = random.next()
      #expect(dirent(name, seed) & 127 == 0 && dirent(name, seed) >= 128 && dirent(name, seed) < 1 << 60)
      #expect(xattr(name, seed) & 0xffff == 0 && xattr(name, seed) < 1 << 60)
    }
  }
}
