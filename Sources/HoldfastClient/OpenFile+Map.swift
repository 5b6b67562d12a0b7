/// HOLDFAST_IOC_MAP: where a file's bytes lie on the image.

import CHoldfast
import Glibc
import HoldfastBase

/// One piece of a file's map. Bytes.
public struct MappedExtent: Equatable, Sendable {
  public var logical: UInt64
  public var physical: UInt64
  public var length: UInt64
  public var isUnwritten: Bool
  public var isShared: Bool

  public init(logical: UInt64, physical: UInt64, length: UInt64, isUnwritten: Bool = false, isShared: Bool = false) {
    self.logical = logical
    self.physical = physical
    self.length = length
    self.isUnwritten = isUnwritten
    self.isShared = isShared
  }

  public var logicalEnd: UInt64 { logical + length }

  /// As `holdfast.extents` says it: `written`, or a comma-separated list of `unwritten` and `shared`.
  public var flags: String {
    switch (isUnwritten, isShared) {
    case (false, false): "written"
    case (true, false): "unwritten"
    case (false, true): "written,shared"
    case (true, true): "unwritten,shared"
    }
  }
}

/// A file's extents, all of one generation.
public struct FileMap: Equatable, Sendable {
  public var generation: UInt64
  public var extents: [MappedExtent]

  public init(generation: UInt64, extents: [MappedExtent]) {
    self.generation = generation
    self.extents = extents
  }

  /// The first stretch of `size` bytes, or of what is allocated behind them, that keeps a file from being
  /// sealed as it stands. Preallocation beyond the end of the file is no reason.
  public func firstDefect(size: UInt64) -> ClientError.Defect? {
    let end = (size + UInt64(Block.size) - 1) / UInt64(Block.size) * UInt64(Block.size)
    var position: UInt64 = 0
    for extent in extents where extent.logical < end {
      if extent.logical > position {
        return .init(kind: .hole, offset: position, length: extent.logical - position)
      }
      let length = min(extent.length, end - extent.logical)
      if extent.isUnwritten { return .init(kind: .unwritten, offset: extent.logical, length: length) }
      if extent.isShared { return .init(kind: .shared, offset: extent.logical, length: length) }
      position = extent.logicalEnd
    }
    return position < end ? .init(kind: .hole, offset: position, length: end - position) : nil
  }
}

extension OpenFile {
  /// The whole map. Read again from the start when it changed meanwhile, at most `attempts` times (then the
  /// pages read last are what you get, as good as any map of a file somebody is changing).
  /// `limit`: stop behind so many extents.
  public func map(limit: Int = .max, attempts: Int = 4) throws(ClientError) -> FileMap {
    var attempt = 1
    while true {
      let (map, isConsistent) = try readMap(limit: limit)
      if isConsistent || attempt >= attempts { return map }
      attempt += 1
    }
  }

  private func readMap(limit: Int) throws(ClientError) -> (FileMap, isConsistent: Bool) {
    var argument = holdfast_map()
    var map = FileMap(generation: 0, extents: [])
    var isConsistent = true
    while map.extents.count < limit {
      argument.version = UInt32(HOLDFAST_ABI_VERSION)
      argument.count = 0
      argument.offset = map.extents.last?.logicalEnd ?? 0
      argument.generation = 0
      let code = control(holdfast_ioc_map, &argument)
      guard code == 0 else { throw ClientError(.map, path: path, errno: code) }
      if map.extents.isEmpty { map.generation = argument.generation }
      isConsistent = isConsistent && map.generation == argument.generation
      let count = Int(min(argument.count, UInt32(HOLDFAST_MAP_EXTENTS)))
      if count == 0 { break }
      let end = map.extents.last?.logicalEnd
      withUnsafeBytes(of: &argument.extents) { bytes in
        for extent in bytes.bindMemory(to: holdfast_extent.self).prefix(min(count, limit - map.extents.count)) {
          map.extents.append(
            MappedExtent(
              logical: extent.logical, physical: extent.physical, length: extent.length,
              isUnwritten: extent.flags & HOLDFAST_EXTENT_UNWRITTEN != 0,
              isShared: extent.flags & HOLDFAST_EXTENT_SHARED != 0))
        }
      }
      guard let newEnd = map.extents.last?.logicalEnd, newEnd > end ?? 0 else {
        throw ClientError(.map, path: path, errno: EIO)
      }
    }
    return (map, isConsistent)
  }
}
