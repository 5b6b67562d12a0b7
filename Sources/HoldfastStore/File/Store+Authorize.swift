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
    let runs = try reading { () throws(FSError) in try self.runs(of: number, in: blocks, changed) }
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

  /// True when any block of `range` is a hole, unwritten or shared. Under the tree lock.
  func hasUnwritten(_ number: InodeNumber, _ range: BlockRange) throws(FSError) -> Bool {
    try firstRun(of: number, in: range, .contents) != nil
  }

  /// The runs of blocks of `range` that would change. Without requests on the inode nobody asks which: the first stands for
  /// all. Under the inode's exclusive and the tree lock.
  func runs(of number: InodeNumber, in range: BlockRange, _ changed: Changed) throws(FSError) -> [BlockRange] {
    let wantsAll = seals.hasRequests(number)
    var runs: [BlockRange] = []
    var rest = range
    while let run = try firstRun(of: number, in: rest, changed) {
      if let last = runs.last, last.end == run.start {
        runs[runs.count - 1] = BlockRange(from: last.start, to: run.end)
      } else {
        runs.append(run)
      }
      if !wantsAll { break }
      rest = BlockRange(from: run.end, to: range.end)
    }
    return runs
  }

  private func firstRun(
    of number: InodeNumber, in range: BlockRange, _ changed: Changed
  ) throws(FSError) -> BlockRange? {
    var block = range.start
    while block < range.end {
      switch try piece(of: number, at: block, limit: range.end) {
      case .hole(let hole): return hole
      case .mapped(let extent):
        let end = min(extent.end, range.end)
        if changed == .contents, !extent.isWritten { return BlockRange(from: block, to: end) }
        block = end
      }
    }
    return nil
  }
}
