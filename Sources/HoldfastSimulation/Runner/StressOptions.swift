/// What a stress run is to do, and what came of it.

public struct StressOptions: Sendable {
  /// Operations in all, over all jobs.
  public var operations = 20_000
  public var seed: UInt64 = 1
  public var seals = false
  public var jobs = 1
  public var maximumFileBytes = 512 << 10
  /// Device-sim: bytes of the image.
  public var imageBytes: UInt64 = 128 << 20
  /// Device-sim: operations between power cuts, on average; 0 for none.
  public var crashEvery = 2000
  /// Device-sim: operations between remounts, on average; 0 for none.
  public var remountEvery = 5000
  /// Device-sim: operations between stretches in which the device damages metadata, on average; 0 for none.
  public var faultEvery = 0
  /// Device-sim: bytes of the volume taken from the start, so that it fills up.
  public var ballastBytes = 0
  /// Device-sim: every operation is written here before it is done; the file goes when the run comes back.
  public var tracePath: String?
  /// Device-sim: bytes of the store's node cache.
  public var cacheBytes = 16 << 20
  /// Run the independent check of the image after every crash and remount, and at the end.
  public var checks = true
  /// Mounted: run between rounds by /bin/sh; the mount is expected to be the same filesystem afterwards.
  public var remountCommand: String?
  public var rounds = 1
  /// Mounted: run by /bin/sh at some moment of every round; it kills the daemon, and the remount command mounts
  /// again. What was synced must be there, and nothing that never was.
  public var killCommand: String?
  /// Where the operations of a failing run are written, in the working directory unless it has slashes.
  public var logPath: String?
  /// Seconds spent on shortening a failing run; 0 does not try.
  public var shrinkSeconds = 60
  /// Called now and then with operations done and wanted.
  public var progress: (@Sendable (Int, Int) -> Void)?
  /// Makes the device lie, for tests of the stress itself.
  var deviceFaults: (@Sendable (SimulatedDevice) -> Void)?

  public init() {}
}

public struct StressOutcome: Sendable {
  public var counts = StressCounts()
  public var seed: UInt64
  /// Device-sim: what the device did, from the last power cut on; the same for every run of a seed.
  public var device: SimulatedDevice.Counters?
  /// Nil: everything held.
  public var failure: StressFailure?
  /// What was being done when it failed: the shortened log, and the file it is in.
  public var failingLog: OperationLog?
  public var failingLogPath: String?

  public init(seed: UInt64) { self.seed = seed }

  /// For the terminal: several lines.
  public var summary: String {
    var text = "seed \(seed): \(counts)\n"
    guard let failure else { return text + "no mismatch" }
    text += "FAILED at \(failure)\n"
    if let failingLog, let failingLogPath {
      text +=
        "\(failingLog.operations.count) operations that fail are in \(failingLogPath): replay with --replay \(failingLogPath)"
    }
    return text
  }
}
