/// What a run did, for its summary.

import Glibc

public struct StressCounts: Sendable {
  /// By the operation's word.
  public var operations: [String: Int] = [:]
  /// Failures that were expected, by error name.
  public var refusals: [String: Int] = [:]
  /// Operations that named nothing.
  public var skipped = 0
  public var sealsTaken = 0
  public var crashes = 0
  public var remounts = 0
  /// Breakable requests that were asked for, and those taken away.
  public var recalls = 0
  public var fences = 0
  /// Operations that waited for holders, and those of them that were interrupted.
  public var waits = 0
  public var interruptions = 0
  /// Looks at a standing scope's part of a map.
  public var mapChecks = 0
  /// Device errors the volume met.
  public var deviceErrors = 0
  /// Stretches with damaged metadata, and those in which it was met; in the others it did no harm.
  public var mediaFaults = 0
  public var mediaFaultsMet = 0
  public var repairs = 0
  public var total: Int { operations.values.reduce(0, +) }

  public init() {}

  mutating func note(_ operation: Operation, _ outcome: Outcome) {
    operations[operation.word, default: 0] += 1
    if outcome.errno != 0 { refusals[errnoName(outcome.errno), default: 0] += 1 }
    if outcome.errno == 0, operation.takesSeal { sealsTaken += 1 }
  }

  public mutating func add(_ other: StressCounts) {
    operations.merge(other.operations, uniquingKeysWith: +)
    refusals.merge(other.refusals, uniquingKeysWith: +)
    skipped += other.skipped
    sealsTaken += other.sealsTaken
    recalls += other.recalls
    fences += other.fences
    waits += other.waits
    interruptions += other.interruptions
    mapChecks += other.mapChecks
    crashes += other.crashes
    remounts += other.remounts
    deviceErrors += other.deviceErrors
    mediaFaults += other.mediaFaults
    mediaFaultsMet += other.mediaFaultsMet
    repairs += other.repairs
  }
}

extension StressCounts: CustomStringConvertible {
  public var description: String {
    func list(_ table: [String: Int]) -> String {
      table.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    }
    return "\(total) operations (\(list(operations)))\n"
      + "answers other than success: \(refusals.isEmpty ? "none" : list(refusals))\n"
      + "\(sealsTaken) seals taken, \(mapChecks) looks at what they hold, \(recalls) recalled, \(fences) fenced, "
      + "\(waits) operations waited (\(interruptions) interrupted)\n\(remounts) remounts, \(crashes) crashes, \(deviceErrors) device errors, "
      + "\(mediaFaults) faults of metadata (\(mediaFaultsMet) met), \(repairs) repairs, \(skipped) void operations"
  }
}

extension Operation {
  /// The first word of its line.
  var word: String {
    switch self {
    case .create: "create"
    case .open: "open"
    case .close: "close"
    case .makeDirectory: "mkdir"
    case .removeDirectory: "rmdir"
    case .unlink: "unlink"
    case .rename: "rename"
    case .link: "link"
    case .symlink: "symlink"
    case .readSymlink: "readlink"
    case .list: "list"
    case .status: "stat"
    case .read: "read"
    case .write: "write"
    case .append: "append"
    case .truncate: "truncate"
    case .truncateName: "truncate-name"
    case .allocate(_, let mode, _, _): Self.allocationWord(mode)
    case .copy: "copy"
    case .seek: "seek"
    case .relocate: "relocate"
    case .sync: "sync"
    case .syncDirectory: "sync-directory"
    case .syncAll: "sync-all"
    case .mapRead: "map-read"
    case .mapWrite: "map-write"
    case .setMode: "chmod"
    case .setXattr: "setxattr"
    case .getXattr: "getxattr"
    case .removeXattr: "removexattr"
    case .listXattrs: "listxattr"
    case .seal: "seal"
    case .unseal: "unseal"
    case .sealNamed: "seal-named"
    case .unsealNamed: "unseal-named"
    case .sealProcess: "seal-process"
    case .endProcess: "end-process"
    case .sealTimed: "seal-timed"
    case .holderExit: "holder-exit"
    case .unpin: "unpin"
    case .fence: "fence"
    case .revoke: "revoke"
    case .become: "become"
    case .waiting(let operation, _): operation.word
    case .housekeep: "housekeep"
    case .resize: "resize"
    case .remount: "remount"
    case .crash: "crash"
    case .deviceError: "device-error"
    case .mediaFault: "media-fault"
    }
  }

  private static func allocationWord(_ mode: Int) -> String {
    switch mode {
    case 0: "allocate"
    case AllocationMode.keepSize: "allocate-keep-size"
    case AllocationMode.punchHole | AllocationMode.keepSize: "punch-hole"
    case AllocationMode.zeroRange: "zero-range"
    case AllocationMode.zeroRange | AllocationMode.keepSize: "zero-range-keep-size"
    case AllocationMode.collapseRange: "collapse-range"
    case AllocationMode.insertRange: "insert-range"
    default: "fallocate-\(mode)"
    }
  }

  var takesSeal: Bool {
    switch self {
    case .seal, .sealNamed, .sealProcess, .sealTimed, .holderExit: true
    default: false
    }
  }

  /// Requests may have come or gone.
  var concernsSeals: Bool {
    switch self {
    case .seal, .sealNamed, .sealProcess, .sealTimed, .holderExit, .unseal, .unsealNamed, .endProcess, .close, .unpin,
      .fence, .revoke:
      true
    default: false
    }
  }

  /// The handle it is about, for reports.
  var handleSlot: Int? {
    switch self {
    case .close(let slot), .read(let slot, _, _), .write(let slot, _, _, _), .append(let slot, _, _),
      .truncate(let slot, _), .allocate(let slot, _, _, _), .seek(let slot, _, _), .sync(let slot, _),
      .relocate(let slot, _, _, _),
      .mapRead(let slot, _, _), .mapWrite(let slot, _, _, _), .setMode(let slot, _), .setXattr(let slot, _, _, _, _),
      .getXattr(let slot, _), .removeXattr(let slot, _), .listXattrs(let slot), .seal(let slot, _, _),
      .unseal(let slot, _), .unpin(let slot, _, _), .revoke(let slot), .sealNamed(let slot, _, _, _),
      .unsealNamed(let slot, _, _),
      .sealProcess(let slot, _, _, _), .sealTimed(let slot, _, _), .copy(_, _, let slot, _, _):
      slot
    default: nil
    }
  }
}

extension ModelFilesystem {
  /// The file an operation is about.
  func subject(of operation: Operation) -> NodeID? {
    if let slot = operation.handleSlot { return handle(slot)?.node }
    switch operation {
    case .truncateName(let at, _), .open(let at, _, _), .holderExit(let at, _, _), .unlink(let at):
      if case .found(let id) = lookup(at) { return id }
      return nil
    default: return nil
    }
  }

  /// The file a seal is taken on, and how.
  func subject(ofSeal operation: Operation) -> (NodeID, SealSpec)? {
    switch operation {
    case .seal(let slot, _, let spec), .sealNamed(let slot, _, _, let spec), .sealProcess(let slot, _, _, let spec):
      return handle(slot).map { ($0.node, spec) }
    default: return nil
    }
  }
}
