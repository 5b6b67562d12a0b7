/// Extents of one file: inside the volume and the largest file, and each file block once. The first mapping counts.

import HoldfastBase
import HoldfastFormat

/// A run of file blocks and where it lies.
struct MappedExtent {
  var inode: InodeNumber
  var fileBlock: FileBlock
  var physical: BlockNumber
  var count: UInt32
  private var bits: UInt32

  private static let newBit: UInt32 = 1 << 31

  init(inode: InodeNumber, fileBlock: FileBlock, physical: BlockNumber, count: UInt32, flags: ExtentRecord.Flags) {
    self.inode = inode
    self.fileBlock = fileBlock
    self.physical = physical
    self.count = count
    bits = flags.rawValue
  }

  var flags: ExtentRecord.Flags { ExtentRecord.Flags(rawValue: bits & ~Self.newBit) }
  /// No old record says exactly this.
  var isNew: Bool {
    get { bits & Self.newBit != 0 }
    set { bits = newValue ? bits | Self.newBit : bits & ~Self.newBit }
  }
  var end: BlockNumber { physical + UInt64(count) }

  /// The blocks `range` of the image out of this extent.
  func part(_ range: BlockRange) -> MappedExtent {
    var part = MappedExtent(
      inode: inode, fileBlock: fileBlock + (range.start - physical), physical: range.start, count: UInt32(range.count),
      flags: flags)
    part.isNew = true
    return part
  }
}

extension Survey {
  mutating func takeExtent(_ key: Key, _ value: UnsafeRawBufferPointer) {
    guard let record = ExtentRecord(decoding: value) else { return leaveOut(key) }
    let count = UInt64(record.count)
    let end = key.offset + count
    let isInside =
      record.physical >= superblock.dataStart && record.physical < superblock.totalBlocks
      && count <= superblock.totalBlocks - record.physical && end <= ExtentCheck.fileBlocks
    guard isInside, end > inode.mappedEnd else {
      edits.drop(key)
      return notes.add(.extentDropped(inode: inode.kept, fileBlock: key.offset, count: count))
    }
    let start = max(key.offset, inode.mappedEnd)
    if start > key.offset {
      edits.drop(key)
      notes.add(.extentDropped(inode: inode.kept, fileBlock: key.offset, count: start - key.offset))
    }
    let skipped = start - key.offset
    var extent = MappedExtent(
      inode: inode.kept, fileBlock: start, physical: record.physical + skipped, count: UInt32(end - start),
      flags: record.flags)
    extent.isNew = start > key.offset || inode.kept != inode.number
    if extent.isNew {
      edits.drop(key)
    } else {
      keep(key, value)
    }
    extents.append(extent)
    inode.mappedEnd = end
    inode.blocks += end - start
    if record.flags.contains(.unwritten) { return }
    inode.writtenEnd = end
    if inode.overhang == nil && end > inode.fileEnd { inode.overhang = max(start, inode.fileEnd) }
  }
}
