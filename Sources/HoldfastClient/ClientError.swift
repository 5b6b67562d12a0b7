/// What a call on a Holdfast file can answer, in words: which operation, on what, which errno, and why.

import Glibc
import HoldfastBase
import HoldfastDirect

public struct ClientError: Error, Equatable, Sendable {
  public enum Operation: String, Sendable {
    case open, seal, unseal, prepare, defragment, map, holders, seals, revoke, sync, remount, info, attribute, resize
    case recallStatus = "recall status"
    case layout, read, write
    case layoutReturn = "return the layout"
    case directMap = "map the blocks"
    case directUnmap = "unmap the blocks"
    case image = "use the image"
    case imageSync = "sync the image"
  }

  /// The stretch of a file that kept it from being sealed as it stands. Bytes of the file.
  public struct Defect: Equatable, Sendable {
    public var kind: FSError.MapDefect
    public var offset: UInt64
    public var length: UInt64
    public init(kind: FSError.MapDefect, offset: UInt64, length: UInt64) {
      self.kind = kind
      self.offset = offset
      self.length = length
    }
  }

  public var operation: Operation
  public var path: String
  public var errno: Int32
  /// Only with EINVAL from `seal`, and where direct access met it.
  public var defect: Defect?
  /// What direct access says.
  public internal(set) var direct: DirectError?
  /// The image it was about, where that was opened.
  public internal(set) var image: String?

  /// Why its mappings cannot be pinned for long, where that is what was asked.
  public internal(set) var pinning: PinningObstacle?

  public init(_ operation: Operation, path: String, errno: Int32, defect: Defect? = nil) {
    self.operation = operation
    self.path = path
    self.errno = errno
    self.defect = defect
  }
}

extension ClientError: CustomStringConvertible {
  /// `PATH: cannot OPERATION: explanation`, one line.
  public var description: String { "\(path): \(what): \(explanation)" }

  private var what: String {
    if pinning != nil { return "cannot pin mappings for long" }
    return switch operation {
    case .holders, .seals, .info, .recallStatus: "cannot read its \(operation.rawValue)"
    case .map: "cannot read its map"
    case .attribute: "cannot access the attribute"
    case .layout: "cannot get a layout"
    default: "cannot \(operation.rawValue)"
    }
  }

  /// Why, and what to do about it where that is known.
  public var explanation: String {
    if let pinning { return pinning.description }
    if let directExplanation { return directExplanation }
    if let defect {
      return "\(defect.kind.inWords) at byte \(defect.offset), \(defect.length) bytes long: "
        + "seal with --fill to give it blocks, with --as-is to freeze it as it is, or write it first"
    }
    return switch (operation, errno) {
    case (_, ENOTCONN), (_, ECONNABORTED): "the mount's daemon is gone: unmount and mount again"
    case (_, EIO):
      "input/output error: the volume was shut down after an error, or its image is damaged or failing (see: "
        + "holdfast info of the mount)"
    case (.open, EINVAL): "neither a regular file nor a directory"
    case (.open, _): String(cString: strerror(errno))
    case (_, ENOTTY), (_, ENOSYS): "not a file on a Holdfast mount"
    case (.seal, _): sealing
    case (.prepare, _): preparing
    case (.defragment, _): defragmenting
    case (.unseal, ENODATA): "no such request"
    case (.unseal, EPERM): "that request is another's: only its holder releases it, or holdfast revoke"
    case (.unseal, ESTALE), (.recallStatus, ESTALE):
      "it was taken away already (fenced or revoked): open the file again to seal it anew"
    case (.recallStatus, EINTR): "a signal came while waiting for a recall"
    case (.holders, ESTALE), (.seals, ESTALE), (.info, ESTALE):
      "too many others read such lists at the same time: try again"
    case (.revoke, EPERM), (.remount, EPERM), (.resize, EPERM): "only administrators may"
    case (.resize, _): resizing
    case (.revoke, ENODATA), (.revoke, ENOENT): "no such request"
    case (.remount, EINVAL): "unknown or malformed option, or one that cannot change while mounted"
    default: String(cString: strerror(errno))
    }
  }

  private var sealing: String {
    switch errno {
    case EPERM:
      "the mount's seal_policy does not let you (by default only the file's owner and administrators may), or the "
        + "process to signal is another user's, or the grace is longer than the mount's, which only administrators may ask for"
    case EINVAL: "not a regular file, or options that do not go together"
    case EAGAIN:
      "a holder was asked to let go of the file, and until that has ended nobody may seal it: try again (see: holdfast "
        + "seals \(path))"
    case EEXIST: "a request of that name stands already"
    case EDQUOT:
      "your limit of requests or sealed bytes on this mount is reached: release some, or mount with a larger max_seals "
        + "or max_pinned"
    case ESRCH: "no such process"
    case ESTALE: "this handle's request was taken away (fenced or revoked): open the file again"
    case ETXTBSY: "filling would change blocks that another request has sealed (see: holdfast why \(path))"
    case ENOSPC: "not enough free space to fill it"
    case EROFS: "the mount is read-only: nothing can be filled, and no seal kept, there"
    default: String(cString: strerror(errno))
    }
  }

  private var resizing: String {
    switch errno {
    case EBUSY: "it is being resized already"
    case EINTR: "a signal came: the size is what it was"
    case EAGAIN: "files went on taking the place that was to become free: try again"
    case EINVAL: "grow takes no size below the volume's, shrink none above it"
    case ENOSPC: "not enough space: on the device, where the image lies, or for what has to move"
    case EROFS: "the volume is read-only"
    default: String(cString: strerror(errno))
    }
  }

  private var preparing: String {
    switch errno {
    case EAGAIN: "holders were asked to let go, and this handle does not wait for them (O_NONBLOCK): try again"
    case EINTR: "a signal came while waiting for holders to let go, who still will: try again"
    case ETXTBSY:
      "it would change blocks that a request has sealed (see: holdfast why \(path)), or move what a process maps"
    case ENOSPC: "not enough free space to fill it"
    case EBADF: "the file is not open for writing"
    default: String(cString: strerror(errno))
    }
  }
}

extension ClientError {
  private var defragmenting: String {
    switch errno {
    case EAGAIN: "holders were asked to let go, and this handle does not wait for them (O_NONBLOCK): try again"
    case EINTR: "a signal came: what was moved stays, and the rest goes on with the next try"
    case ETXTBSY:
      "a request holds its blocks in place (see: holdfast why \(path)), or a process maps them; --skip leaves those alone"
    case EPERM: "only its owner, administrators and who has it open for writing may"
    case EINVAL: "not a regular file"
    default: String(cString: strerror(errno))
    }
  }
}

extension FSError.MapDefect {
  /// As messages name it.
  public var inWords: String {
    switch self {
    case .hole: "a hole"
    case .unwritten: "preallocated but unwritten blocks"
    case .shared: "blocks shared with another file"
    }
  }
}
