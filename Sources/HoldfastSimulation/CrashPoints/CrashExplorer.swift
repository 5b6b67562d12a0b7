/// Runs workloads over a recorded device and tries every crash point of each: after every write and every barrier, with
/// the fates of `CrashStates` for what was in flight.
///
/// Used by one thread. Workloads start from one prepared image; devices are rewound, not copied.

import HoldfastBase
import HoldfastStore

final class CrashExplorer {
  private let base: CrashBase
  private let options: CrashPointOptions
  private let live: SimulatedDevice
  private let medium: SimulatedDevice
  private let results = TargetResults(capacity: CrashBase.maximumFileBytes + 65536)
  private let recording = DeviceRecording()
  private var recovery: CrashRecovery
  private var ownCounts = CrashCounts()

  var counts: CrashCounts {
    var counts = ownCounts
    counts.recoveries = recovery.recoveries
    counts.recoveryCrashes = recovery.crashes
    return counts
  }

  init(base: CrashBase, options: CrashPointOptions) {
    self.base = base
    self.options = options
    live = SimulatedDevice(rewindingTo: base.device)
    medium = SimulatedDevice(rewindingTo: base.device)
    recovery = CrashRecovery(base: base, device: medium, options: options)
  }

  /// Runs a workload and tries its crash points from step `first` on: those before are a shorter workload's.
  func explore(_ workload: CrashWorkload, from first: Int) throws(CrashFinding) {
    guard workload.isPossible(from: base.model) else {
      ownCounts.void += 1
      return
    }
    var run = Run(
      workload: workload, image: CrashImage(recording, on: medium), random: SeededRandom(seed: options.seed))
    do throws(StressFailure) {
      try SimulatedTime.run(from: CrashBase.time) { () throws(StressFailure) in try explore(&run, from: first) }
    } catch {
      let crash = run.fates.map { "\(run.moment), \(run.image.describe($0))" } ?? run.moment
      throw CrashFinding(workload: workload, crash: crash, failure: error)
    }
  }

  /// One workload under way.
  private struct Run {
    let workload: CrashWorkload
    var image: CrashImage
    var random: SeededRandom
    /// Images examined since the operation began, or since it ended.
    var seen: Set<UInt64> = []
    /// For reports: the operation, and what was tried last.
    var moment = ""
    var fates: [WriteFate]?
  }

  private func explore(_ run: inout Run, from first: Int) throws(StressFailure) {
    live.rewind()
    recording.removeAll()
    live.recording = recording
    let target = try StoreTarget(mounting: live, options: CrashBase.storeOptions, results: results)
    let runner = StressRunner(target: target, model: ModelFilesystem(copying: base.model))
    // The last thing a mount does is a barrier: what it wrote is durable.
    run.image.advance(to: recording.events.count)
    if let faults = options.deviceFaults { live.injectFaults(faults) }
    for (index, step) in run.workload.steps.enumerated() {
      guard
        let action = runner.model.operations(of: step.action, step: index),
        try perform(action, runner, &run, explores: index >= first),
        let point = runner.model.operations(of: step.point, behind: step.action, step: index),
        try perform(point, runner, &run, explores: index >= first)
      else {
        ownCounts.void += 1
        return
      }
    }
    ownCounts.workloads += 1
  }

  /// Performs operations and tries the crash points in and behind each; false when one was refused.
  private func perform(
    _ operations: [Operation], _ runner: StressRunner<StoreTarget>, _ run: inout Run, explores: Bool
  ) throws(StressFailure) -> Bool {
    for operation in operations {
      run.moment = "in \(operation)"
      run.fates = nil
      let before = ModelFilesystem(copying: runner.model)
      let sealedMaps = runner.sealedMaps
      try runner.step(operation, index: 0)
      guard runner.lastOutcome.errno == 0 else { return false }
      if explores {
        let promise = CrashPromise(during: operation, runner.lastOutcome, before: before, sealedMaps: sealedMaps)
        try explore(operation, promise, runner, &run)
      }
      run.image.advance(to: recording.events.count)
    }
    return true
  }

  /// The crash points in and behind an operation that was just done.
  private func explore(
    _ operation: Operation, _ promise: CrashPromise, _ runner: StressRunner<StoreTarget>, _ run: inout Run
  ) throws(StressFailure) {
    let hasEvents = run.image.position < recording.events.count
    run.seen.removeAll(keepingCapacity: true)
    while run.image.position < recording.events.count {
      let isFirst = run.seen.isEmpty
      let wrote = run.image.advance()
      ownCounts.crashPoints += 1
      try examine(promise, &run, newest: wrote && !isFirst)
    }
    // Where nothing was written and nothing promised, what was possible before still is.
    guard hasEvents || operation.makesPromises else { return }
    run.moment = "after \(operation)"
    run.seen.removeAll(keepingCapacity: true)
    try examine(CrashPromise(standing: runner.model, sealedMaps: runner.sealedMaps), &run, newest: false)
  }

  /// Tries what a crash now may leave.
  private func examine(_ promise: CrashPromise, _ run: inout Run, newest: Bool) throws(StressFailure) {
    for fates in CrashStates.fates(run.image.inFlight.count, newest: newest, &run.random) {
      run.image.make(fates)
      let fingerprint = medium.fingerprint()
      guard run.seen.insert(fingerprint).inserted else { continue }
      run.fates = fates
      ownCounts.states += 1
      try promise.judge(recovery.recover(fingerprint: fingerprint))
    }
  }
}

extension Operation {
  /// Something must survive that need not have before.
  fileprivate var makesPromises: Bool {
    switch self {
    case .sync, .syncDirectory, .syncAll, .sealNamed, .unsealNamed, .remount: true
    default: false
    }
  }
}
