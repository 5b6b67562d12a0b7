import HoldfastBase
import Testing

@testable import HoldfastSimulation

/// What the simulated device promises, and how it breaks promises when told to.
@Suite struct SimulatedDeviceTests {
  static func filled(_ byte: UInt8, _ count: Int) -> [UInt8] { Array(repeating: byte, count: count) }

  static func write(_ device: SimulatedDevice, _ byte: UInt8, _ count: Int, at offset: UInt64) throws {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
    defer { bytes.deallocate() }
    bytes.initializeMemory(as: UInt8.self, repeating: byte)
    try device.write(UnsafeRawBufferPointer(bytes), at: offset)
  }

  static func read(_ device: SimulatedDevice, _ count: Int, at offset: UInt64) throws -> [UInt8] {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
    defer { bytes.deallocate() }
    try device.read(into: bytes, at: offset)
    return Array(bytes)
  }

  @Test func readsBackWhatWasWritten() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    #expect(try Self.read(device, 10, at: 100) == Self.filled(0, 10))
    try Self.write(device, 7, 5000, at: 4000)
    #expect(try Self.read(device, 5000, at: 4000) == Self.filled(7, 5000))
    #expect(try Self.read(device, 1, at: 3999) == [0])
    #expect(device.counters.writes == 1 && device.counters.bytesWritten == 5000 && device.counters.reads == 3)
    #expect(throws: FSError.self) { try Self.write(device, 1, 2, at: (1 << 20) - 1) }
  }

  @Test func aBarrierMakesDurable() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    try Self.write(device, 1, 4096, at: 0)
    try device.barrier()
    try Self.write(device, 2, 4096, at: 4096)
    #expect(device.unsyncedWrites == 1)
    for seed in 0..<50 as Range<UInt64> {
      let after = device.crashImage(seed: seed)
      #expect(try Self.read(after, 4096, at: 0) == Self.filled(1, 4096), "seed \(seed)")
      #expect(after.unsyncedWrites == 0)
    }
    #expect(try Self.read(device, 4096, at: 4096) == Self.filled(2, 4096))
  }

  @Test func unsyncedWritesPersistVanishTearAndReorder() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    try Self.write(device, 1, 4096, at: 0)
    try device.barrier()
    try Self.write(device, 2, 4096, at: 0)
    try Self.write(device, 3, 4096, at: 0)
    var newest = 0, durable = 0, torn = 0, reordered = 0
    for seed in 0..<400 as Range<UInt64> {
      let bytes = try Self.read(device.crashImage(seed: seed), 4096, at: 0)
      let sectors = stride(from: 0, to: 4096, by: 512).map { Array(bytes[$0..<$0 + 512]) }
      // A sector is atomic, whatever happens to its block.
      #expect(sectors.allSatisfy { Set($0).count == 1 && (1...3).contains($0[0]) }, "seed \(seed)")
      switch Set(sectors.map { $0[0] }) {
      case [1]: durable += 1
      case [2]: reordered += 1
      case [3]: newest += 1
      default: torn += 1
      }
    }
    #expect(newest > 20 && durable > 20 && torn > 20 && reordered > 5, "\(newest) \(durable) \(torn) \(reordered)")
    #expect(
      try Self.read(device.crashImage(seed: 9), 4096, at: 0) == Self.read(device.crashImage(seed: 9), 4096, at: 0))
  }

  @Test func thePowerGoesBeforeTheNthEvent() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    device.cutPower(beforeEvent: 2)
    try Self.write(device, 1, 512, at: 0)
    try device.barrier()
    #expect(!device.isPowerOff)
    #expect(throws: FSError.device(operation: .write, byteOffset: 512, errno: 5)) {
      try Self.write(device, 2, 512, at: 512)
    }
    #expect(device.isPowerOff)
    #expect(throws: FSError.self) { try device.barrier() }
    #expect(throws: FSError.self) { _ = try Self.read(device, 1, at: 0) }
    let after = device.crashImage(seed: 1)
    #expect(try Self.read(after, 512, at: 0) == Self.filled(1, 512))
    #expect(try Self.read(after, 512, at: 512) == Self.filled(0, 512))
  }

  @Test func faultsStrikeWhereTold() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    device.injectFaults { $0.writes = .nth(1) }
    try Self.write(device, 1, 512, at: 0)
    #expect(throws: FSError.self) { try Self.write(device, 1, 512, at: 0) }
    try Self.write(device, 1, 512, at: 0)
    device.injectFaults { $0.reads = .range(8192..<12288) }
    #expect(throws: FSError.self) { _ = try Self.read(device, 2, at: 8191) }
    #expect(try Self.read(device, 1, at: 8191) == [0])
    device.injectFaults {
      $0 = DeviceFaults()
      $0.flippedBit = (byteOffset: 3, bit: 1)
      $0.misdirectedWrite = (nth: 0, to: 65536)
      $0.lostWrite = 1
    }
    #expect(try Self.read(device, 5, at: 0) == [1, 1, 1, 3, 1])
    try Self.write(device, 9, 16, at: 0)
    try Self.write(device, 9, 16, at: 0)
    #expect(try Self.read(device, 2, at: 0) == [1, 1] && Self.read(device, 2, at: 65536) == [9, 9])
    device.injectFaults {
      $0 = DeviceFaults()
      $0.barriers = .always
    }
    #expect(throws: FSError.self) { try device.barrier() }
  }

  @Test func aBarrierThatLiesKeepsNothing() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    device.injectFaults { $0.ignoresBarriers = true }
    try Self.write(device, 1, 512, at: 0)
    try device.barrier()
    let survivors = try (0..<50 as Range<UInt64>).count {
      try Self.read(device.crashImage(seed: $0), 1, at: 0) == [1]
    }
    #expect(survivors < 50 && survivors > 0)
  }

  @Test func aFailedBarrierMayLose() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    try Self.write(device, 1, 512, at: 0)
    try device.barrier()
    try Self.write(device, 2, 512, at: 0)
    device.injectFaults {
      $0.barriers = .nth(0)
      $0.failedBarriersLose = true
    }
    #expect(throws: FSError.self) { try device.barrier() }
    #expect(try Self.read(device, 1, at: 0) == [1])
    try device.barrier()
    device.crash(seed: 3)
    #expect(try Self.read(device, 1, at: 0) == [1])
  }

  @Test func metadataWritesGoAstray() throws {
    func write(_ type: UInt8, at block: UInt64, blocks: Int = 1, on device: SimulatedDevice) throws {
      var bytes = [UInt8](repeating: type, count: 4096 * blocks)
      bytes.replaceSubrange(4..<10, with: [0x48, 0x46, 0x53, 0x54, type, 0])
      try bytes.withUnsafeBytes { try device.write($0, at: block * 4096) }
    }
    let device = SimulatedDevice(byteCount: 1 << 20)
    device.injectFaults { $0.metadataWrite = MetadataWriteFault(types: [2, 3], after: 1) }
    try Self.write(device, 9, 4096, at: 0)
    try write(4, at: 1, on: device)
    try write(2, at: 2, on: device)
    try write(3, at: 3, on: device)
    try write(2, at: 4, on: device)
    #expect(try [0, 1, 2, 3, 4].map { try Self.read(device, 1, at: $0 * 4096)[0] } == [9, 4, 2, 0, 2])
    device.injectFaults {
      $0.metadataWrite = MetadataWriteFault(types: [2], after: 0, to: 19, within: BlockRange(start: 10, count: 10))
    }
    try write(2, at: 6, blocks: 3, on: device)
    #expect(try [6, 16, 17, 18, 19, 20].map { try Self.read(device, 1, at: $0 * 4096)[0] } == [0, 0, 2, 2, 2, 0])
    device.injectFaults { $0.metadataWrite = MetadataWriteFault(types: [4], after: 0) }
    try write(4, at: 1, on: device)
    try device.barrier()
    #expect(!device.lossIsEvident)
    try write(4, at: 2, on: device)
    #expect(!device.lossIsEvident)
    try device.barrier()
    #expect(device.lossIsEvident)
  }

  @Test func aSnapshotComesBack() throws {
    let device = SimulatedDevice(byteCount: 1 << 20)
    try Self.write(device, 1, 8192, at: 4096)
    try device.barrier()
    device.takeSnapshot()
    try Self.write(device, 2, 3, at: 8190)
    try device.barrier()
    try Self.write(device, 3, 100_000, at: 0)
    device.crash(seed: 8)
    device.corrupt(at: 5000, { $0[0] = 7 }, count: 1)
    device.restoreSnapshot()
    #expect(try Self.read(device, 8192, at: 4096) == Self.filled(1, 8192))
    #expect(try Self.read(device, 4096, at: 0) == Self.filled(0, 4096) && device.unsyncedWrites == 0)
  }

  @Test func randomnessIsTheSameEverywhere() {
    var random = SeededRandom(seed: 42)
    #expect([random.next(), random.next()] == [1_546_998_764_402_558_742, 6_990_951_692_964_543_102])
    for word in [0, 1, 0xdead_beef, UInt64.max] as [UInt64] {
      #expect(SeededRandom.unmix(SeededRandom.mix(word)) == word)
    }
  }
}
