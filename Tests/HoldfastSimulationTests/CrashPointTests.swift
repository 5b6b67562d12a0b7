import HoldfastBase
import Testing

@testable import HoldfastSimulation

/// Exhausted crash points. The complete set of two actions is scripts/crash-points.sh's.
@Suite struct CrashPointTests {
  private static func outcome(_ change: (inout CrashPointOptions) -> Void) -> CrashPointOutcome {
    var options = CrashPointOptions()
    change(&options)
    return runCrashPoints(options)
  }

  @Test func everyWorkloadOfOneAction() {
    let outcome = Self.outcome { $0.length = 1 }
    #expect(outcome.finding == nil, "\(outcome.finding!)")
    #expect(outcome.counts.workloads > 250 && outcome.counts.states > 2500, "\(outcome.counts)")
  }

  @Test(arguments: [(2, 250, 1), (3, 100, 2)]) func drawnWorkloads(_ length: Int, _ samples: Int, _ seed: UInt64) {
    let outcome = Self.outcome {
      $0.length = length
      $0.samples = samples
      $0.seed = seed
    }
    #expect(outcome.finding == nil, "seed \(seed): \(outcome.finding!)")
    #expect(outcome.counts.workloads > samples * 9 / 10, "\(outcome.counts)")
  }

  @Test func recoveryMayBeInterruptedAnywhere() {
    let outcome = Self.outcome {
      $0.length = 2
      $0.samples = 10
      $0.recoveryCrashes = true
    }
    #expect(outcome.finding == nil, "\(outcome.finding!)")
    #expect(outcome.counts.recoveryCrashes > 300, "\(outcome.counts)")
  }

  @Test func workloadsReadBack() {
    let all = CrashWorkload.single + CrashWorkload.pairs(.exchange(.aFoo, .bBar))
    #expect(all.allSatisfy { CrashWorkload(text: $0.description) == $0 })
    for text in ["", "create A/foo", "create A/foo, later", "create C/foo, none", "write A/foo, none"] {
      #expect(CrashWorkload(text: text) == nil, "\(text)")
    }
  }
}

/// The explorer must find what is there to be found: devices that lie about what an engine relies on.
@Suite struct CrashPointsCanFailTests {
  /// The kind of failure that a workload comes to under `faults`; nil when it holds.
  private static func failure(
    _ workload: String, inRecovery: Bool = false, _ faults: @escaping @Sendable (inout DeviceFaults) -> Void
  ) -> StressFailure.Kind? {
    var options = CrashPointOptions()
    options.workload = CrashWorkload(text: workload)
    options.recoveryCrashes = inRecovery
    if inRecovery { options.recoveryFaults = faults } else { options.deviceFaults = faults }
    return runCrashPoints(options).finding?.failure.kind
  }

  @Test func aJournalRecordAheadOfItsDataIsFound() {
    // The first of a commit's two barriers: a record may then tell of bytes that never arrived.
    let kind = Self.failure("write A/foo append, fsync") { $0.ignoredBarrier = (nth: 0, ofEvery: 2) }
    #expect(kind == .crashContents)
  }

  @Test func anAcknowledgedFsyncThatIsNotDurableIsFound() {
    // The second one: the record may be lost though fsync returned.
    let kind = Self.failure("write A/foo append, fsync") { $0.ignoredBarrier = (nth: 1, ofEvery: 2) }
    #expect(kind == .crashMetadata)
    #expect(
      Self.failure("rename A/foo A/bar, none; unlink B/foo, sync") { $0.ignoresBarriers = true } == .crashMetadata)
  }

  @Test func aLostJournalRecordIsFound() {
    #expect(Self.failure("create A/bar, sync") { $0.lostWrite = 0 } == .crashMetadata)
    #expect(Self.failure("seal A/foo persistent, none") { $0.lostWrite = 0 } == .seal)
  }

  @Test func aSuperblockAheadOfItsCheckpointIsFound() {
    // Barrier, record, barrier; nodes, barrier, superblock, barrier, its copy, barrier; then the next mount's checkpoint.
    let found = (0..<6).filter { nth in
      Self.failure("create A/bar, remount") { $0.ignoredBarrier = (nth: nth, ofEvery: 1000) } != nil
    }
    // Without the first two the metadata is as durable as anybody was told; each of the others is needed.
    #expect(found == [2, 3, 4, 5])
  }

  @Test func recoveryThatOverwritesWhatItNeedsIsFound() {
    let kind = Self.failure("create A/bar, sync", inRecovery: true) { $0.ignoresBarriers = true }
    #expect([.check, .recovery, .crashMetadata].contains(kind), "\(String(describing: kind))")
  }
}

/// The judge by itself: what no crash may leave, however it came about.
@Suite struct CrashJudgementTests {
  let base: CrashBase
  let model: ModelFilesystem
  let file: NodeID
  let map = ObservedMap(generation: 5, extents: [MapExtent(logical: 0, physical: 409600, length: 12288, isPlain: true)])

  init() throws {
    base = try CrashBase()
    model = ModelFilesystem(copying: base.model)
    guard case .found(let id) = model.lookup(CrashName.aFoo.place) else {
      throw StressFailure(.environment, "no A/foo")
    }
    file = id
    for operation in [
      .open(CrashName.aFoo.place, handle: 0, .write),
      .sealNamed(handle: 0, user: 0, name: 1, SealSpec(.strict, persistent: true)),
    ] as [HoldfastSimulation.Operation] {
      model.commit(operation, .done())
      model.endOperation()
    }
  }

  private func volume() -> RecoveredVolume {
    var volume = RecoveredVolume(metadata: model.metadata)
    for (id, content) in model.contents { volume.contents[id] = Array(content.bytes) }
    volume.persistentSeals[file] = model.seals[file]
    volume.sealCounts[file] = 1
    volume.maps[file] = map
    return volume
  }

  private func kind(_ change: (inout RecoveredVolume) -> Void) -> StressFailure.Kind? {
    var volume = volume()
    change(&volume)
    do throws(StressFailure) {
      try CrashPromise(standing: model, sealedMaps: [file: map]).judge(volume)
      return nil
    } catch {
      return error.kind
    }
  }

  @Test func whatWasPromisedStands() {
    #expect(kind { _ in } == nil)
    #expect(kind { $0.maps[file]?.extents[0].physical += 4096 } == .sealedMap)
    #expect(kind { $0.maps[file]?.extents[0].isPlain = false } == .sealedMap)
    #expect(kind { $0.persistentSeals[file] = [] } == .seal)
    #expect(kind { $0.sealCounts[file] = 2 } == .seal, "a temporary request that survived")
    #expect(kind { $0.contents[file]?[77] ^= 1 } == .crashContents)
    #expect(kind { $0.metadata.nodes[file] = nil } == .crashMetadata)
    #expect(kind { $0.metadata.nodes[file]?.size -= 1 } == .crashMetadata)
  }

  @Test func aRenameNeverLosesBothNames() {
    let rename = HoldfastSimulation.Operation.rename(CrashName.aFoo.place, to: CrashName.aBar.place, flags: 0)
    let promise = CrashPromise(
      during: rename, .done(), before: ModelFilesystem(copying: model), sealedMaps: [file: map])
    var volume = volume()
    let directory = model.directory(1)!
    #expect(throws: Never.self) { try promise.judge(volume) }
    volume.metadata.nodes[directory]?.entries[1] = nil
    #expect(throws: StressFailure.self, "neither name") { try promise.judge(volume) }
    volume.metadata.nodes[directory]?.entries[2] = file
    #expect(throws: Never.self) { try promise.judge(volume) }
    volume.metadata.nodes[directory]?.entries[1] = file
    #expect(throws: StressFailure.self, "both names") { try promise.judge(volume) }
  }
}

/// Making images: fates, tears, rewinding.
@Suite struct CrashImageTests {
  @Test func fatesOfFewWritesAreAllSubsets() {
    var random = SeededRandom(seed: 1)
    for count in 0...CrashStates.exhaustiveWrites {
      let all = CrashStates.fates(count, newest: false, &random)
      let untorn = all.filter { $0.allSatisfy { $0 == .whole || $0 == .absent } }
      #expect(untorn.count == 1 << count)
      #expect(all.contains { $0.contains(.torn(.comb)) } == (count > 0))
      #expect(CrashStates.fates(count, newest: true, &random).allSatisfy { $0.last != .absent })
    }
    let many = CrashStates.fates(9, newest: false, &random)
    #expect(many.contains { $0.count { $0 == .absent } == 1 } && many.contains { $0.count { $0 == .whole } == 1 })
    #expect(many.count < 200)
  }

  @Test func anImageIsWhatSurvived() throws {
    let base = SimulatedDevice(byteCount: 1 << 20)
    try SimulatedDeviceTests.write(base, 1, 8192, at: 0)
    let live = SimulatedDevice(rewindingTo: base)
    let recording = DeviceRecording()
    live.recording = recording
    try SimulatedDeviceTests.write(live, 2, 4096, at: 0)
    try live.barrier()
    try SimulatedDeviceTests.write(live, 3, 1300, at: 300)
    try SimulatedDeviceTests.write(live, 4, 512, at: 8192)
    let medium = SimulatedDevice(rewindingTo: base)
    let untouched = medium.fingerprint()
    var image = CrashImage(recording, on: medium)
    image.advance(to: recording.events.count)
    func byte(_ offset: UInt64) throws -> UInt8 { try SimulatedDeviceTests.read(medium, 1, at: offset)[0] }

    image.make([.whole, .whole])
    #expect(medium.fingerprint() == live.fingerprint())
    image.make([.absent, .whole])
    #expect(try byte(400) == 2 && byte(8192) == 4 && byte(4096) == 1)
    let withoutFirst = medium.fingerprint()
    // Sectors of the image, not of the write: its first one ends at 512.
    image.make([.torn(.head), .absent])
    #expect(try byte(299) == 2 && byte(300) == 3 && byte(511) == 3 && byte(512) == 2)
    image.make([.torn(.tail), .absent])
    #expect(try byte(511) == 2 && byte(512) == 3 && byte(1599) == 3 && byte(1600) == 2)
    image.make([.absent, .whole])
    #expect(medium.fingerprint() == withoutFirst)
    medium.rewind()
    #expect(medium.fingerprint() == untouched)
    #expect(try byte(0) == 1)
  }
}
