/// What a write or allocation asks of the gate: the blocks it changes, one by one. Blocks of the range that stay as they
/// are meet nobody's request (rows 2, 3, 11).

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Which blocks of a range an operation changes.
  enum Changed {
    /// Holes.
    case mapping
    /// Holes, and what is unwritten or shared.
    case contents
  }

  /// The gate's word for a write or allocation of `blocks` that ends at byte `end`, and for what comes with it.
  func authorizeWrite(
    _ number: InodeNumber, _ record: InodeRecord, _ blocks: BlockRange, end: UInt64, changing changed: Changed,
    with more: [MapChange] = [], _ actor: Actor
  ) throws(FSError) -> MapChangePermit {
    let sizeBlocks = Block.count(covering: record.size)
    // Without requests on the inode nobody asks which they are: the first stands for all.
    let runs = try runs(of: number, in: blocks, changed, limit: seals.hasRequests(number) ? .max : 1)
    var parts = more
    if end > record.size { parts.append(.grow(mapping: BlockRange(start: sizeBlocks, count: 0))) }
    for run in runs {
      let within = run.intersection(BlockRange(from: 0, to: sizeBlocks))
      if !within.isEmpty { parts.append(.fill(within)) }
      if run.end > sizeBlocks {
        parts.append(.grow(mapping: BlockRange(from: max(run.start, sizeBlocks), to: run.end)))
      }
    }
    // A change of no block is none: unaligned overwrites of a `direct` image come here as well (row 2).
    return try seals.authorize(
      parts.popLast() ?? .fill(BlockRange(start: blocks.start, count: 0)), with: parts, inode: number, by: actor)
  }

  /// True when any block of `range` is a hole, unwritten or shared. Under the inode's lock.
  func hasUnwritten(_ number: InodeNumber, _ range: BlockRange) throws(FSError) -> Bool {
    try !runs(of: number, in: range, .contents, limit: 1).isEmpty
  }

  /// The first `limit` runs of blocks of `range` that would change. Under the inode's lock.
  func runs(
    of number: InodeNumber, in range: BlockRange, _ changed: Changed, limit: Int = .max
  ) throws(FSError) -> [BlockRange] {
    var runs: [BlockRange] = []
    var block = range.start
    try walk(number, range) { piece in
      let run = BlockRange(from: block, to: min(piece.end, range.end))
      block = run.end
      if case .mapped = piece, changed == .mapping || piece.isWritten { return true }
      if let last = runs.last, last.end == run.start {
        runs[runs.count - 1] = BlockRange(from: last.start, to: run.end)
      } else {
        runs.append(run)
      }
      return runs.count < limit
    }
    return runs
  }
}
