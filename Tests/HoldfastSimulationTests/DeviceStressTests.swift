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
  private static func options(_ seed: UInt64, _ faults: @escaping @Sendable (SimulatedDevice) -> Void) -> StressOptions {
    var options = DeviceStressTests.options(seed, operations: 6000)
    options.crashEvery = 50
    options.remountEvery = 400
    options.shrinkSeconds = 0
    options.logPath = "/tmp/holdfast-can-fail-\(seed).log"
    options.deviceFaults = faults
    return options
  }

  @Test func aBarrierThatDoesNothingIsFound() {
    // Every crash image starts without the fault, so the first power cut is the one that counts: several seeds.
    let failures = (0..<12 as Range<UInt64>).compactMap { seed in
      runDeviceStress(Self.options(seed) { device in device.injectFaults { $0.ignoresBarriers = true } }).failure
    }
    #expect(failures.count >= 6, "\(failures)")
  }

  @Test func aLostWriteIsFound() {
    let failures = (0..<12 as Range<UInt64>).compactMap { seed in
      runDeviceStress(Self.options(seed) { device in device.injectFaults { $0.lostWrite = 150 + Int(seed) } }).failure
    }
    #expect(failures.count >= 6, "\(failures)")
  }

  @Test func aMisdirectedWriteIsFound() {
    let failures = (0..<12 as Range<UInt64>).compactMap { seed in
      runDeviceStress(
        Self.options(seed) { device in
          device.injectFaults { $0.misdirectedWrite = (nth: 200 + Int(seed), to: 9 << 20 + 4096 * seed) }
        }
      ).failure
    }
    #expect(failures.count >= 6, "\(failures)")
  }
}
