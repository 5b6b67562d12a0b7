/// The truth table of docs/SEMANTICS.md stated a second time, from the document alone: which requests a change meets,
/// and what follows. Nothing here knows how the seal layer decides. Rows are cited by number.

import Glibc

/// What an operation would do to a file's extent map, as far as requests are concerned.
struct ModelChange: Equatable {
  /// It changes what a request of the whole file covers: some block, or the size.
  var meetsWholeFile: Bool
  /// Blocks whose mapping appears, disappears, moves or becomes written.
  var blocks: [Range<UInt64>]

  static let none = ModelChange(meetsWholeFile: false, blocks: [])

  func meets(_ seal: ModelSeal) -> Bool {
    guard let pinned = seal.blocks else { return meetsWholeFile }
    return blocks.contains { $0.overlaps(pinned) }
  }
}

/// What follows from meeting requests.
struct SealVerdict: Equatable {
  /// A hard request is in the way: ETXTBSY, and nobody is recalled.
  var isRefused = false
  /// These are asked to let go first.
  var recalled: [ModelSeal] = []
  /// Row 26: these end with the change, once nothing else is in the way.
  var endsOwn: [ModelSeal] = []
}

enum TruthTable {
  static let blockBytes: UInt64 = 4096
  /// Behind every block a file can have.
  static let endOfMap = UInt64.max / blockBytes

  /// Rows 3 to 15, the columns put together. `isOwn` by row 26.
  static func judge(_ change: ModelChange, _ standing: [ModelSeal], isOwn: (ModelSeal) -> Bool) -> SealVerdict {
    let met = standing.filter { change.meets($0) }
    if met.contains(where: { !$0.isBreakable }) { return SealVerdict(isRefused: true) }
    return SealVerdict(recalled: met.filter { !isOwn($0) }, endsOwn: met.filter(isOwn))
  }

  /// The blocks that hold any of `range`'s bytes.
  static func blocks(_ range: Range<UInt64>) -> Range<UInt64> {
    let start = range.lowerBound / blockBytes
    return start..<(range.isEmpty ? start : (range.upperBound - 1) / blockBytes + 1)
  }

  /// The parts of `blocks` that are no extent `isSettled` accepts.
  static func unsettled(
    _ map: ObservedMap, _ blocks: Range<UInt64>, _ isSettled: (MapExtent) -> Bool
  ) -> [Range<UInt64>] {
    var found: [Range<UInt64>] = []
    var at = blocks.lowerBound
    for extent in map.extents where isSettled(extent) {
      let start = extent.logical / blockBytes
      let end = start + extent.length / blockBytes
      guard end > at, start < blocks.upperBound else { continue }
      if start > at { found.append(at..<start) }
      at = end
    }
    if at < blocks.upperBound { found.append(at..<blocks.upperBound) }
    return found
  }

  /// Rows 2, 3, 4: a write of `range`.
  static func writing(_ map: ObservedMap, size: UInt64, _ range: Range<UInt64>) -> ModelChange {
    guard !range.isEmpty else { return .none }
    let changed = unsettled(map, blocks(range)) { $0.isPlain }
    return ModelChange(meetsWholeFile: !changed.isEmpty || range.upperBound > size, blocks: changed)
  }

  /// Rows 6, 7, 8, 9.
  static func truncating(size: UInt64, to newSize: UInt64) -> ModelChange {
    if newSize == size { return .none }
    // Row 6: a block cut in its middle is cut.
    return ModelChange(
      meetsWholeFile: true, blocks: newSize < size ? [newSize / blockBytes..<endOfMap] : [])
  }

  /// Rows 11, 12, 13. `mode` as of fallocate(2).
  static func allocating(_ map: ObservedMap, size: UInt64, mode: Int, _ range: Range<UInt64>) -> ModelChange {
    switch mode & ~AllocationMode.keepSize {
    case 0:
      let holes = unsettled(map, blocks(range)) { _ in true }
      let grows = mode & AllocationMode.keepSize == 0 && range.upperBound > size
      return ModelChange(meetsWholeFile: grows || !holes.isEmpty, blocks: holes)
    case AllocationMode.punchHole, AllocationMode.zeroRange:
      return ModelChange(meetsWholeFile: true, blocks: [blocks(range)])
    default: return ModelChange(meetsWholeFile: true, blocks: [range.lowerBound / blockBytes..<endOfMap])
    }
  }

  /// Row 15: all that is mapped in `range` moves.
  static func relocating(_ map: ObservedMap, _ range: Range<UInt64>) -> ModelChange {
    let all = blocks(range)
    let moved = map.extents.map {
      ($0.logical / blockBytes..<($0.logical + $0.length) / blockBytes).clamped(to: all)
    }.filter { !$0.isEmpty }
    return ModelChange(meetsWholeFile: !moved.isEmpty, blocks: moved)
  }

  /// Rule 4: what `fill` fills, which is up to the end of the file.
  static func filling(_ map: ObservedMap, size: UInt64, _ scope: Range<UInt64>?) -> ModelChange {
    let all = blocks(0..<size)
    let changed = unsettled(map, (scope ?? all).clamped(to: all)) { $0.isPlain }
    return ModelChange(meetsWholeFile: !changed.isEmpty, blocks: changed)
  }

  /// Whether a strict request of `scope` finds nothing but written blocks (rule 4).
  static func isSealable(_ map: ObservedMap, size: UInt64, _ scope: Range<UInt64>?) -> Bool {
    unsettled(map, scope ?? blocks(0..<size)) { $0.isPlain }.isEmpty
  }

  /// How many of `range`'s bytes, from its start on, a write may write before it meets `seal`.
  static func prefix(of range: Range<UInt64>, size: UInt64, _ change: ModelChange, before seal: ModelSeal) -> UInt64 {
    guard change.meets(seal) else { return UInt64(range.count) }
    let pinned = seal.blocks ?? 0..<endOfMap
    var first = seal.blocks == nil ? max(range.lowerBound, min(size, range.upperBound)) : range.upperBound
    if let block = change.blocks.filter({ $0.overlaps(pinned) }).map({ max($0.lowerBound, pinned.lowerBound) }).min() {
      first = min(first, max(range.lowerBound, block * blockBytes))
    }
    return first - range.lowerBound
  }

  /// How many of `range`'s bytes, from its start on, lie in mapped, written, unshared blocks.
  static func plainPrefix(_ map: ObservedMap, _ range: Range<UInt64>) -> UInt64 {
    var at = range.lowerBound
    for extent in map.extents where extent.logical + extent.length > at {
      if extent.logical > at || !extent.isPlain || at >= range.upperBound { break }
      at = extent.logical + extent.length
    }
    return min(at, range.upperBound) - range.lowerBound
  }

}

/// FALLOC_FL_* of fallocate(2).
enum AllocationMode {
  static let keepSize = 0x01
  static let punchHole = 0x02
  static let collapseRange = 0x08
  static let zeroRange = 0x10
  static let insertRange = 0x20
}
