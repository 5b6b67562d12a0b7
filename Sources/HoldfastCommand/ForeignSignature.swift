/// What an image or device holds already: the marks of filesystems, partition tables, volume managers and
/// disk images, so that mkfs destroys none of them unasked. The table is our own: a machine without
/// blkid(8) is no less safe.

import HoldfastBase
import HoldfastFormat

public enum ForeignSignature {
  /// Reads `count` bytes at an offset, nil where there are none.
  public typealias Reader = (_ offset: UInt64, _ count: Int) -> [UInt8]?

  /// Names of everything recognised on a volume of `byteCount` bytes, Holdfast's own first.
  public static func recognise(byteCount: UInt64, read: Reader) -> [String] {
    var found: [String] = []
    func note(_ name: String) { if !found.contains(name) { found.append(name) } }

    for block in Geometry.superblocks {
      if let bytes = read(block * UInt64(Block.size), Block.size),
        bytes.withUnsafeBytes({ Superblock(decoding: $0.baseAddress!, address: block) }) != nil
          || bytes[4..<8].elementsEqual([0x48, 0x46, 0x53, 0x54])
      {
        note("a Holdfast filesystem")
      }
    }
    for mark in marks where read(mark.offset, mark.bytes.count) == mark.bytes { note(mark.name) }
    for mark in tailMarks where byteCount >= mark.fromEnd {
      if read(byteCount - mark.fromEnd, mark.bytes.count) == mark.bytes { note(mark.name) }
    }
    if isZFS(byteCount: byteCount, read: read) { note("a ZFS member") }
    if found.isEmpty, isFAT(read) { note("a FAT filesystem") }
    if found.isEmpty, isMBR(read) { note("a DOS partition table") }
    return found
  }

  private struct Mark {
    var name: String
    var offset: UInt64
    var bytes: [UInt8]
    init(_ name: String, _ offset: UInt64, _ bytes: [UInt8]) {
      self.name = name
      self.offset = offset
      self.bytes = bytes
    }
    init(_ name: String, _ offset: UInt64, _ text: String) { self.init(name, offset, Array(text.utf8)) }
  }

  private static let marks: [Mark] =
    [
      Mark("an ext2, ext3 or ext4 filesystem", 0x438, [0x53, 0xef]),
      Mark("an XFS filesystem", 0, "XFSB"),
      Mark("a Btrfs filesystem", 0x10040, "_BHRfS_M"),
      Mark("an F2FS filesystem", 0x400, [0x10, 0x20, 0xf5, 0xf2]),
      Mark(
        "a bcachefs or bcache volume", 0x1018,
        [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81]),
      Mark(
        "a bcachefs volume", 0x1018,
        [0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef]),
      Mark("a ReiserFS filesystem", 0x10034, "ReIsEr"),
      Mark("a Reiser4 filesystem", 0x10000, "ReIsEr4"),
      Mark("a JFS filesystem", 0x8000, "JFS1"),
      Mark("a GFS2 filesystem", 0x10000, [0x01, 0x16, 0x19, 0x70]),
      Mark("a NILFS2 filesystem", 0x406, [0x34, 0x34]),
      Mark("an NTFS filesystem", 3, "NTFS    "),
      Mark("an exFAT filesystem", 3, "EXFAT   "),
      Mark("a FAT filesystem", 54, "FAT12   "),
      Mark("a FAT filesystem", 54, "FAT16   "),
      Mark("a FAT filesystem", 82, "FAT32   "),
      Mark("an HFS+ filesystem", 0x400, "H+\u{0}\u{4}"),
      Mark("an HFS+ filesystem", 0x400, "HX\u{0}\u{5}"),
      Mark("an HFS filesystem", 0x400, "BD"),
      Mark("an APFS container", 32, "NXSB"),
      Mark("a UFS filesystem", 0x255c, [0x54, 0x19, 0x01, 0x00]),
      Mark("a UFS2 filesystem", 0x1055c, [0x19, 0x01, 0x54, 0x19]),
      Mark("a Minix filesystem", 0x410, [0x7f, 0x13]),
      Mark("a Minix filesystem", 0x410, [0x8f, 0x13]),
      Mark("a Minix filesystem", 0x410, [0x68, 0x24]),
      Mark("a Minix filesystem", 0x410, [0x78, 0x24]),
      Mark("a Minix filesystem", 0x418, [0x5a, 0x4d]),
      Mark("a SquashFS filesystem", 0, "hsqs"),
      Mark("a SquashFS filesystem", 0, "sqsh"),
      Mark("an EROFS filesystem", 0x400, [0xe2, 0xe1, 0xf5, 0xe0]),
      Mark("a cramfs filesystem", 0, [0x45, 0x3d, 0xcd, 0x28]),
      Mark("a romfs filesystem", 0, "-rom1fs-"),
      Mark("an ISO 9660 filesystem", 0x8001, "CD001"),
      Mark("a UDF filesystem", 0x8001, "BEA01"),
      Mark("a UDF filesystem", 0x8001, "NSR0"),
      Mark("a LUKS volume", 0, "LUKS".utf8 + [0xba, 0xbe]),
      Mark("a LUKS volume", 0x4000, "SKUL".utf8 + [0xba, 0xbe]),
      Mark("a BitLocker volume", 3, "-FVE-FS-"),
      Mark("a Linux RAID member", 0, [0xfc, 0x4e, 0x2b, 0xa9]),
      Mark("a Linux RAID member", 4096, [0xfc, 0x4e, 0x2b, 0xa9]),
      Mark("a Ceph BlueStore volume", 0, "bluestore block device"),
      Mark("a VDO volume", 0, "dmvdo001"),
      Mark("a GPT partition table", 512, "EFI PART"),
      Mark("a GPT partition table", 4096, "EFI PART"),
      Mark("a qcow2 disk image", 0, "QFI".utf8 + [0xfb]),
      Mark("a VMDK disk image", 0, "KDMV"),
      Mark("a VHDX disk image", 0, "vhdxfile"),
      Mark("a VDI disk image", 64, [0x7f, 0x10, 0xda, 0xbe]),
    ]
    + (0..<4).map { Mark("an LVM physical volume", $0 * 512, "LABELONE") }
    + [4096, 8192, 16384, 32768, 65536].flatMap { page in
      [
        Mark("a swap area", page - 10, "SWAPSPACE2"), Mark("a swap area", page - 10, "SWAP-SPACE"),
        Mark("a hibernation image", page - 10, "S1SUSPEND"), Mark("a hibernation image", page - 10, "S2SUSPEND"),
      ]
    }
    + [1024, 2048, 4096, 8192].map { Mark("an OCFS2 filesystem", $0, "OCFSV2") }

  /// Marks counted from the end of the volume.
  private static let tailMarks: [(name: String, fromEnd: UInt64, bytes: [UInt8])] = [
    ("a GPT partition table", 512, Array("EFI PART".utf8)),
    ("a GPT partition table", 4096, Array("EFI PART".utf8)),
    ("a VHD disk image", 512, Array("conectix".utf8)),
  ]

  /// An uberblock in one of the first two labels' rings: 128 slots of 1 KiB behind the first 128 KiB of each.
  private static func isZFS(byteCount: UInt64, read: Reader) -> Bool {
    let magics: [[UInt8]] = [[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c]]
    for label in [0, 262_144] as [UInt64] {
      guard let ring = read(label + 131_072, 131_072) else { continue }
      for slot in stride(from: 0, to: ring.count, by: 1024) where magics.contains(Array(ring[slot..<slot + 8])) {
        return true
      }
    }
    return false
  }

  /// A FAT without its name: a jump, a sensible sector and cluster size, a media byte, the boot signature.
  private static func isFAT(_ read: Reader) -> Bool {
    guard let sector = read(0, 512), sector[510] == 0x55, sector[511] == 0xaa else { return false }
    let sectorBytes = UInt16(sector[11]) | UInt16(sector[12]) << 8
    let clusterSectors = sector[13]
    return (sector[0] == 0xeb && sector[2] == 0x90 || sector[0] == 0xe9)
      && [512, 1024, 2048, 4096].contains(sectorBytes)
      && clusterSectors != 0 && clusterSectors & (clusterSectors - 1) == 0
      && (sector[16] == 1 || sector[16] == 2) && (sector[21] == 0xf0 || sector[21] >= 0xf8)
  }

  /// The boot signature, and four entries that are empty or can be partitions, one of them at least.
  private static func isMBR(_ read: Reader) -> Bool {
    guard let sector = read(0, 512), sector[510] == 0x55, sector[511] == 0xaa else { return false }
    var partitions = 0
    for entry in stride(from: 446, to: 510, by: 16) {
      guard sector[entry] == 0 || sector[entry] == 0x80 else { return false }
      let hasSectors = sector[entry + 12..<entry + 16].contains { $0 != 0 }
      if sector[entry + 4] != 0 && hasSectors { partitions += 1 }
    }
    return partitions > 0
  }
}
