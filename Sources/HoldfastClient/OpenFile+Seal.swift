/// HOLDFAST_IOC_SEAL, _UNSEAL, _PIN, _UNPIN.

import CHoldfast
import Glibc
import HoldfastBase

/// A request for a seal, as `struct holdfast_seal` says it.
public struct SealRequest: Equatable, Sendable {
  public enum Kind: Equatable, Sendable {
    case hard
    /// Conflicting operations recall it and wait `graceSeconds` (nil: the mount's default).
    case breakable(graceSeconds: UInt32?)
  }

  public enum Lifetime: Equatable, Sendable {
    /// Until the last reference to the handle is gone.
    case handle
    /// Until released by name, or the unmount.
    case named
    /// Named, and across remounts.
    case persistent
  }

  public enum Preparation: Equatable, Sendable {
    /// The range must be plain written blocks, else EINVAL with the defect.
    case none
    /// Allocate, zero, unshare and sync first.
    case fill
    /// Freeze what there is; holes stay holes.
    case asIs
  }

  /// 0 to 64 of `A-Za-z0-9_-`; empty is the default request.
  public var name = ""
  public var kind = Kind.hard
  public var lifetime = Lifetime.handle
  public var preparation = Preparation.none
  /// A pin: bytes of the file, rounded outward to blocks; nil the whole file.
  public var range: (offset: UInt64, length: UInt64)?
  /// Ends by itself after so many seconds; 0 never.
  public var ttlSeconds: UInt32 = 0
  /// Bound to this process's life; 0 to none.
  public var pid: Int32 = 0
  /// Breakable, with `pid`: sent to that process when it is asked to let go, 1 to 64; 0 none.
  public var signal: UInt32 = 0
  /// EEXIST instead of replacing a request of the same name.
  public var onlyIfNew = false

  public init() {}

  public static func == (a: SealRequest, b: SealRequest) -> Bool {
    a.name == b.name && a.kind == b.kind && a.lifetime == b.lifetime && a.preparation == b.preparation
      && a.range?.offset == b.range?.offset && a.range?.length == b.range?.length
      && a.ttlSeconds == b.ttlSeconds && a.pid == b.pid && a.signal == b.signal
      && a.onlyIfNew == b.onlyIfNew
  }

  /// True when `name` is one the ABI takes.
  public static func isValid(name: String) -> Bool {
    name.utf8.count <= 64
      && name.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
          true
        default: false
        }
      }
  }
}

/// What a granted or released request leaves behind.
public struct SealState: Equatable, Sendable {
  /// Of the file's extent map.
  public var generation: UInt64
  /// Standing requests of the file.
  public var sealCount: UInt64
}

extension OpenFile {
  /// Takes `request` on this file: SEAL, or with a range PIN. Pins of one handle are told apart by name and blocks, so
  /// that many stand beside each other; each counts, and each is released by itself.
  /// - Throws: EPERM, EINVAL (with the defect when the map is why), EAGAIN, EEXIST, EDQUOT, ESRCH, ETXTBSY and
  ///   ENOSPC (fill), EOPNOTSUPP; SEMANTICS' rows 20–23.
  @discardableResult
  public func seal(_ request: SealRequest) throws(ClientError) -> SealState {
    var argument = try argument(named: request.name, lifetime: request.lifetime, .seal)
    switch request.preparation {
    case .none: break
    case .fill: argument.flags |= HOLDFAST_SEAL_FILL
    case .asIs: argument.flags |= HOLDFAST_SEAL_AS_IS
    }
    if case .breakable(let grace) = request.kind {
      argument.flags |= HOLDFAST_SEAL_BREAKABLE
      argument.grace_seconds = grace ?? 0
    }
    if request.lifetime == .persistent { argument.flags |= HOLDFAST_SEAL_PERSISTENT }
    if request.onlyIfNew { argument.flags |= HOLDFAST_SEAL_CREATE }
    argument.ttl_seconds = request.ttlSeconds
    argument.pid = request.pid
    argument.signal = request.signal
    argument.offset = request.range?.offset ?? 0
    argument.length = request.range?.length ?? 0
    let code = control(request.range == nil ? holdfast_ioc_seal : holdfast_ioc_pin, &argument)
    guard code == 0 else {
      throw ClientError(.seal, path: path, errno: code, defect: code == EINVAL ? defect(of: argument) : nil)
    }
    return SealState(generation: argument.generation, sealCount: argument.seal_count)
  }

  /// Releases the request `name`: this handle's, or with `lifetime` named or persistent the caller's own named one.
  /// - Throws: ENODATA (no such request), EPERM (another's), ESTALE (fenced or revoked); rows 24, 25 and 28.
  ///
  /// With `range` a pin, named by the range it was taken with: UNPIN. It works while an operation waits for it.
  @discardableResult
  public func unseal(
    name: String = "", lifetime: SealRequest.Lifetime = .handle, range: (offset: UInt64, length: UInt64)? = nil
  ) throws(ClientError) -> SealState {
    var argument = try argument(named: name, lifetime: lifetime, .unseal)
    argument.offset = range?.offset ?? 0
    argument.length = range?.length ?? 0
    let code = control(range == nil ? holdfast_ioc_unseal : holdfast_ioc_unpin, &argument)
    guard code == 0 else { throw ClientError(.unseal, path: path, errno: code) }
    return SealState(generation: argument.generation, sealCount: argument.seal_count)
  }

  private func argument(
    named name: String, lifetime: SealRequest.Lifetime, _ operation: ClientError.Operation
  ) throws(ClientError) -> holdfast_seal {
    guard SealRequest.isValid(name: name) else { throw ClientError(operation, path: path, errno: EINVAL) }
    var argument = holdfast_seal()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    if lifetime != .handle { argument.flags |= HOLDFAST_SEAL_NAMED }
    withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: name.utf8) }
    return argument
  }

  private func defect(of argument: holdfast_seal) -> ClientError.Defect? {
    let kind: FSError.MapDefect
    switch argument.defect {
    case HOLDFAST_DEFECT_HOLE: kind = .hole
    case HOLDFAST_DEFECT_UNWRITTEN: kind = .unwritten
    case HOLDFAST_DEFECT_SHARED: kind = .shared
    default: return nil
    }
    return ClientError.Defect(kind: kind, offset: argument.defect_offset, length: argument.defect_length)
  }
}
