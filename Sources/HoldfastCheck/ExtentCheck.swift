/// The extents of one inode: in order, apart from each other, within the largest file.

import HoldfastBase
import HoldfastFormat

struct ExtentCheck {
  /// File blocks end below this: 2^63 - 1 bytes.
  static let fileBlocks = Limits.fileBytes >> 12 + 1

  private(set) var count: UInt64 = 0
  /// Sum of the extents' blocks.
  private(set) var blocks: UInt64 = 0
  /// First written block at or behind `fileEnd`.
  private(set) var overhang: FileBlock?
  /// First block behind the file's end.
  var fileEnd: FileBlock = .max
  private var end: FileBlock = 0

  mutating func reset() { self = ExtentCheck() }

  mutating func take(_ key: Key, _ extent: ExtentRecord, _ log: IssueLog) {
    // Offset is below 2^60, count below 2^32.
    let start = key.offset
    let next = start + UInt64(extent.count)
    count += 1
    blocks &+= UInt64(extent.count)
    if next > Self.fileBlocks { log.report(.extentTooFar(inode: key.object, fileBlock: start)) }
    if start < end { log.report(.extentsOverlap(inode: key.object, fileBlock: start)) }
    end = max(end, next)
    if overhang == nil && next > fileEnd && !extent.flags.contains(.unwritten) { overhang = max(start, fileEnd) }
  }
}
