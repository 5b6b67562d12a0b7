/// One job of a mounted stress: a folder, a model, a stream of operations. Used by one thread at a time.

import Glibc

final class MountedJob: @unchecked Sendable {
  /// Operations between two bursts in the shared directory.
  private static let raceEvery = 60

  let index: Int
  let runner: StressRunner<MountedTarget>
  private(set) var failure: StressFailure?
  private(set) var operations: [Operation] = []
  private var generator: OperationGenerator
  private var races: SharedRaces?

  /// `shared`: the directory for races, nil for none.
  init(index: Int, folder: String, shared: String?, options: StressOptions) throws(StressFailure) {
    self.index = index
    let target = try MountedTarget(folder: folder, maximumFileBytes: options.maximumFileBytes)
    if options.seals && !target.isHoldfast {
      throw StressFailure(.environment, "\(folder) is on no Holdfast mount, so there is nothing to seal")
    }
    let model = ModelFilesystem(
      root: target.root, rootMode: target.rootMode, job: index, maximumFileBytes: options.maximumFileBytes,
      remembersHistory: options.killCommand != nil)
    runner = StressRunner(target: target, model: model)
    var profile = GeneratorProfile()
    profile.maximumFileBytes = options.maximumFileBytes
    profile.seals = options.seals
    profile.users = 1
    profile.isMounted = true
    profile.mapsMemory = options.killCommand == nil
    // Of an operation that was waiting at the moment of a kill nobody could say how far it came.
    profile.takesBreakables = options.killCommand == nil
    // The kernel's FUSE answers these itself.
    profile.shiftsRanges = !target.isHoldfast
    generator = OperationGenerator(profile: profile, seed: options.seed, part: index)
    races = shared.map {
      SharedRaces(folder: $0, isHoldfast: target.isHoldfast, seed: options.seed, job: index)
    }
  }

  /// Does `count` operations more, and meets the round's outage, if there is to be one.
  func run(_ count: Int, _ progress: SharedProgress, _ outage: Outage?) {
    runner.target.outage = outage
    do throws(StressFailure) {
      for step in 1...max(count, 1) where !progress.isStopped {
        let operation = generator.next(runner.model)
        operations.append(operation)
        try runner.step(operation, index: operations.count - 1)
        if step % Self.raceEvery == 0, races != nil {
          try runner.located(at: operations.count - 1) { () throws(StressFailure) in try races!.run() }
        }
        if step % 256 == 0 { progress.add(256) }
      }
      if runner.target.outage != nil {
        runner.target.waitForOutage()
        try runner.located(at: operations.count - 1) { () throws(StressFailure) in try runner.recoverNow() }
      }
    } catch {
      failure = error
      progress.stop()
      if runner.target.outage != nil { outage?.leave() }
      runner.target.outage = nil
    }
  }

  /// Does the operations of a log.
  func replay(_ log: [Operation]) -> StressFailure? {
    attempt { () throws(StressFailure) in
      for (index, operation) in log.enumerated() {
        operations.append(operation)
        try runner.step(operation, index: index)
      }
      try runner.finish(index: max(0, log.count - 1), remounting: false)
    }
  }

  /// Something between or after the rounds.
  @discardableResult
  func attempt(_ body: () throws(StressFailure) -> Void) -> StressFailure? {
    do throws(StressFailure) {
      try runner.located(at: max(0, operations.count - 1)) { () throws(StressFailure) in try body() }
    } catch {
      if failure == nil { failure = error }
    }
    return failure
  }

  /// Gives back what the job holds.
  func end() { runner.target.closeAll() }
}
