/// What the gate is asked: one change to a file's extent map, and who makes it. Values only.
///
/// A change names every file block whose mapping may appear, disappear, move or become shared. What changes no
/// mapping and no size (overwriting written blocks, row 2; truncating to the same size, row 8) is no change:
/// do not ask.

import HoldfastBase

/// One change to a file's extent map, as the gate judges it. Blocks are file blocks. The rows are those of the
/// truth table in docs/SEMANTICS.md.
public struct MapChange: Equatable, Sendable {
  public enum Kind: String, CaseIterable, Sendable {
    /// Rows 3, 11: fills holes, converts unwritten extents or unshares, within the size. Additive.
    case fill
    /// Rows 4, 7, 11: the size grows, or blocks beyond EOF are allocated. Additive.
    case grow
    /// Rows 6, 9: blocks from `blocks.start` on go. Subtractive.
    case truncate
    /// Row 12: punch hole, zero range. Subtractive.
    case punch
    /// Row 13: collapse or insert range; everything from `blocks.start` on moves. Subtractive.
    case shift
    /// Row 14: blocks become shared with another file, on either side. Subtractive.
    case share
    /// Row 15: the same contents at another place. Subtractive.
    case relocate
    /// Row 17: the blocks of an unlinked inode after its last user. Waits until no request stands.
    case reclaim
  }

  public var kind: Kind
  /// The file blocks that change. A pin is judged by these: for `grow` only the blocks that *gain* a mapping
  /// (none when the size alone grows, be it within an allocated last block). A `fill` of no blocks is always
  /// allowed: an overwrite that needs a permit for form's sake.
  public var blocks: BlockRange

  public init(kind: Kind, blocks: BlockRange) {
    self.kind = kind
    self.blocks = blocks
  }

  /// Stands for "to the end" in `blocks`; beyond every block a file can have.
  public static let endOfMap = UInt64.max / 2

  public static func fill(_ blocks: BlockRange) -> MapChange { MapChange(kind: .fill, blocks: blocks) }

  /// The size grows, and `blocks` beyond EOF gain a mapping (empty when none does).
  public static func grow(mapping blocks: BlockRange) -> MapChange { MapChange(kind: .grow, blocks: blocks) }

  /// A shrinking truncation to `byteCount` bytes. A block cut in its middle counts as cut (row 6).
  public static func truncate(toByteCount byteCount: UInt64) -> MapChange {
    MapChange(kind: .truncate, blocks: BlockRange(from: byteCount >> UInt64(Block.shift), to: endOfMap))
  }

  /// Punch hole or zero range over bytes, rounded outward to blocks.
  public static func punch(byteOffset: UInt64, byteCount: UInt64) -> MapChange {
    MapChange(kind: .punch, blocks: .covering(byteOffset: byteOffset, byteCount: byteCount))
  }

  /// Collapse or insert range at `byteOffset`.
  public static func shift(fromByte byteOffset: UInt64) -> MapChange {
    MapChange(kind: .shift, blocks: BlockRange(from: byteOffset >> UInt64(Block.shift), to: endOfMap))
  }

  public static let reclaim = MapChange(kind: .reclaim, blocks: BlockRange(from: 0, to: endOfMap))
}

extension MapChange {
  /// Which requests a change can meet, by their scope.
  struct Reach: Equatable {
    /// Requests of the whole file.
    var meetsWholeFile: Bool
    /// Pins that overlap these blocks.
    var pins: BlockRange
  }

  var reach: Reach {
    switch kind {
    // Row 2: what names no block changes none. Row 3 "in R", row 11 "ok outside R", rows 12, 14, 15 "on overlap".
    case .fill, .punch, .share, .relocate: Reach(meetsWholeFile: !blocks.isEmpty, pins: blocks)
    // Rows 4 and 7: the size is part of the whole. They are ok for pins because what grows lies outside R; where R
    // itself reaches beyond EOF, blocks appearing in it would break the promise.
    case .grow: Reach(meetsWholeFile: true, pins: blocks)
    // Rows 6 and 9: "if it cuts R". Row 13: "if offset < end(R)". Both reach from their start to the end.
    case .truncate, .shift:
      Reach(meetsWholeFile: true, pins: BlockRange(from: blocks.start, to: Self.endOfMap))
    // Row 17: the inode goes as a whole.
    case .reclaim: Reach(meetsWholeFile: true, pins: BlockRange(from: 0, to: Self.endOfMap))
    }
  }
}

/// Who makes a change.
public struct Actor: Equatable, Sendable {
  public var credentials: Credentials
  /// The open handle it comes through, where there is one.
  public var handle: UInt64?
  /// The daemon's own work (row 16): a refusal then means skip, and nobody is recalled.
  public var background: Bool
  /// Parks while holders are recalled; else it is told to try again (O_NONBLOCK, writeback).
  public var waits: Bool
  /// The layout that is being returned with the change: whatever its kind, it ends with it.
  public var returning: UInt64?

  public init(credentials: Credentials, handle: UInt64?, background: Bool = false, waits: Bool = false) {
    self.credentials = credentials
    self.handle = handle
    self.background = background
    self.waits = waits
  }

  public static let daemon = Actor(credentials: .daemon, handle: nil, background: true)
}

extension BlockRange {
  /// The blocks that hold any of `byteCount` bytes from `byteOffset` on.
  /// - Precondition: the end does not exceed `Limits.fileBytes`.
  public static func covering(byteOffset: UInt64, byteCount: UInt64) -> BlockRange {
    guard byteCount > 0 else { return BlockRange(start: byteOffset >> UInt64(Block.shift), count: 0) }
    return BlockRange(from: byteOffset >> UInt64(Block.shift), to: Block.count(covering: byteOffset + byteCount))
  }
}
