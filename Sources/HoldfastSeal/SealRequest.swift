/// A request: one taking of a seal, with its kind, scope, lifetime and holder. Values only; what stands is the
/// SealTable's.

import HoldfastBase

public enum SealKind: Equatable, Sendable {
  /// Conflicting operations are refused.
  case hard
  /// Conflicting operations recall the holder and wait at most this long before they fence it.
  case breakable(graceSeconds: UInt32)
}

public enum SealScope: Equatable, Sendable {
  case wholeFile
  /// Bytes as asked for; what is held is `blocks`. The end does not exceed `Limits.fileBytes`.
  case range(byteOffset: UInt64, byteCount: UInt64)

  /// The pinned blocks, rounded outward; nil for the whole file.
  public var blocks: BlockRange? {
    switch self {
    case .wholeFile: nil
    case .range(let offset, let count): .covering(byteOffset: offset, byteCount: count)
    }
  }
}

public enum SealLifetime: Equatable, Sendable {
  /// Until the last reference to this open handle is gone.
  case handle(UInt64)
  /// Until this process (a thread group id) ends.
  case process(Int32)
  /// Until removed, or unmounted.
  case name
  /// Until removed; survives remount.
  case persistent
  /// Until nobody leases the inode any more: the daemon's own, for holders it found when it started.
  case lease
  /// Until every handle is closed that was open when the kernel was told of the map: the daemon's own, for BMAP.
  case kernel

  public var description: String {
    switch self {
    case .handle: "handle"
    case .process: "process"
    case .name: "name"
    case .persistent: "persistent"
    case .lease: "lease"
    case .kernel: "kernel"
    }
  }
}

/// What taking a seal does about a map that is not plain written blocks (rule 4).
public enum SealPreparation: UInt8, Equatable, Sendable {
  /// EINVAL for holes, unwritten and shared extents.
  case verify = 0
  /// Allocate, zero, unshare, fsync, then seal.
  case fill = 1
  /// Seal what there is; holes stay holes.
  case asIs = 2
}

/// What the holder of a layout does through the image; what the kernel's page cache may do meanwhile follows from it
/// (docs/decisions/0009-layouts.md).
public enum LayoutAccess: String, Equatable, Sendable {
  case read
  /// Nobody else uses the page cache.
  case write
  /// Others may: what they see is as of their open.
  case sharedWrite = "shared write"

  public var isWriting: Bool { self != .read }
}

/// What tells requests of one inode apart (rule 10).
public enum RequestIdentity: Hashable, Sendable {
  /// Named, process-bound and persistent requests: user of the taker, and name.
  case named(uid: UInt32, name: String)
  /// Pins of one handle may share a name: their blocks tell them apart. nil: of the whole file.
  case handle(UInt64, name: String, pinned: BlockRange? = nil)
  /// Layouts of one handle are told apart by their blocks, and from its seals and pins. nil: of the whole file.
  case layout(handle: UInt64, pinned: BlockRange?)
  /// The daemon's own, for the leases on an inode; users see it as a default request, which is not theirs to release.
  case lease
  /// The daemon's own, for what the kernel was told of the inode's map; likewise.
  case kernel

  public var name: String {
    switch self {
    case .named(_, let name), .handle(_, let name, _): name
    case .layout, .lease, .kernel: ""
    }
  }

  /// Of those bound to one.
  var handle: UInt64? {
    switch self {
    case .handle(let handle, _, _), .layout(let handle, _): handle
    case .named, .lease, .kernel: nil
    }
  }
}

public struct SealRequest: Equatable, Sendable {
  public var kind: SealKind
  public var scope: SealScope
  public var lifetime: SealLifetime
  /// Not nil: the request is a layout.
  public var layout: LayoutAccess?
  /// Valid by `SealName`; "" is the default request.
  public var name: String
  /// Of the taker. `pid` is its process (thread group), 0 when unknown.
  public var uid: UInt32
  public var gid: UInt32
  public var pid: Int32
  /// Of a breakable request bound to a process: sent to it when it is asked to let go.
  public var signal: Int32?
  /// The request ends by itself this long after it was taken.
  public var ttlSeconds: UInt32?
  /// How the map was made ready; kept for the specification's text only.
  public var preparation: SealPreparation
  /// Name of the taker's command.
  public var command: String
  /// CLOCK_MONOTONIC, nanoseconds; before boot, thus negative, for a persistent request of an earlier one.
  public var takenAt: Int64
  /// Bytes the request holds in place, for the limit per user: the pinned range, or the file's size.
  public var pinnedBytes: UInt64

  public init(
    kind: SealKind = .hard, scope: SealScope = .wholeFile, lifetime: SealLifetime, name: String, taker: Credentials,
    ttlSeconds: UInt32? = nil, preparation: SealPreparation = .verify, command: String = "", pinnedBytes: UInt64 = 0,
    takenAt: Int64 = Clocks.monotonicNanoseconds()
  ) {
    self.kind = kind
    self.scope = scope
    self.lifetime = lifetime
    self.name = name
    uid = taker.uid
    gid = taker.gid
    pid = taker.pid
    self.ttlSeconds = ttlSeconds
    self.preparation = preparation
    self.command = command
    self.takenAt = takenAt
    self.pinnedBytes = pinnedBytes
  }

  /// What stands for the leases a starting daemon finds on an inode: hard, of the whole file. `pid` 0: unknown.
  public init(leasedBy pid: Int32) {
    self.init(
      lifetime: .lease, name: "", taker: Credentials(uid: 0, gid: 0, pid: pid),
      command: pid > 0 ? ProcessInfo.command(of: pid) : "")
    // What they had is not known any more: the most that can be had.
    layout = .write
  }

  /// What stands for the kernel's knowledge of a map, asked for by `asker`.
  init(heldByKernelFor asker: Credentials) {
    self.init(
      lifetime: .kernel, name: "", taker: Credentials(uid: 0, gid: 0, pid: asker.pid),
      command: ProcessInfo.command(of: asker.pid))
  }

  /// The request that `specification` describes: bound to `handle` where one is given, else to the process,
  /// the disk or the name, as it says.
  public init(
    _ specification: SealSpecification, name: String, handle: UInt64? = nil, taker: Credentials,
    defaultGraceSeconds: UInt32, command: String = "", pinnedBytes: UInt64 = 0
  ) {
    let lifetime: SealLifetime =
      if let pid = specification.pid {
        .process(pid)
      } else if specification.isPersistent {
        .persistent
      } else if let handle {
        .handle(handle)
      } else {
        .name
      }
    let kind: SealKind =
      switch specification.kind {
      case .hard: .hard
      case .breakable(let grace): .breakable(graceSeconds: grace ?? defaultGraceSeconds)
      }
    self.init(
      kind: kind, scope: specification.scope, lifetime: lifetime, name: name, taker: taker,
      ttlSeconds: specification.ttlSeconds, preparation: specification.preparation, command: command,
      pinnedBytes: pinnedBytes)
    signal = specification.signal
  }

  public var identity: RequestIdentity {
    switch lifetime {
    case .handle(let handle) where layout != nil: .layout(handle: handle, pinned: scope.blocks)
    case .handle(let handle): .handle(handle, name: name, pinned: scope.blocks)
    case .process, .name, .persistent: .named(uid: uid, name: name)
    case .lease: .lease
    case .kernel: .kernel
    }
  }

  /// The process to name when asked who: the one the request is bound to, else its taker.
  public var holderPid: Int32 { if case .process(let pid) = lifetime { pid } else { pid } }

  public var isPersistent: Bool { lifetime == .persistent }

  /// Bound to somebody who may still be there, an unlinked file or not.
  var hasHolder: Bool {
    switch lifetime {
    case .handle, .process, .lease, .kernel: true
    case .name, .persistent: false
    }
  }

  public var isHandleBound: Bool { if case .handle = lifetime { true } else { false } }

  public var isBreakable: Bool { kind != .hard }

  /// When it ends by itself, on the monotonic clock.
  public var deadline: Int64? { ttlSeconds.map { takenAt + Int64($0) * Clocks.nanosecondsPerSecond } }

  public func isExpired(now: Int64 = Clocks.monotonicNanoseconds()) -> Bool { deadline.map { $0 <= now } ?? false }

  /// The words that would ask for this request.
  public var specification: SealSpecification {
    var result = SealSpecification()
    if case .breakable(let grace) = kind { result.kind = .breakable(graceSeconds: grace) }
    if case .process(let pid) = lifetime { result.pid = pid }
    result.signal = signal
    result.isPersistent = isPersistent
    result.scope = scope
    result.ttlSeconds = ttlSeconds
    result.preparation = preparation
    return result
  }

  var claim: Claim {
    var claim = Claim(isBreakable: isBreakable, pinned: scope.blocks)
    switch lifetime {
    case .handle(let handle): claim.ownerHandle = handle
    case .process(let pid): claim.ownerProcess = pid
    case .name, .persistent, .lease, .kernel: break
    }
    return claim
  }
}
