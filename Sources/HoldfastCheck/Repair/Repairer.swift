/// Repair: a filter from the old records to a new tree, beside the old one, and two superblocks that name it. Nothing of
/// the old checkpoint is overwritten before they do, so a crash leaves the old volume or the new one
/// (docs/decisions/0005-repair-rebuilds-the-tree.md).

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

public struct Repairer {
  /// What may be done unasked.
  public enum Permission: Sendable {
    /// Only what loses nothing and decides nothing (`-p`).
    case harmless
    case everything
  }

  /// Checkpoint numbers end below 2^62, with room for those to come.
  private static let lastGeneration: UInt64 = 1 << 61

  private let device: BlockDevice
  private let permission: Permission
  private let now: Timestamp
  private let progress: ((Progress) -> Void)?
  private let notes = RepairNotes()

  /// `now` is the new checkpoint's time.
  public init(
    device: BlockDevice, permission: Permission, now: Timestamp = .now, progress: ((Progress) -> Void)? = nil
  ) {
    self.device = device
    self.permission = permission
    self.now = now
    self.progress = progress
  }

  /// Checks, repairs what needs it and may be, and checks again.
  public mutating func run() -> RepairReport {
    var checker = Checker(device: device, progress: progress)
    var report = RepairReport(before: checker.run())
    do throws(FSError) {
      report.outcome = try repair(report.before, &report)
    } catch {
      report.outcome = .failed(error)
    }
    report.noteCount = notes.count
    report.lossCount = notes.lossCount
    if report.entries.isEmpty { report.entries = notes.notes.map { RepairReport.Entry(note: $0, path: "") } }
    if report.outcome == .repaired { report.after = checker.run() }
    return report
  }

  private func repair(_ found: CheckReport, _ report: inout RepairReport) throws(FSError) -> RepairReport.Outcome {
    let reader = ImageReader(device: device, log: IssueLog())
    guard found.outcome == .complete, let choice = SuperblockChoice(reader) else { return .impossible }
    let superblock = choice.superblock
    let hasErrorMark = superblock.state.contains(.errors)
    if found.isSound && !hasErrorMark { return .notNeeded }
    if superblock.readOnlyCompatible & ~Superblock.knownReadOnlyCompatible != 0 { return .refused(.unknownFeatures) }
    if reader.blocks < superblock.totalBlocks { return .refused(.imageTruncated) }
    if hasErrorMark { notes.add(.errorsForgotten) }
    if choice.isDecision { notes.add(.superblockChosen(copy: choice.copy)) }
    if !found.needsRebuild, !choice.isDecision, let mended = mended(superblock, found) {
      notes.add(.superblocksWritten)
      try SuperblockWriter.write(mended, to: device)
      return .repaired
    }
    guard choice.highestGeneration < Self.lastGeneration else { return .refused(.generationsUsedUp) }
    return try rebuild(superblock, generation: choice.highestGeneration + 1, reader, &report)
  }

  /// The superblock as its checkpoint wants it; nil when that is an impossible one.
  private func mended(_ superblock: Superblock, _ found: CheckReport) -> Superblock? {
    guard let tally = found.tally else { return nil }
    var mended = superblock
    mended.state = found.wasUnclean || found.totals.orphans > 0 ? [] : superblock.state.intersection(.clean)
    mended.freeBlocks = tally.freeBlocks
    mended.quarantinedBlocks = tally.quarantinedBlocks
    mended.inodeCount = tally.inodes
    mended.nextInode = max(superblock.nextInode, tally.greatestInode + 1)
    return mended.isConsistent ? mended : nil
  }

  private func tell(_ phase: Progress.Phase, _ done: UInt64, _ total: UInt64) {
    guard done % 512 == 0 else { return }
    progress?(Progress(phase: phase, done: done, total: max(total, 1)))
  }

  private func rebuild(
    _ superblock: Superblock, generation: UInt64, _ reader: ImageReader, _ report: inout RepairReport
  ) throws(FSError) -> RepairReport.Outcome {
    let journal = JournalCheck(reader, superblock)
    if journal.isDamaged || !journal.unreadable.isEmpty {
      notes.add(.journalCut(sequence: journal.expected, position: journal.endPosition))
    }
    let tree = OldTree(reader, superblock) { tell(.tree, $0, $1) }
    for loss in tree.losses where !loss.holdsSpaceOnly {
      notes.add(.recordsLost(block: loss.block, lower: loss.lower, upper: loss.upper))
    }
    if !tree.salvaged.isEmpty { notes.add(.leavesSalvaged(count: UInt64(tree.salvaged.count))) }

    let old = OldRecords(device, superblock, tree, journal.overlay)
    var names = NamePlan(try Survey(superblock, old, notes) { tell(.survey, $0, old.leafCount) })
    try names.run()
    names.survey.raiseSizes()
    guard let space = SpacePlan(&names.survey, tree, reader) else { return .refused(.noSpace) }
    let end = JournalEnd(journal, superblock)
    let new = planned(superblock, generation: generation, names.survey, space, end)
    guard new.isConsistent else { return .refused(.generationsUsedUp) }
    notes.add(.treeRebuilt(generation: generation))
    let paths = NotePaths(names, for: notes.notes)
    for note in notes.notes {
      report.entries.append(RepairReport.Entry(note: note, path: try note.subject.map(paths.path) ?? ""))
    }
    guard permission == .everything || notes.isHarmless else { return .refused(.needsDecision) }
    try write(new, &names, space, end)
    return .repaired
  }

  /// The superblock to come, but for the places of the new tree: it must be one that can be opened.
  private func planned(
    _ superblock: Superblock, generation: UInt64, _ survey: Survey, _ space: SpacePlan, _ journal: JournalEnd
  ) -> Superblock {
    var new = superblock
    new.generation = generation
    new.mountCount = min(superblock.mountCount + 1, Self.lastGeneration)
    new.journalSequence = journal.sequence
    new.journalPosition = journal.position
    new.nextInode = survey.numbers.next
    new.freeBlocks = space.free.blockCount
    new.quarantinedBlocks = 0
    new.writtenSeconds = now.seconds
    return new
  }

  /// Copies and the new tree, barrier, superblocks.
  private func write(
    _ planned: Superblock, _ names: inout NamePlan, _ space: SpacePlan, _ journal: JournalEnd
  ) throws(FSError) {
    var new = planned
    try space.clones.write(device, &names.survey)
    try clearTails(names.survey.zeros)
    names.survey.edits.settle()
    var rebuild = Rebuild(
      device, names.survey, retargeted: names.retargeted, space, generation: new.generation,
      mountCount: new.mountCount)
    let leaves = names.survey.old.leafCount
    let tree = try rebuild.run { tell(.rebuild, $0, leaves) }
    try device.barrier()

    new.root = NodeReference(block: tree.root, generation: new.generation)
    new.rootLevel = tree.level
    new.chunkMap = tree.map[0]
    new.chunkMapBlocks = UInt64(tree.map.count)
    new.inodeCount = rebuild.inodes
    new.state = rebuild.orphans == 0 ? .clean : []
    try SuperblockWriter.write(new, to: device)
    try journal.wipe(device)
  }

  /// Behind the old ends of files that grow, where nobody can look yet.
  private func clearTails(_ zeros: [(block: BlockNumber, from: Int)]) throws(FSError) {
    let buffer = AlignedBuffer(byteCount: Block.size)
    for (block, from) in zeros {
      try device.read(into: buffer.bytes, at: block << UInt64(Block.shift))
      UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[from...]).initializeMemory(as: UInt8.self, repeating: 0)
      try device.write(UnsafeRawBufferPointer(buffer.bytes), at: block << UInt64(Block.shift))
    }
  }
}

extension CheckIssue {
  /// New superblocks alone put it right.
  var isCuredBySuperblocks: Bool {
    switch self {
    case .superblockInvalid, .superblockInconsistent, .superblockStale, .cleanWithJournal, .cleanWithOrphans,
      .freeTotal, .quarantineTotal, .inodeTotal, .inodeBeyondNext:
      true
    case .superblocksDisagree(let field): field == .contents
    default: false
    }
  }
}
