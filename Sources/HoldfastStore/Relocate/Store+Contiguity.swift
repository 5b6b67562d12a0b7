/// Contiguity on demand: a range of a file prepared for sealing (`prepare`) in one run of the image, aligned as asked.
/// Holes get their blocks there at once; what is mapped is moved there. Where no run is long enough, one is made
/// (`Store+MakeRun.swift`). What cannot be done is told, and the range is prepared all the same.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

/// Why there is no run as long as asked for. More than one may be true.
public struct RunObstacles: OptionSet, Equatable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// Blocks that a request holds in place.
  public static let held = RunObstacles(rawValue: 1)
  /// The filesystem's own blocks.
  public static let metadata = RunObstacles(rawValue: 2)
  /// Blocks that somebody taken from may still reach.
  public static let quarantine = RunObstacles(rawValue: 4)
  /// There is not that much free in all, or not enough beside for what would have to move.
  public static let space = RunObstacles(rawValue: 8)
}

public struct ContiguityReport: Equatable, Sendable {
  /// Runs of the image the range is in, and the longest of them.
  public var fragments: UInt64 = 0
  public var longestBlocks: UInt64 = 0
  /// One run, aligned as asked.
  public var isFulfilled = false
  /// Blocks of this file that were moved, and of others that made room for it.
  public var movedBlocks: UInt64 = 0
  public var evacuatedBlocks: UInt64 = 0
  /// When it is not: the longest free run there is, and why there is no longer one.
  public var longestFreeBlocks: UInt64 = 0
  public var obstacles: RunObstacles = []
  /// One of the requests in the way.
  public var refusal: FSError.Refusal?

  public init() {}
}

extension Store {
  /// Prepares bytes of a file as `prepare` does, in one run that begins at a multiple of `alignment` blocks.
  /// - Throws: as `prepare` and `relocate`. No room for one run is no error: `isFulfilled` tells.
  public func prepareContiguously(
    _ inode: InodeNumber, offset: UInt64, byteCount: UInt64, alignment: UInt64, handle: UInt64?,
    by caller: Credentials, waits: Bool = false, while going: () -> Bool = { true }
  ) throws(FSError) -> ContiguityReport {
    let actor = Actor(credentials: caller, handle: handle, waits: waits)
    let scope: SealScope =
      byteCount == 0 && offset == 0 ? .wholeFile : .range(byteOffset: offset, byteCount: byteCount)
    let size = try reading { () throws(FSError) in try changeableFile(inode) }.size
    let blocks = scope.blocks(ofFile: size).intersection(BlockRange(from: 0, to: Block.count(covering: size)))
    var report = ContiguityReport()
    if !blocks.isEmpty {
      try trimPreallocation(of: inode, ifUnlocked: false)
      try survey(blocks, of: inode, alignment, &report)
      if !report.isFulfilled {
        try authorizeMoves([blocks], of: inode, by: actor, while: going)
        try gather(blocks, of: inode, alignment, by: actor, while: going, &report)
      }
    }
    try prepare(inode, offset: offset, byteCount: byteCount, handle: handle, by: caller, waits: waits)
    try survey(blocks, of: inode, alignment, &report)
    report.longestFreeBlocks = try reading { () throws(FSError) in try longestFreeRun()?.count ?? 0 }
    return report
  }

  private func gather(
    _ blocks: BlockRange, of inode: InodeNumber, _ alignment: UInt64, by actor: Actor, while going: () -> Bool,
    _ report: inout ContiguityReport
  ) throws(FSError) {
    let placement = Placement(alignment: alignment, isWhole: true)
    var reservation = try reserveReclaiming(blocks.count, atLeast: blocks.count, placement)
    if reservation == nil {
      reservation = try makeRun(of: blocks.count, alignment, while: going, &report)
    }
    guard let reservation else { return }
    var moved = RelocationReport()
    defer { report.movedBlocks += moved.movedBlocks }
    try move(blocks, of: inode, fillingHoles: true, into: reservation, by: actor, while: going, &moved)
  }

  /// How a range lies on the image now. Holes count as fragments of their own.
  private func survey(
    _ blocks: BlockRange, of inode: InodeNumber, _ alignment: UInt64, _ report: inout ContiguityReport
  ) throws(FSError) {
    var fragments: [BlockRange] = []
    var hasHole = false
    try inodeLocks.shared(inode) { () throws(FSError) in
      try walk(inode, blocks) { piece in
        guard case .mapped(let extent) = piece else {
          hasHole = true
          fragments.append(BlockRange(start: 0, count: 0))
          return true
        }
        let part = BlockRange(start: extent.start, count: extent.count).intersection(blocks)
        let physical = extent.physical(part.start)
        if let last = fragments.last, !last.isEmpty, last.end == physical {
          fragments[fragments.count - 1].count += part.count
        } else {
          fragments.append(BlockRange(start: physical, count: part.count))
        }
        return true
      }
    }
    report.fragments = UInt64(fragments.count)
    report.longestBlocks = fragments.map(\.count).max() ?? 0
    report.isFulfilled = !hasHole && fragments.count <= 1 && (fragments.first?.start ?? 0) % alignment == 0
  }
}
