import Foundation
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import Testing

@testable import HoldfastCheck

/// A device that keeps what is written to it, so that a power cut can be made at any moment afterwards.
private final class RecordingDevice: BlockDevice, @unchecked Sendable {
  struct Write {
    var offset: UInt64
    var bytes: [UInt8]
    /// Barriers before it.
    var epoch: Int
  }

  private(set) var writes: [Write] = []
  private(set) var barriers = 0
  private let device: MemoryDevice

  init(_ device: MemoryDevice) {
    self.device = device
    super.init(byteCount: device.byteCount)
  }

  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    try device.read(into: buffer, at: offset)
  }

  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    writes.append(Write(offset: offset, bytes: [UInt8](bytes), epoch: barriers))
    try device.write(bytes, at: offset)
  }

  override func barrier() throws(FSError) { barriers += 1 }
}

/// A repair cut off at any write or barrier: what is left is repaired to the same volume.
@Suite struct RepairCrashTests {
  private let seed =
    ProcessInfo.processInfo.environment["HOLDFAST_FUZZ_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64.max >> 1)

  /// Every record of the volume on `device`, and the superblock's counts.
  private func content(_ device: MemoryDevice) throws -> [String] {
    let reader = ImageReader(device: device, log: IssueLog())
    let superblock = try #require(SuperblockCheck(reader).superblock)
    let tree = OldTree(reader, superblock) { _, _ in }
    let old = OldRecords(device, superblock, tree, JournalCheck(reader, superblock).overlay)
    var records: [String] = ["free \(superblock.freeBlocks) inodes \(superblock.inodeCount) \(superblock.nextInode)"]
    try old.visit { key, value in
      // Where the tree and copies lie may differ with where the cut-off repair had put them.
      guard key.space == .file || key.space == .orphan || key.space == .persistentSeal else { return }
      if key.type == .extent, key.space == .file, let extent = ExtentRecord(decoding: value) {
        for block in 0..<UInt64(extent.count) {
          let bytes = UnsafeRawBufferPointer(
            start: device.block(extent.physical + block), count: extent.flags.contains(.unwritten) ? 0 : Block.size)
          records.append("\(key.told)+\(block) \(extent.flags.rawValue) \(crc32c(bytes))")
        }
        return
      }
      // The map generation counts repairs.
      var bytes = [UInt8](value)
      if key.space == .file, key.type == .inode { bytes.replaceSubrange(104..<112, with: repeatElement(0, count: 8)) }
      records.append("\(key.told) \(bytes)")
    }
    return records
  }

  @Test(arguments: [
    "two files on one block", "leaf flipped", "root flipped", "first superblock wiped", "second superblock flipped",
    "directories that hold each other", "journal record missing", "node in no chunk", "superblocks of two volumes",
    "total at 184 of the superblock", "bad sector in the journal", "file over a metadata chunk",
    "second superblock left behind", "chunk map flipped", "reserved inode number",
  ])
  func atEveryWrite(_ name: String) throws {
    print("crash seed \(seed)")
    var random = Seeded(seed)
    let damage = try #require(Damage.all.first { $0.name == name })
    let damaged = RepairTests.pattern(damage.make().0)
    let finished = damaged.copy()
    let recorder = RecordingDevice(finished)
    var repairer = Repairer(device: recorder, permission: .everything, now: RepairTests.now)
    #expect(repairer.run().outcome == .repaired)
    let wanted = try content(finished)
    #expect(recorder.writes.count >= 2 && recorder.barriers >= 2)

    for cut in 0...recorder.writes.count {
      // Everything up to the cut; and with what no barrier has made durable dropped or torn at random.
      for variant in 0..<4 {
        let device = damaged.copy()
        let epoch = cut > 0 ? recorder.writes[cut - 1].epoch : 0
        for write in recorder.writes[..<cut] {
          let isDurable = write.epoch < epoch
          if !isDurable && variant > 0 && random.next() % 2 == 0 { continue }
          let isTorn = !isDurable && variant > 1 && random.next() % 2 == 0
          let sectors = isTorn ? Int(random.next() % UInt64(write.bytes.count / 512)) : write.bytes.count / 512
          try write.bytes.withUnsafeBytes { bytes throws in
            try device.write(UnsafeRawBufferPointer(rebasing: bytes[..<(sectors * 512)]), at: write.offset)
          }
        }
        let what = "\(name), seed \(seed), cut \(cut), variant \(variant)"
        let report = RepairTests.repair(device)
        #expect([.repaired, .notNeeded].contains(report.outcome), "\(what): \(report.outcome)")
        #expect(RepairTests.repair(device).outcome == .notNeeded, "\(what)")
        #expect(try content(device) == wanted, "\(what)")
      }
    }
  }

  /// A device that fails at any write: the error is told, and the next repair does it all.
  @Test func atEveryFailedWrite() throws {
    let damage = try #require(Damage.all.first { $0.name == "two files on one block" })
    for failing in 0..<20 {
      let device = damage.make().0
      let faulty = FailingDevice(device, failingWrite: failing)
      var repairer = Repairer(device: faulty, permission: .everything, now: RepairTests.now)
      let report = repairer.run()
      guard faulty.hasFailed else {
        #expect(report.outcome == .repaired && failing > 3)
        return
      }
      guard case .failed(.device) = report.outcome else {
        Issue.record("write \(failing): \(report.outcome)")
        return
      }
      #expect(report.exitStatus == 8)
      #expect([.repaired, .notNeeded].contains(RepairTests.repair(device).outcome))
      RepairTests.expectSound(device, "write \(failing)")
    }
    Issue.record("a repair of so small a volume takes fewer writes")
  }
}

private final class FailingDevice: BlockDevice, @unchecked Sendable {
  private let device: MemoryDevice
  private var writes = 0
  private let failingWrite: Int
  private(set) var hasFailed = false

  init(_ device: MemoryDevice, failingWrite: Int) {
    self.device = device
    self.failingWrite = failingWrite
    super.init(byteCount: device.byteCount)
  }

  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    try device.read(into: buffer, at: offset)
  }

  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    defer { writes += 1 }
    if writes >= failingWrite {
      hasFailed = true
      throw .device(operation: .write, byteOffset: offset, errno: EIO)
    }
    try device.write(bytes, at: offset)
  }

  override func barrier() throws(FSError) {}
}
