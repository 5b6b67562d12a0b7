/// The truth table of docs/SEMANTICS.md stated a second time, from the document alone: what a whole-file hard
/// seal refuses. Nothing here knows how the seal layer decides. Rows are cited by number.

import Glibc

/// A standing request of the model.
public struct ModelSeal: Equatable, Sendable {
  public enum Holder: Equatable, Sendable {
    /// An open handle, by its serial number: dies with it.
    case handle(Int)
    /// A user's name: until removed or unmounted.
    case user(UInt32)
    /// The same, and it survives remount.
    case persistent(UInt32)
    /// A process, by slot: dies with it.
    case process(Int, user: UInt32)
  }
  public var holder: Holder
  public var name: Int

  /// Whether a request of `user` (or of handle `serial`) by this name is this one (rule 10).
  func isOf(user: UInt32, name: Int) -> Bool {
    guard name == self.name else { return false }
    switch holder {
    case .handle: return false
    case .user(let uid), .persistent(let uid), .process(_, let uid): return uid == user
    }
  }
}

enum TruthTable {
  static let blockBytes: UInt64 = 4096

  /// How many of `range`'s bytes, from its start on, lie in mapped, written, unshared blocks.
  static func plainPrefix(_ map: ObservedMap, _ range: Range<UInt64>) -> UInt64 {
    var at = range.lowerBound
    for extent in map.extents where extent.logical + extent.length > at {
      if extent.logical > at || !extent.isPlain || at >= range.upperBound { break }
      at = extent.logical + extent.length
    }
    return min(at, range.upperBound) - range.lowerBound
  }

  /// Whether every block that holds a byte of `range` is mapped, written or not.
  static func isMapped(_ map: ObservedMap, _ range: Range<UInt64>) -> Bool {
    var at = range.lowerBound / blockBytes * blockBytes
    for extent in map.extents where extent.logical + extent.length > at {
      if extent.logical > at || at >= range.upperBound { break }
      at = extent.logical + extent.length
    }
    return at >= range.upperBound
  }

  /// Whether a strict seal finds nothing but written blocks up to the end of the file (rule 4).
  static func isSealable(_ map: ObservedMap, size: UInt64) -> Bool { plainPrefix(map, 0..<size) == size }

  /// Rows 2, 3, 4: how many of the bytes, from `range`'s start on, a write may write; all of them, or the write is refused.
  static func writable(_ map: ObservedMap, size: UInt64, _ range: Range<UInt64>) -> UInt64 {
    guard range.lowerBound < size else { return 0 }
    return plainPrefix(map, range.lowerBound..<min(range.upperBound, size))
  }

  /// Rows 6, 7, 8.
  static func refusesTruncation(size: UInt64, to newSize: UInt64) -> Bool { newSize != size }

  /// Row 9.
  static func refusesOpenTruncating(size: UInt64) -> Bool { size > 0 }

  /// Rows 11, 12, 13. `mode` as of fallocate(2).
  static func refusesAllocation(_ map: ObservedMap, size: UInt64, mode: Int, _ range: Range<UInt64>) -> Bool {
    let keepsSize = mode & AllocationMode.keepSize != 0
    if mode & ~AllocationMode.keepSize != 0 { return true }
    return (!keepsSize && range.upperBound > size) || !isMapped(map, range)
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
