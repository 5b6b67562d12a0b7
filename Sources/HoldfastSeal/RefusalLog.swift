/// What the gate refused: counters for `holdfast.stats`, and the last refusals for whoever asks why (rule 8).
/// Part of SealTable's state; bounded.

import HoldfastBase

/// A refused change.
public struct RefusalRecord: Equatable, Sendable {
  public var refusal: FSError.Refusal
  public var change: MapChange
  public var actor: Actor
  /// CLOCK_MONOTONIC, nanoseconds.
  public var refusedAt: Int64

  /// `holdfast.last_refusal`: an object.
  public func write(to json: inout JSONWriter, now: Int64 = Clocks.monotonicNanoseconds()) {
    json.beginObject()
    json.member("change", change.kind.rawValue)
    // A thread's, while it lives; a process's first thread has its number anyway.
    let pid = actor.credentials.pid
    json.member("pid", ProcessInfo.process(ofThread: pid) ?? pid)
    json.member("uid", actor.credentials.uid)
    json.member("age_ms", max(0, now - refusedAt) / 1_000_000)
    json.key("request")
    json.beginObject()
    json.member("name", refusal.requestName)
    json.member("uid", refusal.uid)
    json.member("pid", refusal.pid)
    json.endObject()
    json.endObject()
  }
}

/// Totals since mount.
public struct RefusalCounters: Equatable, Sendable {
  private var refused = [UInt64](repeating: 0, count: MapChange.Kind.allCases.count)
  /// Background changes that were skipped (row 16) or wait (row 17).
  public internal(set) var skipped: UInt64 = 0
  /// Changes that did not wait for a recall (O_NONBLOCK, writeback): EAGAIN.
  public internal(set) var recallInFlight: UInt64 = 0
  /// Pages not written back because a layout stood for writing.
  public internal(set) var writeback: UInt64 = 0
  /// Requests that were not granted, by why not.
  public internal(set) var requests = RequestRefusals()

  /// Refused to callers.
  public func count(of kind: MapChange.Kind) -> UInt64 { refused[kind.index] }
  public var total: UInt64 { refused.reduce(0, +) }

  mutating func add(_ kind: MapChange.Kind) { refused[kind.index] += 1 }

  /// Writes an object: one member per kind of change, `skipped`, and those of requests.
  public func write(to json: inout JSONWriter) {
    json.beginObject()
    for kind in MapChange.Kind.allCases { json.member(kind.rawValue, count(of: kind)) }
    json.member("skipped", skipped)
    json.member("recall_in_flight", recallInFlight)
    json.member("writeback", writeback)
    json.key("requests")
    json.beginObject()
    json.member("not_permitted", requests.notPermitted)
    json.member("recall_in_flight", requests.recallInFlight)
    json.member("over_quota", requests.overQuota)
    json.member("stale", requests.stale)
    json.endObject()
    json.endObject()
  }
}

/// What became of breakable requests since mount, for `holdfast.stats`.
public struct RecallCounters: Equatable, Sendable {
  /// Requests whose holders were asked to let go.
  public internal(set) var recalled: UInt64 = 0
  /// Of those, taken away because they did not.
  public internal(set) var fenced: UInt64 = 0
  /// Requests taken away by an administrator.
  public internal(set) var revoked: UInt64 = 0

  mutating func add(_ count: Int, _ how: TakenAway) {
    switch how {
    case .fenced: fenced += UInt64(count)
    case .revoked: revoked += UInt64(count)
    }
  }

  public func write(to json: inout JSONWriter) {
    json.beginObject()
    json.member("recalled", recalled)
    json.member("fenced", fenced)
    json.member("revoked", revoked)
    json.endObject()
  }
}

/// Rows 21, 22, 23 and 28.
public struct RequestRefusals: Equatable, Sendable {
  public internal(set) var notPermitted: UInt64 = 0
  public internal(set) var recallInFlight: UInt64 = 0
  public internal(set) var overQuota: UInt64 = 0
  public internal(set) var stale: UInt64 = 0

  mutating func add(_ error: FSError) {
    switch error {
    case .notPermitted: notPermitted += 1
    case .recallInFlight: recallInFlight += 1
    case .quotaExceeded: overQuota += 1
    case .stale: stale += 1
    default: break
    }
  }
}

struct RefusalLog {
  /// Enough for `why` right after the fact on a busy mount; 64 KiB at most.
  static let capacity = 256

  private(set) var counters = RefusalCounters()
  /// A ring; `next` is the oldest once it is full.
  private var ring: [RefusalRecord] = []
  private var next = 0

  mutating func addRecallInFlight() { counters.recallInFlight += 1 }

  mutating func addWriteback() { counters.writeback += 1 }

  mutating func add(_ error: FSError) { counters.requests.add(error) }

  mutating func add(_ record: RefusalRecord) {
    if record.actor.background || record.change.kind == .reclaim {
      counters.skipped += 1
      return
    }
    counters.add(record.change.kind)
    if ring.count < Self.capacity { ring.append(record) } else { ring[next] = record }
    next = (next + 1) % Self.capacity
  }

  func last(of inode: InodeNumber) -> RefusalRecord? {
    for age in 1...Self.capacity {
      let index = (next - age + Self.capacity) % Self.capacity
      guard index < ring.count else { return nil }
      if ring[index].refusal.inode == inode { return ring[index] }
    }
    return nil
  }
}

extension MapChange.Kind {
  fileprivate var index: Int {
    switch self {
    case .fill: 0
    case .grow: 1
    case .truncate: 2
    case .punch: 3
    case .shift: 4
    case .share: 5
    case .relocate: 6
    case .reclaim: 7
    }
  }
}
