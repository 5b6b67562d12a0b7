/// What exploring crash points came to.

public struct CrashCounts: Equatable, Sendable {
  /// Workloads run, and those that are shorter ones because an action was refused.
  public var workloads = 0
  public var void = 0
  /// Writes and barriers after which a crash was tried.
  public var crashPoints = 0
  /// Crash images held against what was promised at that moment, each once in an operation.
  public var states = 0
  /// Images recovered: others had come up before with the same bytes.
  public var recoveries = 0
  /// Crashes tried in the middle of a recovery.
  public var recoveryCrashes = 0

  public init() {}

  mutating func add(_ other: CrashCounts) {
    workloads += other.workloads
    void += other.void
    crashPoints += other.crashPoints
    states += other.states
    recoveries += other.recoveries
    recoveryCrashes += other.recoveryCrashes
  }
}

extension CrashCounts: CustomStringConvertible {
  public var description: String {
    "\(workloads) workloads (\(void) more are void), \(crashPoints) crash points, \(states) crash states, "
      + "\(recoveries) recoveries, \(recoveryCrashes) crashes in recovery"
  }
}

/// A workload after which something was recovered that must not be.
public struct CrashFinding: Error, CustomStringConvertible, Sendable {
  public var workload: CrashWorkload
  /// The operation in which or after which the power went, and what survived.
  public var crash: String
  public var failure: StressFailure

  public var description: String {
    "workload: \(workload)\ncrash: \(crash)\n\(failure.kind.rawValue): \(failure.message)\nagain: holdfast stress --crash-points --workload '\(workload)'"
  }
}
