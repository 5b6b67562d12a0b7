/// `holdfast stress DIR`: jobs at the same time on a mounted directory, each with files of its own and a model of
/// them, and one directory they all race in.

import CPlatform
import Glibc

/// Works in a new folder of `directory`, which is removed unless something failed.
public func runMountedStress(directory: String, options: StressOptions) -> StressOutcome {
  var outcome = StressOutcome(seed: options.seed)
  let folder = "\(directory)/holdfast-stress-\(options.seed)-\(getpid())"
  // Modes are what they are said to be.
  let mask = umask(0)
  defer { umask(mask) }
  var jobs: [MountedJob] = []
  defer { for job in jobs { job.end() } }
  do throws(StressFailure) {
    jobs = try makeJobs(folder, options)
    try run(jobs, options)
    for job in jobs { job.end() }
    try FolderRemoval.remove(Array(folder.utf8))
  } catch {
    outcome.failure = error
  }
  for job in jobs { outcome.counts.add(job.runner.counts) }
  if let job = jobs.first(where: { $0.failure != nil }), let failure = job.failure {
    for job in jobs { job.end() }
    report(failure, job, folder, options, &outcome)
  }
  return outcome
}

/// Runs the operations of a log in a new folder of `directory`.
public func replayMountedStress(
  _ log: OperationLog, directory: String, options: StressOptions = StressOptions()
) -> StressOutcome {
  let options = log.applied(to: options)
  var outcome = StressOutcome(seed: log.seed)
  outcome.failure = replay(log.operations, directory, options, job: log.job, &outcome.counts)
  return outcome
}

private func makeJobs(_ folder: String, _ options: StressOptions) throws(StressFailure) -> [MountedJob] {
  guard mkdir(folder, 0o755) == 0 else { throw StressFailure(.environment, "mkdir \(folder): \(errnoName(errno))") }
  var jobs: [MountedJob] = []
  let shared = options.jobs > 1 ? "\(folder)/shared" : nil
  for index in 0..<options.jobs {
    jobs.append(try MountedJob(index: index, folder: "\(folder)/job-\(index)", shared: shared, options: options))
  }
  // The folders themselves survive what is to come.
  let directory = holdfast_open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
  defer { close(directory) }
  guard fsync(directory) == 0 else { throw StressFailure(.environment, "fsync \(folder): \(errnoName(errno))") }
  return jobs
}

/// All rounds, the remounts between them, and the comparison at the end. Throws the first job's failure.
private func run(_ jobs: [MountedJob], _ options: StressOptions) throws(StressFailure) {
  let progress = SharedProgress(wanted: options.operations, progress: options.progress)
  let each = (options.operations + options.jobs * options.rounds - 1) / (options.jobs * options.rounds)
  var random = SeededRandom(seed: options.seed, part: 1000)
  for round in 0..<options.rounds {
    if let killCommand = options.killCommand, let mountCommand = options.remountCommand {
      let outage = Outage(jobs: jobs.count, killCommand: killCommand, mountCommand: mountCommand)
      let delay = random.between(50, 1500)
      Threads.run(jobs.count + 1) { index in
        if index == jobs.count { outage.run(afterMilliseconds: delay) } else { jobs[index].run(each, progress, outage) }
      }
      try throwFailure(of: jobs)
    } else {
      Threads.run(jobs.count) { jobs[$0].run(each, progress, nil) }
      try throwFailure(of: jobs)
      if round + 1 < options.rounds, let command = options.remountCommand { try remount(jobs, command) }
    }
  }
  for job in jobs {
    job.attempt { () throws(StressFailure) in
      try job.runner.finish(index: max(0, job.operations.count - 1), remounting: false)
    }
  }
  try throwFailure(of: jobs)
}

private func remount(_ jobs: [MountedJob], _ command: String) throws(StressFailure) {
  for job in jobs { job.attempt { () throws(StressFailure) in try job.runner.closeAll() } }
  try throwFailure(of: jobs)
  let status = system(command)
  guard status == 0 else { throw StressFailure(.environment, "'\(command)' ended with status \(status)") }
  for job in jobs { job.attempt { () throws(StressFailure) in try job.runner.afterRemount() } }
  try throwFailure(of: jobs)
}

private func throwFailure(of jobs: [MountedJob]) throws(StressFailure) {
  for job in jobs {
    if let failure = job.failure { throw failure }
  }
}

/// One job's operations alone, in a folder that is removed afterwards.
private func replay(
  _ operations: [Operation], _ directory: String, _ options: StressOptions, job: Int, _ counts: inout StressCounts
) -> StressFailure? {
  let folder = "\(directory)/replay-\(getpid())"
  let mask = umask(0)
  defer { umask(mask) }
  do throws(StressFailure) {
    let only = try MountedJob(index: job, folder: folder, shared: nil, options: options)
    defer { counts.add(only.runner.counts) }
    let failure = only.replay(operations)
    only.end()
    try FolderRemoval.remove(Array(folder.utf8))
    return failure
  } catch {
    return error
  }
}

/// Shortens the failing job's run, when it fails alone, too, and writes its log.
private func report(
  _ failure: StressFailure, _ job: MountedJob, _ folder: String, _ options: StressOptions,
  _ outcome: inout StressOutcome
) {
  var shrunk = (job.operations, failure)
  // What an outage brought to light does not come without one.
  if options.shrinkSeconds > 0, failure.kind != .environment, options.killCommand == nil {
    let shrinker = Shrinker(kind: failure.kind, seconds: options.shrinkSeconds) { candidate in
      var counts = StressCounts()
      return replay(candidate, folder, options, job: job.index, &counts)
    }
    shrunk = shrinker.shrink(job.operations, failure)
  }
  outcome.failure = shrunk.1
  outcome.failingLog = OperationLog(options: options, job: job.index, operations: shrunk.0)
  let path = options.logPath ?? "holdfast-stress-\(options.seed).log"
  if outcome.failingLog!.write(to: path) == 0 { outcome.failingLogPath = path }
}
