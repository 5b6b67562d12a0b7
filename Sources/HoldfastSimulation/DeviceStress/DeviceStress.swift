/// `holdfast stress --device-sim`: the real store over a simulated device, without FUSE.

import HoldfastBase
import HoldfastFormat

/// Runs operations drawn from a seed until one fails, and shortens the failing run.
public func runDeviceStress(_ options: StressOptions) -> StressOutcome {
  ProcessMemory.keepFreed()
  var outcome = StressOutcome(seed: options.seed)
  var operations: [Operation] = []
  operations.reserveCapacity(options.operations)
  runDevice(options, into: &outcome) { index, model in
    guard index < options.operations else { return nil }
    return { generator in
      let operation = generator.next(model)
      operations.append(operation)
      return operation
    }
  }
  if let failure = outcome.failure { report(failure, operations, options, &outcome) }
  return outcome
}

/// Runs the operations of a log.
public func replayDeviceStress(_ log: OperationLog, options: StressOptions = StressOptions()) -> StressOutcome {
  let options = log.applied(to: options)
  var outcome = StressOutcome(seed: log.seed)
  replay(log.operations, options, into: &outcome)
  return outcome
}

private func replay(_ operations: [Operation], _ options: StressOptions, into outcome: inout StressOutcome) {
  runDevice(options, into: &outcome) { index, _ in
    index < operations.count ? { _ in operations[index] } : nil
  }
}

/// Shortens the failing run and writes its log.
private func report(
  _ failure: StressFailure, _ operations: [Operation], _ options: StressOptions, _ outcome: inout StressOutcome
) {
  var shrunk = (Array(operations.prefix(failure.index + 1)), failure)
  if options.shrinkSeconds > 0 {
    var quiet = options
    quiet.progress = nil
    quiet.tracePath = nil
    let shrinker = Shrinker(kind: failure.kind, seconds: options.shrinkSeconds) { candidate in
      var attempt = StressOutcome(seed: quiet.seed)
      replay(candidate, quiet, into: &attempt)
      return attempt.failure
    }
    shrunk = shrinker.shrink(operations, failure)
  }
  outcome.failure = shrunk.1
  outcome.failingLog = OperationLog(options: options, job: 0, operations: shrunk.0)
  let path = options.logPath ?? "holdfast-stress-\(options.seed).log"
  if outcome.failingLog!.write(to: path) == 0 { outcome.failingLogPath = path }
}

/// One run from a fresh volume. `next` gives what makes the operation of an index, nil at the end.
private func runDevice(
  _ options: StressOptions, into outcome: inout StressOutcome,
  next: (Int, ModelFilesystem) -> ((inout OperationGenerator) -> Operation)?
) {
  var profile = GeneratorProfile()
  profile.maximumFileBytes = options.maximumFileBytes
  profile.seals = options.seals
  profile.crashEvery = options.crashEvery
  profile.remountEvery = options.remountEvery
  profile.faultEvery = options.faultEvery
  profile.ballastBytes = options.ballastBytes
  // A volume that is to be full does not grow.
  profile.imageMebibytes = options.ballastBytes > 0 ? 0 : Int(options.imageBytes >> 20)
  var generator = OperationGenerator(profile: profile, seed: options.seed, part: 0)
  let model = ModelFilesystem(
    root: RootDirectory.inode, rootMode: 0o755, job: 0, maximumFileBytes: options.maximumFileBytes,
    remembersHistory: true, hasUnprivilegedWrites: true)
  let trace = options.tracePath.flatMap { TraceFile(path: $0, options: options) }
  do throws(StressFailure) {
    try SimulatedTime.run(from: startTime) { () throws(StressFailure) in
      let target = try StoreTarget(
        imageBytes: options.imageBytes, seed: options.seed, maximumFileBytes: options.maximumFileBytes,
        cacheBytes: options.cacheBytes, checks: options.checks, faults: options.deviceFaults)
      let session = DeviceSession(target: target, model: model)
      defer {
        outcome.counts.add(session.counts)
        outcome.device = target.device.counters
      }
      var index = 0
      while let make = next(index, session.model) {
        let operation = make(&generator)
        trace?.note(operation)
        try session.step(operation, index: index)
        SimulatedTime.advance(nanoseconds: timeOfOperation)
        index += 1
        if index & 0xfff == 0 { options.progress?(index, options.operations) }
      }
      try session.finish(index: index)
    }
  } catch {
    outcome.failure = error
  }
  trace?.remove()
}

/// When a run begins, and how long an operation takes: a run is the same bytes every time.
private let startTime = Timestamp(seconds: 1_000_000_000, nanoseconds: 0)
private let timeOfOperation: UInt32 = 20_000
