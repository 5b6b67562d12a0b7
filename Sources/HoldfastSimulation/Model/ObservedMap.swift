/// Extent maps as targets report them.

/// A piece of an extent map. Bytes.
public struct MapExtent: Equatable, Sendable {
  public var logical: UInt64
  public var physical: UInt64
  public var length: UInt64
  /// Mapped and written and not shared: bytes in it can be overwritten in place.
  public var isPlain: Bool
  public init(logical: UInt64, physical: UInt64, length: UInt64, isPlain: Bool) {
    self.logical = logical
    self.physical = physical
    self.length = length
    self.isPlain = isPlain
  }
}

/// A file's map.
public struct ObservedMap: Equatable, Sendable {
  /// `holdfast.generation`: moves on with every change.
  public var generation: UInt64
  public var extents: [MapExtent]
  public init(generation: UInt64 = 0, extents: [MapExtent] = []) {
    self.generation = generation
    self.extents = extents
  }

  /// The extents within `blocks`; all of them for nil.
  func within(_ blocks: Range<UInt64>?) -> [MapExtent] {
    guard let blocks else { return extents }
    let start = blocks.lowerBound * TruthTable.blockBytes
    let end = blocks.upperBound * TruthTable.blockBytes
    return extents.compactMap { extent in
      guard extent.logical < end, extent.logical + extent.length > start else { return nil }
      let from = max(extent.logical, start)
      var part = extent
      part.logical = from
      part.physical = extent.physical + (from - extent.logical)
      part.length = min(extent.logical + extent.length, end) - from
      return part
    }
  }

  /// The extents below `limit`, rounded up to a block.
  func clipped(to limit: UInt64) -> [MapExtent] {
    guard limit < UInt64.max - 4096 else { return extents }
    let end = (limit + 4095) / 4096 * 4096
    return extents.compactMap { extent in
      guard extent.logical < end else { return nil }
      var extent = extent
      extent.length = min(extent.length, end - extent.logical)
      return extent
    }
  }
}

extension MapExtent: CustomStringConvertible {
  public var description: String { "[\(logical)+\(length) at \(physical)\(isPlain ? "" : " unwritten")]" }
}

extension ObservedMap: CustomStringConvertible {
  public var description: String {
    "\(extents.map(\.description).joined(separator: " ")) generation \(generation)"
  }
}
