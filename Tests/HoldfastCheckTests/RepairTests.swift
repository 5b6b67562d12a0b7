import HoldfastBase
import HoldfastFormat
import HoldfastStore
import Testing

@testable import HoldfastCheck

/// Every kind of damage: repaired, the second check finds nothing, what was sound is as before, what is gone is named.
@Suite struct RepairTests {
  static let now = Timestamp(seconds: 1_800_000_000, nanoseconds: 0)

  /// What no repair can mend, and why.
  private static let hopeless: [String: RepairReport.Outcome] = [
    "image cut short": .refused(.imageTruncated), "both superblocks damaged": .impossible,
  ]

  /// Files the damage gives blocks the sample's do not have.
  private static func given(_ damage: Damage) -> [InodeNumber] {
    damage.name.contains("over ") || damage.name.hasPrefix("two files") ? [Sample.empty, Sample.withXattrs] : []
  }

  /// Kinds of issues that lose nothing: `-p` repairs them.
  private static let harmless: Set<String> = [
    "superblockInvalid", "superblockInconsistent", "superblockStale", "cleanWithJournal", "cleanWithOrphans",
    "chunkMapInvalid", "chunkMapOutOfBounds", "chunkMapCycle", "chunkMapLength", "chunkInvalid", "chunksOverlap",
    "chunkBitsBeyondEnd", "chunkUnrecorded", "chunkUnmapped", "metadataOutsideChunks", "metadataNotMarked",
    "metadataLeaked", "linkCount", "blockCount", "directorySize", "directoryParent", "orphanDangling", "orphanNamed",
    "orphanMisplaced", "spaceLeaked", "freeNotIndexed", "freeIndexStray", "unmergedFree", "freeTotal",
    "quarantineTotal", "inodeTotal", "inodeBeyondNext",
  ]

  /// Writes something else into every block of the data area that holds nothing, so that contents differ.
  static func pattern(_ device: MemoryDevice) -> MemoryDevice {
    for block in UInt64(2305)..<device.byteCount >> 12 where UnsafeRawPointer(device.block(block)).u64(4000) == 0 {
      if UnsafeRawPointer(device.block(block)).u64(0) != 0 { continue }
      for offset in stride(from: 0, to: Block.size, by: 8) { device.block(block).put(block &* 0x9e37 + 1, offset) }
    }
    return device
  }

  static func repair(_ device: MemoryDevice, _ permission: Repairer.Permission = .everything) -> RepairReport {
    var repairer = Repairer(device: device, permission: permission, now: now)
    return repairer.run()
  }

  static func expectSound(_ device: MemoryDevice, _ what: String) {
    var checker = Checker(device: device)
    let report = checker.run()
    #expect(report.issues.map(\.message) == [], "\(what)")
    #expect(report.isSound && !report.isPartial, "\(what)")
  }

  @Test(arguments: Damage.all) func isRepaired(_ damage: Damage) throws {
    let device = Self.pattern(damage.make().0)
    let before = device.copy()
    let report = Self.repair(device)
    #expect(report.before.issueCount > 0)
    if let outcome = Self.hopeless[damage.name] {
      #expect(report.outcome == outcome && device.isSame(as: before))
      return
    }
    #expect(report.outcome == .repaired, "\(report.entries.map(\.note.message))")
    #expect(report.after?.issues.map(\.message) == [] && report.exitStatus == 1)
    Self.expectSound(device, damage.name)
    let again = Self.repair(device)
    #expect(again.outcome == .notNeeded && again.exitStatus == 0)
    try expectNothingUnnamed(damage, report, device)
    try Self.expectUsable(device, damage.name)
  }

  /// What the sample volume had is there as it was, or somebody has been told.
  private func expectNothingUnnamed(_ damage: Damage, _ report: RepairReport, _ device: MemoryDevice) throws {
    let isBare = report.before.totals.inodes <= 1 && report.lossCount == 0
    let reference = try VolumeDump(Self.pattern(isBare ? Sample.bare().build() : Sample.image().build()))
    let repaired = try VolumeDump(device)
    let told = Told(report)
    for (path, file) in reference.files where repaired.files[path] != file && !Self.given(damage).contains(file.inode) {
      #expect(
        told.speaks(of: file.inode, path, reference),
        "\(path): \(file.text) became \(repaired.files[path]?.text ?? "nothing"); told: \(told.lines)")
    }
  }

  /// The engine mounts, changes and unmounts the volume; it is sound afterwards.
  static func expectUsable(_ device: MemoryDevice, _ what: String) throws {
    var options = StoreOptions()
    options.backgroundThread = false
    let store = try Store(mounting: device, options: options)
    let caller = Credentials(uid: 0, gid: 0, pid: 1)
    let home = try store.make(NewInode(mode: 0o040755, umask: 0), named: "after repair", in: 1, by: caller)
    for number in 0..<40 {
      let inode = try store.make(NewInode(mode: 0o100644, umask: 0), named: "file \(number)", in: home, by: caller)
      try store.write(inode, [UInt8](repeating: 5, count: 9000), at: UInt64(number) * 1000)
    }
    try store.syncAll()
    for number in 0..<20 { try store.unlink(named: "file \(number)", in: home) }
    try store.unmount()
    expectSound(device, "\(what), used and unmounted")
  }

  @Test(arguments: Damage.all) func preeningRepairsOrRefuses(_ damage: Damage) throws {
    let device = Self.pattern(damage.make().0)
    let before = device.copy()
    let report = Self.repair(device, .harmless)
    let kinds = Set(report.before.issues.map(\.kind))
    if kinds.isSubset(of: Self.harmless) && Self.hopeless[damage.name] == nil {
      #expect(report.outcome == .repaired, "\(report.entries.map(\.note.message))")
    }
    guard report.outcome == .repaired else {
      #expect(device.isSame(as: before) && report.exitStatus == (report.outcome == .impossible ? 8 : 4))
      return
    }
    #expect(report.lossCount == 0 && report.exitStatus == 1)
    #expect(report.entries.allSatisfy { $0.note.grade == .harmless })
    Self.expectSound(device, damage.name)
    guard report.before.totals.inodes > 1 else { return }
    let repaired = try VolumeDump(device)
    for (path, file) in try VolumeDump(Self.pattern(Sample.image().build())).files
    where !Self.given(damage).contains(file.inode) {
      #expect(repaired.files[path] == file, "\(path)")
    }
  }

  /// Every kind of note is one that some damage brings about; the rest are made in other tests of this target.
  @Test func everyNoteIsMade() throws {
    var made: Set<String> = []
    for damage in Damage.all { made.formUnion(Self.repair(damage.make().0).entries.map(\.note.kind)) }
    let elsewhere: Set<String> = ["errorsForgotten", "sealMoved", "inodeDropped"]
    let missing = try NoteSource.cases().subtracting(made).subtracting(elsewhere)
    #expect(missing == [])
  }
}

/// What a repair told, to look up whether a file was spoken of.
struct Told {
  let lines: [String]
  private let lost: [(lower: Key, upper: Key?)]
  private let journalIsCut: Bool

  init(_ report: RepairReport) {
    // What is harmless by its own grade explains nothing that changed or is gone.
    lines = report.entries.filter { $0.note.grade != .harmless }.map { "\($0.note.message) [\($0.path)]" }
    lost = report.entries.compactMap {
      if case .recordsLost(_, let lower, let upper) = $0.note { (lower, upper) } else { nil }
    }
    journalIsCut = report.entries.contains { $0.note.kind == "journalCut" }
  }

  /// Whether `inode`, or a directory on the way to it, is in a note.
  func speaks(of inode: InodeNumber, _ path: String, _ dump: VolumeDump) -> Bool {
    if journalIsCut { return true }
    var inodes = [inode]
    var folder = path
    while let slash = folder.lastIndex(of: "/"), folder != "/" {
      folder = String(folder[..<slash])
      if let parent = dump.files[folder.isEmpty ? "/" : folder] { inodes.append(parent.inode) }
    }
    return inodes.contains { inode in
      if lost.contains(where: { $0.lower.high <= inode && ($0.upper.map { inode <= $0.high } ?? true) }) { return true }
      return speaksDirectly(of: inode)
    }
  }

  /// Whether a note names `inode` itself.
  func speaksDirectly(of inode: InodeNumber) -> Bool {
    let ways = ["inode \(inode) ", "directory \(inode) ", "link \(inode) ", "0:\(inode):"]
    return lines.contains { line in ways.contains { line.contains($0) } }
  }
}
