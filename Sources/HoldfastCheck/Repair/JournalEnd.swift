/// Where the journal goes on after a repair: empty, with a sequence no block of the ring bears, so that nothing old is
/// ever taken for a record or for a trace of one.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct JournalEnd {
  /// Sequences from here on leave no room to count: what bears one is wiped out, not outrun.
  private static let limit: UInt64 = 1 << 61

  let sequence: UInt64
  let position: UInt64
  /// Blocks of the image to zero when the new superblocks are durable.
  private let wiped: [BlockNumber]

  init(_ journal: JournalCheck, _ superblock: Superblock) {
    let stamped = journal.stampedBlocks
    let highest = stamped.lazy.map(\.sequence).filter { $0 < Self.limit }.max() ?? 0
    sequence = max(journal.expected, highest + 1)
    position = journal.endPosition
    let positions = journal.unreadable + stamped.lazy.filter { $0.sequence >= Self.limit }.map(\.position)
    wiped = positions.map { superblock.journalStart + $0 }
  }

  /// Wipes blocks that cannot be read, which a write may cure, and those that cannot be outrun.
  func wipe(_ device: BlockDevice) throws(FSError) {
    guard !wiped.isEmpty else { return }
    let zeros = AlignedBuffer(byteCount: Block.size)
    for block in wiped { try device.write(UnsafeRawBufferPointer(zeros.bytes), at: block << UInt64(Block.shift)) }
    try device.barrier()
  }
}
