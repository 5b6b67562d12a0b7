import Testing

@testable import HoldfastSimulation

/// The real store over the simulated device, by seeds. A failure prints its seed and its shortened log.
@Suite struct DeviceStressTests {
  static func options(_ seed: UInt64, operations: Int) -> StressOptions {
    var options = StressOptions()
    options.seed = seed
    options.operations = operations
    options.seals = true
    options.shrinkSeconds = 20
    options.logPath = "/tmp/holdfast-device-stress-\(seed).log"
    return options
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func theStoreAgreesWithTheModel(_ seed: UInt64) {
    var options = Self.options(seed, operations: 4000)
    options.crashEvery = 0
    options.remountEvery = 700
    let outcome = runDeviceStress(options)
    #expect(outcome.failure == nil, "\(outcome.summary)\n\(outcome.failingLog?.text ?? "")")
  }

  @Test func requestsOfAllKindsAreMet() {
    var options = Self.options(5, operations: 8000)
    options.crashEvery = 500
    let outcome = runDeviceStress(options)
    #expect(outcome.failure == nil, "\(outcome.summary)\n\(outcome.failingLog?.text ?? "")")
    let counts = outcome.counts
    #expect(counts.recalls > 20 && counts.fences > 5 && counts.waits > 15 && counts.interruptions > 2, "\(counts)")
    #expect(counts.refusals["EAGAIN"] ?? 0 > 20 && counts.refusals["ESTALE"] ?? 0 > 0, "\(counts)")
  }

  @Test func aSeedIsARun() {
    var options = Self.options(8, operations: 1200)
    options.crashEvery = 80
    let first = runDeviceStress(options)
    let second = runDeviceStress(options)
    #expect(first.device == second.device && first.counts.operations == second.counts.operations)
  }

  @Test(arguments: [11, 12, 13, 14] as [UInt64])
  func itSurvivesPowerCuts(_ seed: UInt64) {
    var options = Self.options(seed, operations: 4000)
    options.crashEvery = 60
    let outcome = runDeviceStress(options)
    #expect(outcome.failure == nil, "\(outcome.summary)\n\(outcome.failingLog?.text ?? "")")
    #expect(outcome.counts.crashes > 20 && outcome.counts.deviceErrors > 3, "\(outcome.counts)")
  }
}

/// Devices that damage metadata, volumes that are full, runs that do not come back.
@Suite struct DeviceFaultStressTests {
  @Test(arguments: [31, 32, 33] as [UInt64])
  func damagedMetadataIsMetAndNeverServed(_ seed: UInt64) {
    var options = DeviceStressTests.options(seed, operations: 5000)
    options.imageBytes = 24 << 20
    options.crashEvery = 200
    options.faultEvery = 80
    options.cacheBytes = 1 << 20
    let outcome = runDeviceStress(options)
    #expect(outcome.failure == nil, "\(outcome.summary)\n\(outcome.failingLog?.text ?? "")")
    let counts = outcome.counts
    #expect(
      counts.mediaFaults > 30 && counts.mediaFaultsMet > 10 && counts.mediaFaultsMet < counts.mediaFaults, "\(counts)")
  }

  @Test(arguments: [41, 42] as [UInt64])
  func aFullVolumeRefusesAndGoesOn(_ seed: UInt64) {
    var options = DeviceStressTests.options(seed, operations: 5000)
    options.imageBytes = 16 << 20
    options.ballastBytes = 7_000_000
    options.crashEvery = 300
    options.faultEvery = 500
    let outcome = runDeviceStress(options)
    #expect(outcome.failure == nil, "\(outcome.summary)\n\(outcome.failingLog?.text ?? "")")
    #expect(outcome.counts.refusals["ENOSPC"] ?? 0 > 20, "\(outcome.counts)")
  }

  @Test func theSurveyKnowsWhereMetadataIs() throws {
    let base = try CrashBase()
    let survey = try #require(MetadataSurvey(base.device))
    #expect(survey.used.count >= 2)
    for block in survey.used {
      #expect(survey.chunks.contains { $0.contains(block) }, "block \(block)")
      let isMetadata = base.device.peek(at: block << 12, count: 4096) {
        $0.loadUnaligned(as: UInt32.self) != 0 && $0[4] == 0x48
      }
      #expect(isMetadata, "block \(block)")
    }
  }

  @Test func whatWasDoneIsOnDiskBefore() throws {
    let path = "/tmp/holdfast-trace-\(UInt64.random(in: 0 ... .max))"
    var options = StressOptions()
    options.seed = 77
    let trace = try #require(TraceFile(path: path, options: options))
    defer { trace.remove() }
    let operations: [HoldfastSimulation.Operation] = [.create(Place(0, 1), handle: 0, mode: 384), .syncAll, .remount]
    for operation in operations { trace.note(operation) }
    let log = try OperationLog(path: path)
    #expect(log.seed == 77 && log.operations == operations)
    trace.remove()
    #expect(throws: OperationLog.Malformed.self) { try OperationLog(path: path) }
  }
}

/// The power goes before every single write and barrier of a short run, once each.
@Suite struct EveryCrashPointTests {
  static let script: [HoldfastSimulation.Operation] = [
    .makeDirectory(Place(0, 1), slot: 1), .create(Place(1, 2), handle: 0, mode: 0o644),
    .write(handle: 0, offset: 0, length: 9000, tag: 1), .setXattr(handle: 0, name: 1, length: 3000, tag: 2, mode: 0),
    .sync(handle: 0, dataOnly: false), .sealNamed(handle: 0, user: 0, name: 1, SealSpec(.strict, persistent: true)),
    .write(handle: 0, offset: 4000, length: 300, tag: 3), .truncate(handle: 0, size: 5),
    .create(Place(0, 3), handle: 1, mode: 0o600), .write(handle: 1, offset: 100_000, length: 50_000, tag: 4), .syncAll,
    .rename(Place(0, 3), to: Place(1, 2), flags: 2), .allocate(handle: 1, mode: 3, offset: 102_000, length: 30_000),
    .truncate(handle: 1, size: 120_001), .housekeep, .write(handle: 1, offset: 119_000, length: 4000, tag: 5),
    .unlink(Place(0, 3)), .close(handle: 0), .sealNamed(handle: 1, user: 0, name: 0, SealSpec(.fill)),
    .write(handle: 1, offset: 10, length: 70_000, tag: 6), .unlink(Place(1, 2)), .sync(handle: 1, dataOnly: true),
    .close(handle: 1), .housekeep, .symlink(Place(0, 5), length: 300, tag: 7), .removeDirectory(Place(0, 1)), .syncAll,
  ]

  @Test(arguments: [1, 2, 3]) func allAreSurvived(_ seed: Int) {
    var options = DeviceStressTests.options(UInt64(seed), operations: Self.script.count)
    options.imageBytes = 24 << 20
    options.maximumFileBytes = 256 << 10
    var events = 0
    while true {
      let operations = [.crash(events: events, seed: seed * 1000 + events)] + Self.script
      let log = OperationLog(options: options, job: 0, operations: operations)
      let outcome = replayDeviceStress(log, options: options)
      #expect(outcome.failure == nil, "seed \(seed), before event \(events): \(outcome.summary)")
      if outcome.failure != nil || outcome.counts.crashes == 0 { break }
      events += 1
    }
    #expect(events > 30)
  }
}

/// The stress must fail where there is something to find: devices that lie, and a store that cannot know.
@Suite struct StressCanFailTests {
  /// How many of a few seeds fail under `faults`.
  private static func failures(
    crashEvery: Int, _ faults: @escaping @Sendable (inout DeviceFaults) -> Void
  ) -> [StressFailure] {
    (0..<4 as Range<UInt64>).compactMap { seed in
      var options = DeviceStressTests.options(seed, operations: 1500)
      options.crashEvery = crashEvery
      options.remountEvery = 300
      options.shrinkSeconds = 0
      options.logPath = "/tmp/holdfast-can-fail-\(seed).log"
      options.deviceFaults = { device in device.injectFaults(faults) }
      return runDeviceStress(options).failure
    }
  }

  @Test func aBarrierThatDoesNothingIsFound() {
    // The image after a crash is a device without faults: the first power cut is the one that counts.
    let failures = Self.failures(crashEvery: 300) { $0.ignoresBarriers = true }
    #expect(failures.count >= 2, "\(failures)")
  }

  @Test func lostWritesAreFound() {
    let failures = Self.failures(crashEvery: 0) {
      $0.lostWrite = 50
      $0.losesEvery = 40
    }
    // Which writes are lost follows from what the engine writes: one run may lose only what nobody looks at again.
    #expect(failures.count >= 3, "\(failures)")
  }
}
