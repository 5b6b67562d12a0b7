/// A layout's extents, sorted by where they lie in the file, each found by halving. Immutable once filled: any number
/// of threads read it without a lock.
///
/// Invariants: extents ascend and do not overlap, none is empty, all are whole blocks and end within the image;
/// neighbours that go on in the file and on the image in the same state are one.

import CHoldfast
import CPlatform

/// Bytes.
public struct DirectExtent: Equatable, Sendable {
  public enum State: UInt8, Sendable {
    case written
    /// Zeros, and not to be stored into: the map says so, whatever lies there.
    case unwritten
    /// Behind the end of the file and zeroed for a write layout: to be stored into, the file's once the layout is
    /// returned with its new size.
    case prepared
    /// Of other files too: to be read.
    case shared
  }

  public var logical: UInt64
  public var physical: UInt64
  public var length: UInt64
  public var state: State

  public init(logical: UInt64, physical: UInt64, length: UInt64, state: State = .written) {
    self.logical = logical
    self.physical = physical
    self.length = length
    self.state = state
  }

  @inlinable public var logicalEnd: UInt64 { logical + length }
}

public struct ExtentTable: ~Copyable, @unchecked Sendable {
  /// Blocks of the volume (docs/FORMAT.md), and pages of every machine we serve.
  public static let blockBytes: UInt64 = 4096
  /// What one page of the ioctl brings: most files need no second allocation.
  private static let firstCapacity = 16

  public private(set) var count = 0
  private var capacity = 0
  private var extents: UnsafeMutablePointer<DirectExtent>?

  public init() {}

  deinit { extents?.deallocate() }

  public subscript(index: Int) -> DirectExtent { extents![index] }

  /// The last extent that begins at or before `offset`, -1 when there is none.
  func last(before offset: UInt64) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if extents.unsafelyUnwrapped[middle].logical <= offset { low = middle + 1 } else { high = middle }
    }
    return low - 1
  }

  /// Appends; false when it breaks an invariant (an image of `imageBytes`).
  public mutating func append(_ extent: DirectExtent, imageBytes: UInt64) -> Bool {
    let mask = Self.blockBytes - 1
    let (end, overflows) = extent.logical.addingReportingOverflow(extent.length)
    guard extent.length > 0, !overflows, end <= UInt64(Int64.max), extent.physical <= imageBytes,
      extent.length <= imageBytes - extent.physical, (extent.logical | extent.physical | extent.length) & mask == 0
    else { return false }
    if count > 0 {
      let last = extents![count - 1]
      guard last.logicalEnd <= extent.logical else { return false }
      if last.logicalEnd == extent.logical, last.physical + last.length == extent.physical, last.state == extent.state {
        extents![count - 1].length += extent.length
        return true
      }
    }
    if count == capacity { grow() }
    (extents! + count).initialize(to: extent)
    count += 1
    return true
  }

  private mutating func grow() {
    capacity = capacity == 0 ? Self.firstCapacity : capacity * 2
    let larger = UnsafeMutablePointer<DirectExtent>.allocate(capacity: capacity)
    if let extents {
      larger.moveInitialize(from: extents, count: count)
      extents.deallocate()
    }
    extents = larger
  }
}

/// What lies at a place of a file: up to `length` bytes, of an extent or of nothing.
struct Piece {
  /// Bytes from the place to the end of the extent, or hole.
  var length: UInt64
  /// On the image.
  var physical: UInt64
  /// nil: a hole.
  var state: DirectExtent.State?

  /// Else it reads as zeros.
  @inline(__always)
  var isOnImage: Bool { state != nil && state != .unwritten }
}

extension ExtentTable {
  /// What lies at `offset`, cut to `limit` bytes (at least 1).
  @inline(__always)
  func piece(at offset: UInt64, limit: UInt64) -> Piece {
    let index = last(before: offset)
    if index >= 0 {
      let extent = self[index]
      let skipped = offset - extent.logical
      if skipped < extent.length {
        return Piece(
          length: min(extent.length - skipped, limit), physical: extent.physical + skipped, state: extent.state)
      }
    }
    let end = index + 1 < count ? self[index + 1].logical : UInt64.max
    return Piece(length: min(end - offset, limit), physical: 0, state: nil)
  }

  /// In how many pieces a range lies, holes included.
  func pieces(_ offset: UInt64, _ length: UInt64) -> Int {
    var position = offset
    var pieces = 0
    while position < offset + length {
      position += piece(at: position, limit: offset + length - position).length
      pieces += 1
    }
    return pieces
  }

  /// What keeps a range from being stored into or mapped, and in how many pieces it lies.
  func storable(_ offset: UInt64, _ length: UInt64) -> (defect: Defect?, pieces: Int) {
    var position = offset
    let end = offset + length
    var pieces = 0
    while position < end {
      let piece = piece(at: position, limit: end - position)
      let reason: DirectError.Reason
      switch piece.state {
      case .written?, .prepared?:
        position += piece.length
        pieces += 1
        continue
      case .unwritten?: reason = .unwritten
      case .shared?: reason = .shared
      case nil: reason = .hole
      }
      return (Defect(reason: reason, offset: position, length: piece.length), pieces)
    }
    return (nil, pieces)
  }
}
