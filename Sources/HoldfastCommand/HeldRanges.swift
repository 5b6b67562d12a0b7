/// Which bytes of a file requests hold, and where on the image these lie.

import HoldfastBase
import HoldfastClient

public struct HeldRanges: Sendable {
  /// Sorted, apart from each other. Bytes of the file.
  private var hard: [Range<UInt64>]
  private var breakable: [Range<UInt64>]

  public init(_ requests: [SealReport]) {
    self.init(
      requests.map { ($0.isBreakable ? .breakable : .hard, $0.range.map { $0.offset..<max($0.end, $0.offset) }) })
  }

  /// A nil range is the whole file.
  public init(_ requests: [(kind: VolumeSurvey.Hold, bytes: Range<UInt64>?)]) {
    func ranges(_ kind: VolumeSurvey.Hold) -> [Range<UInt64>] {
      Self.merged(requests.filter { $0.kind == kind }.map { $0.bytes ?? 0..<UInt64.max })
    }
    hard = ranges(.hard)
    breakable = ranges(.breakable)
  }

  /// The held parts of a map, in blocks of the image. `extents` are in the order of the file.
  public func pieces(of extents: [MappedExtent]) -> [VolumeSurvey.Held] {
    Self.pieces(of: extents, breakable).map { .init(blocks: $0, hold: .breakable) }
      + Self.pieces(of: extents, hard).map { .init(blocks: $0, hold: .hard) }
  }

  private static func pieces(of extents: [MappedExtent], _ ranges: [Range<UInt64>]) -> [BlockRange] {
    var pieces: [BlockRange] = []
    var index = 0
    for extent in extents {
      while index < ranges.count, ranges[index].upperBound <= extent.logical { index += 1 }
      var next = index
      while next < ranges.count, ranges[next].lowerBound < extent.logicalEnd {
        let held = ranges[next].clamped(to: extent.logical..<extent.logicalEnd)
        // Held are whole blocks, as are extents.
        let part = MappedExtent(
          logical: held.lowerBound, physical: extent.physical + (held.lowerBound - extent.logical),
          length: held.upperBound - held.lowerBound)
        pieces.append(part.imageBlocks)
        next += 1
      }
    }
    return pieces
  }

  /// Sorted; what touches is one.
  static func merged(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
    var result: [Range<UInt64>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
      if let last = result.last, range.lowerBound <= last.upperBound {
        result[result.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        result.append(range)
      }
    }
    return result
  }
}

extension MappedExtent {
  /// Where it lies on the image.
  public var imageBlocks: BlockRange {
    BlockRange(start: physical >> UInt64(Block.shift), count: length >> UInt64(Block.shift))
  }
}
