/// What direct access can answer: which step, why, where, with the errno a program sees. No text: who has strings makes
/// sentences of it (`DirectError.explanation` in HoldfastClient); this must do without (Embedded Swift).

import CPlatform

public struct DirectError: Error, Equatable, Sendable {
  public enum Step: UInt8, Sendable {
    case openImage, identify, lease, getLayout, returnLayout, read, write, map, sync
  }

  public enum Reason: UInt8, Sendable {
    /// The kernel, or the daemon, answered with `errno`.
    case system
    /// What was opened is not the image that is mounted (EXDEV): another file, or another device node over the same
    /// bytes, whose locks the daemon does not see.
    case otherImage
    /// The mount does not say which image it has, or its name is longer than a path (ENOENT).
    case noImageName
    /// The inode's number is not what the layout says, or its extents overlap, leave the image or come in the wrong
    /// order (EPROTO): the daemon is not one of this version.
    case protocolViolation
    /// Not within the layout (ERANGE).
    case outsideLayout
    /// The range holds a hole, unwritten blocks, or blocks of another file too (EINVAL): `defectOffset`,
    /// `defectLength`.
    case hole, unwritten, shared
    /// A layout, or an image, opened only for reading (EACCES).
    case readOnly
    /// A range that is empty, not aligned to pages, or too long (EINVAL).
    case malformedRange
    /// More pieces than a process may map (ENOMEM): `pieces`.
    case tooManyPieces
    /// Other handles use the page cache (EBUSY): `busyCount`, `busy`.
    case busy
    /// Taken away: fenced or revoked (ESTALE).
    case fenced
  }

  /// Processes that EBUSY names, 0 where there is none.
  public typealias Processes = (Int32, Int32, Int32, Int32, Int32, Int32, Int32)

  public var step: Step
  public var reason: Reason
  public var errno: Int32
  /// Bytes of the file.
  public var defectOffset: UInt64 = 0
  public var defectLength: UInt64 = 0
  public var pieces = 0
  public var busyCount: UInt32 = 0
  public var busy: Processes = (0, 0, 0, 0, 0, 0, 0)

  public init(_ step: Step, errno: Int32) {
    self.step = step
    self.errno = errno
    reason = errno == ESTALE ? .fenced : .system
  }

  public init(_ step: Step, _ reason: Reason) {
    self.step = step
    self.reason = reason
    errno =
      switch reason {
      case .system: EIO
      case .otherImage: EXDEV
      case .noImageName: ENOENT
      case .protocolViolation: EPROTO
      case .outsideLayout: ERANGE
      case .hole, .unwritten, .shared, .malformedRange: EINVAL
      case .readOnly: EACCES
      case .tooManyPieces: ENOMEM
      case .busy: EBUSY
      case .fenced: ESTALE
      }
  }

  init(_ step: Step, _ defect: Defect) {
    self.init(step, defect.reason)
    defectOffset = defect.offset
    defectLength = defect.length
  }

  public static func == (a: DirectError, b: DirectError) -> Bool {
    a.step == b.step && a.reason == b.reason && a.errno == b.errno && a.defectOffset == b.defectOffset
      && a.defectLength == b.defectLength && a.pieces == b.pieces && a.busyCount == b.busyCount
      && a.busy.0 == b.busy.0 && a.busy.1 == b.busy.1 && a.busy.2 == b.busy.2 && a.busy.3 == b.busy.3
      && a.busy.4 == b.busy.4 && a.busy.5 == b.busy.5 && a.busy.6 == b.busy.6
  }
}

/// The first stretch of a range that is not what it must be. Bytes of the file.
struct Defect {
  var reason: DirectError.Reason
  var offset: UInt64
  var length: UInt64
}
