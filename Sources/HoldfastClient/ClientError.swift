/// What a call on a Holdfast file can answer, in words: which operation, on what, which errno, and why.

import Glibc
import HoldfastBase

public struct ClientError: Error, Equatable, Sendable {
  public enum Operation: String, Sendable {
    case open, seal, unseal, prepare, map, holders, seals, revoke, sync, remount, info, attribute
    case recallStatus = "recall status"
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
  /// Only with EINVAL from `seal`.
  public var defect: Defect?

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
    switch operation {
    case .holders, .seals, .info, .recallStatus: "cannot read its \(operation.rawValue)"
    case .map: "cannot read its map"
    case .attribute: "cannot access the attribute"
    default: "cannot \(operation.rawValue)"
    }
  }

  /// Why, and what to do about it where that is known.
  public var explanation: String {
    if let defect {
      return "\(defect.kind.inWords) at byte \(defect.offset), \(defect.length) bytes long: "
        + "seal with --fill to give it blocks, with --as-is to freeze it as it is, or write it first"
    }
    switch (operation, errno) {
    case (_, ENOTCONN), (_, ECONNABORTED): return "the mount's daemon is gone: unmount and mount again"
    case (.open, EINVAL): return "neither a regular file nor a directory"
    case (.open, _): return String(cString: strerror(errno))
    case (_, ENOTTY), (_, ENOSYS): return "not a file on a Holdfast mount"
    case (.seal, EPERM):
      return "the mount's seal_policy does not let you (by default only the file's owner and administrators may)"
    case (.seal, EINVAL):
      return "not a regular file, or options that do not go together"
    case (.seal, EAGAIN): return "a recall of an older request is under way: try again"
    case (.seal, EEXIST): return "a request of that name stands already"
    case (.seal, EDQUOT): return "your limit of requests or sealed bytes on this mount is reached"
    case (.seal, ESRCH): return "no such process"
    case (.seal, ESTALE): return "this handle's request was revoked: open the file again"
    case (.seal, ETXTBSY), (.prepare, ETXTBSY):
      return "filling would change blocks that another request has sealed (see: holdfast why \(path))"
    case (.seal, ENOSPC), (.prepare, ENOSPC): return "not enough free space to fill it"
    case (.unseal, ENODATA): return "no such request"
    case (.unseal, EPERM): return "that request is another's: only its holder releases it, or holdfast revoke"
    case (.unseal, ESTALE): return "the request was revoked already"
    case (.revoke, EPERM), (.remount, EPERM): return "only administrators may"
    case (.revoke, ENODATA), (.revoke, ENOENT): return "no such request"
    case (.remount, EINVAL): return "unknown or malformed option, or one that cannot change while mounted"
    default: return String(cString: strerror(errno))
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
