import Foundation
import HoldfastBase
import HoldfastFormat
import HoldfastStore
import Testing

@testable import HoldfastCheck

/// Random damage, repaired: the check finds nothing afterwards and the engine works on the volume.
/// HOLDFAST_FUZZ_SEED repeats a run, HOLDFAST_FUZZ_RUNS makes it longer.
@Suite(.serialized) struct RepairFuzz {
  private static let environment = ProcessInfo.processInfo.environment
  private let seed = environment["HOLDFAST_FUZZ_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64.max >> 1)
  private let runs = environment["HOLDFAST_FUZZ_RUNS"].flatMap { Int($0) } ?? 150

  private func exercise(_ device: MemoryDevice, _ run: Int, _ random: inout Seeded) throws {
    let what = "seed \(seed), run \(run)"
    let before = device.copy()
    let report = RepairTests.repair(device)
    switch report.outcome {
    case .repaired:
      #expect(report.after?.issues.map(\.message) == [], "\(what): \(report.before.issues.map(\.message))")
      guard report.after?.isSound == true else { return }
      #expect(RepairTests.repair(device).outcome == .notNeeded, "\(what)")
      if report.before.volume?.totalBlocks == 4096 {
        // Damage may make the root immutable: that is a sound volume where nothing can be made.
        // Or give a file all the blocks there are: a full one.
        do { try RepairTests.expectUsable(device, what) } catch FSError.notPermitted {
        } catch FSError.noSpace {
          #expect(report.after.map { $0.totals.freeBlocks < 1024 } == true, "\(what)")
        }
      }
    case .notNeeded: #expect(report.before.isSound, "\(what)")
    case .refused(let refusal):
      #expect([.imageTruncated, .unknownFeatures, .generationsUsedUp].contains(refusal), "\(what): \(refusal)")
      #expect(device.isSame(as: before), "\(what)")
    case .impossible:
      #expect(report.before.outcome != .complete && device.isSame(as: before), "\(what)")
    case .failed(let error): Issue.record("\(what): \(error)")
    }
  }

  @Test func wrongRecords() throws {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let base = HostileImages.journaled(sound: true)
    for run in 0..<runs {
      var image = base
      image.leafLimit = [2, 10, 60].randomElement(using: &random)!
      HostileImages.damageRecords(of: &image, &random)
      try exercise(image.build(), run, &random)
    }
  }

  @Test func wrongBytesUnderRightChecksums() throws {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let base = HostileImages.journaled(sound: true)
    for run in 0..<runs {
      let device = base.build()
      HostileImages.damageBlocks(of: device, ring: [1022, 1023, 0, 1], device.copy(), &random)
      try exercise(device, run, &random)
    }
  }

  @Test func flippedBits() throws {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    for run in 0..<runs {
      var image = HostileImages.journaled(sound: run % 2 == 0)
      image.leafLimit = [2, 10, 60].randomElement(using: &random)!
      let device = image.build()
      // Never both superblocks: those are beyond repair.
      let blocks =
        [Geometry.superblocks.randomElement(using: &random)!] + device.chain + device.leaves + device.internals
        + [1022, 1023, 0, 1].map { Geometry.journalStart + $0 }
      for _ in 0...random.next() % 5 {
        device.flip(
          blocks.randomElement(using: &random)!, byte: Int(random.next() % UInt64(Block.size)),
          bit: UInt8(random.next() % 8))
      }
      try exercise(device, run, &random)
    }
  }

  /// A volume the engine made, with thousands of records, losing whole nodes.
  @Test func lostNodesOfARealVolume() throws {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let id = FilesystemID(high: 5, low: 6)
    let original = MemoryDevice(blocks: 8192, id: id)
    try Store.format(original, options: FormatOptions(label: "engine", id: id, hashSeed: 99))
    var options = StoreOptions()
    options.backgroundThread = false
    let store = try Store(mounting: original, options: options)
    var world = World()
    for _ in 0..<1500 { world.step(store, &random) }
    try store.syncAll()
    for _ in 0..<200 { world.step(store, &random) }
    try store.syncAll()
    let log = IssueLog()
    let reader = ImageReader(device: original, log: log)
    let superblock = try #require(SuperblockCheck(reader).superblock)
    let marked = MetadataChunks(reader, superblock).markedBlockNumbers
    for run in 0..<max(runs / 10, 5) {
      let device = original.copy()
      for _ in 0...random.next() % 4 {
        device.flip(marked.randomElement(using: &random)!, byte: Int(random.next() % 4096), bit: 3)
      }
      try exercise(device, run, &random)
    }
  }
}
