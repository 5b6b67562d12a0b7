import HoldfastCommand
import HoldfastFormat
import Testing

@Suite struct ForeignSignatureTests {
  private func recognise(_ byteCount: Int = 16 << 20, _ fill: (inout [UInt8]) -> Void) -> [String] {
    var image = [UInt8](repeating: 0, count: byteCount)
    fill(&image)
    return ForeignSignature.recognise(byteCount: UInt64(byteCount)) { offset, count in
      offset + UInt64(count) <= UInt64(image.count) ? Array(image[Int(offset)..<Int(offset) + count]) : nil
    }
  }

  @Test func nothingOnZeros() {
    #expect(recognise { _ in }.isEmpty)
    #expect(recognise(16) { _ in }.isEmpty)
    #expect(recognise(0) { _ in }.isEmpty)
  }

  @Test func marksAtTheirPlaces() {
    let marks: [(Int, [UInt8], String)] = [
      (0x438, [0x53, 0xef], "ext"), (0, Array("XFSB".utf8), "XFS"), (0x10040, Array("_BHRfS_M".utf8), "Btrfs"),
      (4086, Array("SWAPSPACE2".utf8), "swap"), (65526, Array("SWAPSPACE2".utf8), "swap"),
      (0, Array("hsqs".utf8), "SquashFS"), (0x8001, Array("CD001".utf8), "ISO"), (3, Array("NTFS    ".utf8), "NTFS"),
      (82, Array("FAT32   ".utf8), "FAT"), (0, Array("LUKS".utf8) + [0xba, 0xbe], "LUKS"),
      (512, Array("LABELONE".utf8), "LVM"), (512, Array("EFI PART".utf8), "GPT"),
      ((16 << 20) - 512, Array("EFI PART".utf8), "GPT"), (1024, [0x10, 0x20, 0xf5, 0xf2], "F2FS"),
      (131_072 + 5 * 1024, [0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0], "ZFS"), (0, Array("QFI".utf8) + [0xfb], "qcow2"),
    ]
    for (offset, bytes, word) in marks {
      let found = recognise { $0.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
      #expect(found.contains { $0.contains(word) }, "\(word): \(found)")
    }
  }

  @Test func partitionTable() {
    let found = recognise { image in
      image[446] = 0x80
      image[450] = 0x83
      image[458] = 1
      image[510] = 0x55
      image[511] = 0xaa
    }
    #expect(found == ["a DOS partition table"])
  }

  @Test func bootSignatureAloneIsNone() {
    let found = recognise { image in
      image[510] = 0x55
      image[511] = 0xaa
    }
    #expect(found.isEmpty)
  }

  @Test func eitherSuperblockOfOurOwn() {
    for address in Geometry.superblocks {
      let found = recognise { image in
        let superblock = Superblock(
          id: .random(), totalBlocks: 4096, journalBlocks: 1024, hashSeed: 1, label: "x", now: 0)
        image.withUnsafeMutableBytes { superblock.encode(to: $0.baseAddress! + Int(address) * 4096, address: address) }
      }
      #expect(found == ["a Holdfast filesystem"])
    }
  }
}
