/// Defragmentation: file blocks that lie together in the file come to lie together on the image. Made of `move`.
///
/// What lies together, whatever its flags, is an *island*; its *fragments* are the runs of the image it is in. A move
/// takes whole fragments, two at least, into one run: every one that is made lowers their number, so no map gets worse
/// and what is in one run is left alone.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

public struct DefragmentReport: Equatable, Sendable {
  public var fragmentsBefore: UInt64 = 0
  public var fragmentsAfter: UInt64 = 0
  public var relocation = RelocationReport()

  public init() {}
}

extension Store {
  /// Brings the file blocks `blocks` of `inode` into as few runs as free space allows. `actor`, `going`: see `relocate`.
  /// - Throws: as `relocate`. Of an actor in the foreground all of it is judged before anything moves.
  public func defragment(
    _ inode: InodeNumber, _ blocks: BlockRange, by actor: Actor, while going: () -> Bool = { true }
  ) throws(FSError) -> DefragmentReport {
    try trimPreallocation(of: inode, ifUnlocked: false)
    var report = DefragmentReport()
    let islands = try islands(of: inode, blocks)
    report.fragmentsBefore = islands.reduce(0) { $0 + UInt64($1.count) }
    let splintered = islands.filter { $0.count > 1 }
    report.fragmentsAfter = report.fragmentsBefore
    guard !splintered.isEmpty else { return report }
    if !actor.background { try authorizeMoves(splintered.map(Self.hull), of: inode, by: actor, while: going) }
    var canReclaim = true
    for island in splintered {
      let hull = Self.hull(island)
      let parts = actor.background ? movable(hull, of: inode, &report.relocation) : [hull]
      for part in parts {
        let fragments = island.map { $0.intersection(part) }.filter { !$0.isEmpty }
        try join(fragments, of: inode, by: actor, while: going, &canReclaim, &report.relocation)
      }
    }
    report.fragmentsAfter = try self.islands(of: inode, blocks).reduce(0) { $0 + UInt64($1.count) }
    return report
  }

  /// Fragments one behind the other in the file.
  private static func hull(_ fragments: [BlockRange]) -> BlockRange {
    BlockRange(from: fragments[0].start, to: fragments[fragments.count - 1].end)
  }

  /// From the first fragment on: as many as the longest free run holds become one, then those behind them.
  private func join(
    _ fragments: [BlockRange], of inode: InodeNumber, by actor: Actor, while going: () -> Bool,
    _ canReclaim: inout Bool, _ report: inout RelocationReport
  ) throws(FSError) {
    var rest = fragments[...]
    while rest.count > 1 {
      let want = rest.reduce(0) { $0 + $1.count }
      let alignment = try hintedAlignment(of: inode, at: rest[rest.startIndex].start)
      let least = rest[rest.startIndex].count + rest[rest.startIndex + 1].count
      var reservation = try reserveForJoin(want, atLeast: least, alignment)
      if reservation == nil, canReclaim, hasReclaimableSpace {
        canReclaim = false
        try reclaimSpace()
        reservation = try reserveForJoin(want, atLeast: least, alignment)
      }
      guard let reservation else {
        report.unplacedBlocks += rest.removeFirst().count
        continue
      }
      var taken = BlockRange(start: rest[rest.startIndex].start, count: 0)
      while let next = rest.first, taken.count + next.count <= reservation.range.count {
        taken.count += next.count
        rest.removeFirst()
      }
      try move(taken, of: inode, into: reservation, by: actor, while: going, &report)
    }
  }

  /// On the borders of the file's hint, and long ones on those of huge pages, where there is such a run.
  private func reserveForJoin(
    _ want: UInt64, atLeast least: UInt64, _ alignment: UInt64
  ) throws(FSError) -> Reservation? {
    let huge = want >= Store.hugeBlocks ? Store.hugeBlocks : 1
    for alignment in [max(alignment, huge), alignment] where alignment > 1 {
      if let found = try reserve(want, atLeast: want, Placement(alignment: alignment, isWhole: true)) { return found }
    }
    return try reserve(want, atLeast: least, Placement())
  }

  /// The file blocks of every island, fragment by fragment.
  private func islands(of inode: InodeNumber, _ blocks: BlockRange) throws(FSError) -> [[BlockRange]] {
    var islands: [[BlockRange]] = []
    try inodeLocks.shared(inode) { () throws(FSError) in
      guard try reading({ () throws(FSError) in try self.inode(inode).isRegular }) else { throw .invalid(.argument) }
      var end: (file: FileBlock, image: BlockNumber)?
      try walk(inode, blocks) { piece in
        guard case .mapped(let extent) = piece, !extent.record.flags.contains(.shared) else {
          end = nil
          return true
        }
        let part = BlockRange(start: extent.start, count: extent.count).intersection(blocks)
        let physical = extent.physical(part.start)
        let isBehind = end.map { $0.file == part.start } ?? false
        if isBehind, let last = end, last.image == physical {
          let island = islands.count - 1
          islands[island][islands[island].count - 1].count += part.count
        } else if isBehind {
          islands[islands.count - 1].append(part)
        } else {
          islands.append([part])
        }
        end = (part.end, physical + part.count)
        return true
      }
    }
    return islands
  }
}
