/// `holdfast stress`: random operations held against a model, on a mounted directory or on the engine in memory.

import ArgumentParser
import Glibc
import HoldfastClient
import HoldfastCommand
import HoldfastSimulation

struct Stress: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Try a directory, or the engine in memory, with random operations held against a model.",
    discussion: """
      Contents are compared byte for byte; with --seals, refusals are compared with the truth table of \
      docs/SEMANTICS.md and the maps of sealed files around every operation. The same seed makes the same \
      operations. A failing run is shortened and written to a file that --replay runs again.

      Examples:
        holdfast stress /mnt --ops 200000 --seals --jobs 4
        holdfast stress --device-sim --ops 2000000 --seals --seed 7
        holdfast stress --device-sim --replay holdfast-stress-7.log
        holdfast stress --crash-points --ops 2 --jobs 2
        holdfast stress --crash-points --workload 'rename A/foo B/foo, none; create A/foo, fsync'
      """)

  @Argument(help: "A directory to work in; a new folder in it is used and removed.")
  var directory: String?

  @Flag(name: .customLong("device-sim"), help: "The engine over a simulated device, with power cuts, without FUSE.")
  var deviceSim = false

  @Flag(
    name: .customLong("crash-points"),
    help: "Every crash point of every workload of --ops actions, 1 to 3; the engine over a recorded device.")
  var crashPoints = false

  @Option(help: "Operations in all (20000 when left out); with --crash-points, actions in a workload (1).")
  var ops: Int?

  @Option(help: "Seed; the time of day when left out.")
  var seed: UInt64?

  @Flag(help: "Seals too: taking, releasing, refusals, maps. The directory must be on a Holdfast mount.")
  var seals = false

  @Option(help: "Instead of the model, so many seconds of threads and processes that race for requests on a few files.")
  var sealRaces: Int?

  @Option(help: "With --crash-points: workloads drawn by the seed; 0 for all, and 3 actions want a number.")
  var samples = 0

  @Option(help: "With --crash-points: only this workload, as a finding prints it.")
  var workload: String?

  @Flag(help: "With --crash-points: crashes in the middle of every recovery, too.")
  var recoveryCrashes = false

  @Option(help: "Jobs at the same time, each with its own files (a directory), or threads (--crash-points).")
  var jobs = 1

  @Option(help: "Run the operations of this log instead of drawing them.")
  var replay: String?

  @Option(help: "Where a failing run is written.")
  var log: String?

  @Option(help: "Seconds spent on shortening a failing run.")
  var shrinkSeconds = 60

  @Option(help: "Largest file, in bytes.")
  var maximumFileBytes = 512 << 10

  @Option(help: "With --device-sim: operations between power cuts, on average; 0 for none.")
  var crashEvery = 2000

  @Flag(help: "With --device-sim: now and then metadata on the device is damaged; that must be met, never served.")
  var faults = false

  @Option(help: "With --device-sim: operations between remounts, on average; 0 for none.")
  var remountEvery = 5000

  @Option(help: "With --device-sim: bytes of the image.")
  var imageBytes: UInt64 = 128 << 20

  @Option(help: "With --device-sim: bytes taken from the start, so that the image fills up.")
  var ballastBytes = 0

  @Option(help: "Command for /bin/sh that unmounts and mounts the directory's filesystem; run between rounds.")
  var remountCommand: String?

  @Option(
    help: "Command for /bin/sh that kills the daemon, at some moment of every round; the remount command mounts again.")
  var killCommand: String?

  @Option(help: "Rounds the operations are done in, when there is a remount command.")
  var rounds = 4

  func validate() throws {
    guard [deviceSim, crashPoints, directory != nil].count(where: { $0 }) == 1 else {
      throw ValidationError("Give a directory, or --device-sim, or --crash-points.")
    }
    if crashPoints { try validateCrashPoints() }
    guard (1...32).contains(jobs) else { throw ValidationError("--jobs must lie between 1 and 32.") }
    guard sealRaces == nil || directory != nil && (1...86400).contains(sealRaces!) else {
      throw ValidationError("--seal-races wants a directory and 1 to 86400 seconds.")
    }
    guard !deviceSim || jobs == 1 else { throw ValidationError("--device-sim has one job.") }
    guard ops ?? 1 > 0, samples >= 0, ballastBytes >= 0, crashEvery >= 0, remountEvery >= 0, shrinkSeconds >= 0,
      rounds > 0
    else {
      throw ValidationError("Numbers must not be negative, and --ops and --rounds not zero.")
    }
    guard killCommand == nil || remountCommand != nil else {
      throw ValidationError("--kill-command needs a --remount-command that mounts again.")
    }
    guard (4096...(64 << 20)).contains(maximumFileBytes) else {
      throw ValidationError("--maximum-file-bytes must lie between 4096 and 67108864.")
    }
    guard imageBytes >= 16 << 20, imageBytes <= 64 << 30 else {
      throw ValidationError("--image-bytes must lie between 16777216 and 68719476736.")
    }
  }

  private func validateCrashPoints() throws {
    guard (1...CrashWorkload.mostSteps).contains(ops ?? 1) else {
      throw ValidationError("--crash-points has workloads of 1 to \(CrashWorkload.mostSteps) actions.")
    }
    guard ops ?? 1 < 3 || samples > 0 || workload != nil else {
      throw ValidationError("There are too many workloads of three actions: say how many --samples.")
    }
    guard workload == nil || CrashWorkload(text: workload!) != nil else {
      throw ValidationError("--workload: no such workload.")
    }
  }

  func run() throws {
    if crashPoints { return try runCrashPoints() }
    let options = self.options
    if let directory { try Self.check(directory, needsSeals: seals || sealRaces != nil) }
    if let sealRaces { return try runRaces(seconds: sealRaces, options.seed) }
    // The seed first: it is known even if the run does not come back.
    print("seed \(options.seed)")
    fflush(nil)
    let outcome: StressOutcome
    let begin = Self.cpuSeconds()
    if let replay {
      let log = try Self.readLog(replay)
      outcome =
        deviceSim
        ? replayDeviceStress(log, options: options)
        : replayMountedStress(log, directory: directory!, options: options)
    } else {
      outcome = deviceSim ? runDeviceStress(options) : runMountedStress(directory: directory!, options: options)
    }
    if isatty(2) == 1 { Self.tell("\r\u{1B}[K") }
    print(outcome.summary)
    if deviceSim {
      let seconds = Self.cpuSeconds() - begin
      print("\(outcome.counts.total) operations in \(Int(seconds * 1000)) ms of one core, ", terminator: "")
      print("\(Int(Double(outcome.counts.total) / max(seconds, 0.001))) per second")
    }
    if outcome.failure != nil { throw ExitCode(1) }
  }

  private func runRaces(seconds: Int, _ seed: UInt64) throws {
    var options = SealRaceOptions()
    options.seconds = seconds
    options.seed = seed
    options.jobs = jobs
    print("seed \(options.seed)")
    fflush(nil)
    let outcome = runSealRaces(directory: directory!, options: options)
    print("\(outcome.counts)")
    if let failure = outcome.failure {
      print("FAILED: \(failure)")
      throw ExitCode(1)
    }
    print("nothing moved under a standing request")
  }

  private func runCrashPoints() throws {
    var options = CrashPointOptions()
    options.length = ops ?? 1
    options.samples = samples
    options.seed = seed ?? 1
    options.jobs = jobs
    options.workload = workload.flatMap { CrashWorkload(text: $0) }
    options.recoveryCrashes = recoveryCrashes
    if isatty(2) == 1 { options.progress = { done, wanted in Self.tell("\r\(done) of \(wanted) parts") } }
    let outcome = HoldfastSimulation.runCrashPoints(options)
    if isatty(2) == 1 { Self.tell("\r\u{1B}[K") }
    print("seed \(options.seed): \(outcome.counts)")
    if let finding = outcome.finding {
      print("FAILED: \(finding)")
      throw ExitCode(1)
    }
    print("no mismatch")
  }

  /// Processor time of this process so far.
  private static func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Operations between two stretches of damage, on average.
  private static let faultEvery = 3000

  /// A clear line instead of a failure at operation 0.
  private static func check(_ directory: String, needsSeals: Bool) throws(CommandError) {
    var status = stat()
    guard stat(directory, &status) == 0 else { throw CommandError(directory, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw CommandError(directory, "not a directory") }
    guard access(directory, W_OK) == 0 else { throw CommandError(directory, errno: errno) }
    guard needsSeals else { return }
    do throws(ClientError) {
      _ = try OpenFile(directory).mountInfo()
    } catch {
      throw CommandError(directory, "--seals: \(error.explanation)")
    }
  }

  private static func readLog(_ path: String) throws -> OperationLog {
    do {
      return try OperationLog(path: path)
    } catch {
      throw CommandError("--replay", "\(error)")
    }
  }

  private static func tell(_ text: String) {
    var text = text
    text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  private var options: StressOptions {
    var options = StressOptions()
    options.operations = ops ?? 20_000
    options.seed = seed ?? UInt64(time(nil))
    options.seals = seals
    options.jobs = jobs
    options.maximumFileBytes = maximumFileBytes
    options.imageBytes = imageBytes
    options.ballastBytes = ballastBytes
    options.crashEvery = crashEvery
    options.remountEvery = remountEvery
    options.faultEvery = faults ? Self.faultEvery : 0
    if deviceSim { options.tracePath = "holdfast-stress-\(options.seed).trace" }
    options.logPath = log
    options.shrinkSeconds = shrinkSeconds
    options.remountCommand = remountCommand
    options.killCommand = killCommand
    options.rounds = remountCommand == nil ? 1 : rounds
    if isatty(2) == 1 {
      options.progress = { done, wanted in Self.tell("\r\(done) of \(wanted) operations") }
    }
    return options
  }
}
