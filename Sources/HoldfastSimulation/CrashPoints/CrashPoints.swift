/// `holdfast stress --crash-points`: which workloads, by how many threads, and what came of it.

import Glibc
import HoldfastBase

public struct CrashPointOptions: Sendable {
  /// Actions in a workload, 1 to 3.
  public var length = 1
  /// Workloads drawn by the seed; 0 for all there are.
  public var samples = 0
  public var seed: UInt64 = 1
  /// Threads.
  public var jobs = 1
  /// Only this workload, every step of it.
  public var workload: CrashWorkload?
  /// Crashes in the middle of every recovery, too.
  public var recoveryCrashes = false
  /// Called now and then with parts of the work done and wanted.
  public var progress: (@Sendable (Int, Int) -> Void)?
  /// Makes the device lie while the workload runs, or while it is recovered: for tests of the explorer.
  var deviceFaults: (@Sendable (inout DeviceFaults) -> Void)?
  var recoveryFaults: (@Sendable (inout DeviceFaults) -> Void)?

  public init() {}
}

public struct CrashPointOutcome: Sendable {
  public var counts = CrashCounts()
  /// Nil: everything held.
  public var finding: CrashFinding?

  public init() {}
}

public func runCrashPoints(_ options: CrashPointOptions) -> CrashPointOutcome {
  ProcessMemory.keepFreed()
  let base: CrashBase
  do throws(StressFailure) {
    base = try CrashBase()
  } catch {
    var outcome = CrashPointOutcome()
    outcome.finding = CrashFinding(workload: CrashWorkload(steps: []), crash: "none", failure: error)
    return outcome
  }
  let work = CrashWork(options, base)
  Threads.run(options.jobs) { _ in
    let explorer = CrashExplorer(base: base, options: options)
    var finding: CrashFinding?
    do throws(CrashFinding) {
      while let workloads = work.next() {
        for workload in workloads {
          try explorer.explore(workload, from: options.workload == nil ? workload.steps.count - 1 : 0)
        }
      }
    } catch {
      finding = error
    }
    work.finish(explorer.counts, finding)
  }
  return work.outcome
}

/// The workloads in parts, and what the threads found.
private final class CrashWork: @unchecked Sendable {
  /// Drawn workloads are handed out so many at a time.
  private static let drawnPart = 50

  private let lock = Lock()
  private let options: CrashPointOptions
  private let base: CrashBase
  private let parts: Int
  private var given = 0
  private var stopped = false
  private var random: SeededRandom
  private(set) var outcome = CrashPointOutcome()

  init(_ options: CrashPointOptions, _ base: CrashBase) {
    self.options = options
    self.base = base
    random = SeededRandom(seed: options.seed)
    if options.workload != nil {
      parts = 1
    } else if options.samples > 0 {
      parts = (options.samples + Self.drawnPart - 1) / Self.drawnPart
    } else {
      parts = options.length == 1 ? 1 : CrashAction.all.count
    }
  }

  /// Workloads that share images come together, so that one thread's recoveries serve all of them.
  func next() -> [CrashWorkload]? {
    lock.lock()
    defer { lock.unlock() }
    guard given < parts, !stopped else { return nil }
    given += 1
    options.progress?(given - 1, parts)
    if let workload = options.workload { return [workload] }
    guard options.samples > 0 else {
      return options.length == 1 ? CrashWorkload.single : CrashWorkload.pairs(CrashAction.all[given - 1])
    }
    let count = min(Self.drawnPart, options.samples - (given - 1) * Self.drawnPart)
    return (0..<count).map { _ in CrashWorkload(length: options.length, drawnFrom: &random, base.model) }
  }

  func finish(_ counts: CrashCounts, _ finding: CrashFinding?) {
    lock.withLock {
      outcome.counts.add(counts)
      guard let finding else { return }
      stopped = true
      if outcome.finding == nil { outcome.finding = finding }
    }
  }
}

extension CrashWorkload {
  /// Every workload of one action.
  static var single: [CrashWorkload] {
    CrashAction.all.flatMap { action in
      PersistencePoint.allCases.map { CrashWorkload(steps: [Step(action: action, point: $0)]) }
    }
  }

  /// Every workload of two actions that begins with `first`; those that may share images one behind the other.
  static func pairs(_ first: CrashAction) -> [CrashWorkload] {
    CrashAction.all.flatMap { second in
      PersistencePoint.between.flatMap { between in
        PersistencePoint.allCases.map { last in
          CrashWorkload(steps: [Step(action: first, point: between), Step(action: second, point: last)])
        }
      }
    }
  }

  /// One of `length` actions that is possible from `start`, drawn.
  init(length: Int, drawnFrom random: inout SeededRandom, _ start: ModelFilesystem) {
    repeat {
      steps = (0..<length).map { index in
        let points = index + 1 < length ? PersistencePoint.between : PersistencePoint.allCases
        return Step(action: random.pick(CrashAction.all), point: random.pick(points))
      }
    } while !isPossible(from: start)
  }
}
