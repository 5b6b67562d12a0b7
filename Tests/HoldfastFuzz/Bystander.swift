/// The file nobody touches: it stands in the root of every golden image, and its blocks are the same after everything
/// that is done to a damaged image, unless the image itself gives them to somebody else.

import HoldfastBase
import HoldfastFormat
import HoldfastStore

public struct Bystander: Equatable {
  static let name = Array("bystander".utf8)
  public var inode: InodeNumber
  public var blocks: BlockRange

  /// - Throws: when the image has none, or not in one piece.
  init(in store: Store) throws(FSError) {
    inode = try store.find(Self.name, in: RootDirectory.inode)
    let extents = try store.extents(of: inode, from: 0, limit: 2)
    guard extents.count == 1 else { throw .notFound }
    blocks = BlockRange(
      start: extents[0].physical >> UInt64(Block.shift), count: extents[0].length >> UInt64(Block.shift))
  }

  private func isMet(by start: UInt64, _ count: UInt64) -> Bool {
    let (end, overflow) = start.addingReportingOverflow(count)
    return start < blocks.end && (overflow || end > blocks.start)
  }

  /// Whether the image gives these blocks to anybody else, or the file away: the index of free space by length alone
  /// does not, the engine has to see through that.
  func isClaimed(in structure: ImageStructure, _ memory: ImageMemory) -> Bool {
    if structure.superblock.dataStart > blocks.start { return true }
    if structure.chunks.contains(where: { isMet(by: $0.start, $0.count) }) { return true }
    return structure.allRecords(memory).contains { record in
      record.value.withUnsafeBytes { value in
        switch (record.key.space, record.key.type) {
        case (.orphan, _): record.key.object == inode
        case (.free, _), (.chunk, _):
          isMet(by: record.key.object, LengthRecord.decode(value) ?? 0)
        case (.quarantine, _):
          isMet(by: record.key.object, QuarantineRecord(decoding: value)?.count ?? 0)
        case (.file, .extent):
          record.key.object != inode
            && ExtentRecord(decoding: value).map { isMet(by: $0.physical, UInt64($0.count)) } ?? false
        default: false
        }
      }
    }
  }
}
