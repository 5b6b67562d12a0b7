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

  @Test(arguments: [11, 12, 13, 14] as [UInt64])
  func itSurvivesPowerCuts(_ seed: UInt64) {
    var options = Self.options(seed, operations: 4000)
    options.crashEvery = 60
    let outcome = runDeviceStress(options)
    #expect(outcome.failure == nil, "\(outcome.summary)\n\(outcome.failingLog?.text ?? "")")
    #expect(outcome.counts.crashes > 20)
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
    #expect(failures.count == 4, "\(failures)")
  }

  @Test func aFailingBarrierIsFound() {
    let failures = Self.failures(crashEvery: 0) { $0.barriers = .nth(40) }
    #expect(failures.count == 4, "\(failures)")
  }
}
