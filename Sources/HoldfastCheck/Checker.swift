/// The check of a volume: read-only, independent of the engine, in one pass over the metadata.
///
/// Superblocks, chunk map and journal first; then the tree's records are merged with what the journal changes
/// and stream through `RecordCheck` in key order. Memory is proportional to the number of inodes, names and
/// extents (some 100 bytes a file), never to the tree. Nothing read is trusted: every number is bounded before
/// it is used, every loop ends with the volume's own size.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

public struct Checker {
  private let device: BlockDevice
  private let progress: ((Progress) -> Void)?
  /// Leaves between two calls of `progress`.
  private static let progressInterval: UInt64 = 512

  public init(device: BlockDevice, progress: ((Progress) -> Void)? = nil) {
    self.device = device
    self.progress = progress
  }

  /// Checks everything that can be reached.
  public mutating func run() -> CheckReport {
    let log = IssueLog()
    let reader = ImageReader(device: device, log: log)
    var report = CheckReport()
    tell(.superblocks)
    let choice = SuperblockCheck(reader)
    report.outcome = choice.outcome
    if let superblock = choice.superblock { check(superblock, reader, &report) }
    report.issues = log.issues
    report.issueCount = log.count
    report.needsRebuild = log.needsRebuild
    return report
  }

  private func tell(_ phase: Progress.Phase, _ done: UInt64 = 0, _ total: UInt64 = 1) {
    progress?(Progress(phase: phase, done: done, total: total))
  }

  private func check(_ superblock: Superblock, _ reader: ImageReader, _ report: inout CheckReport) {
    report.volume = CheckReport.Volume(superblock)
    tell(.journal)
    let journal = JournalCheck(reader, superblock)
    let chunks = MetadataChunks(reader, superblock)
    var walk = TreeWalk(reader, superblock, chunks)
    var tally = TreeTally(superblock, reader.log)
    var records = RecordCheck(superblock, reader.log)
    merge(&walk, journal.overlay, &tally, &records)

    tell(.names)
    var names = NameCheck(records.takeNames(), walk.lost, reader.log)
    names.run()
    tell(.space)
    let isWhole = walk.lost.isEmpty
    records.finishSpace(isWhole: isWhole)
    if isWhole {
      tally.compareTotals()
      if walk.chunks.isComplete {
        tally.compareChunks(walk.chunks.chunks, merged: records.space.chunks)
        walk.chunks.reportLeaks(reader.log)
      }
    }
    report.isPartial = !isWhole || !walk.chunks.isComplete
    let isClean = superblock.state.contains(.clean)
    report.wasUnclean = !isClean || journal.records > 0
    if isClean && journal.records > 0 { reader.log.report(.cleanWithJournal(records: journal.records)) }
    if isClean && records.totals.orphans > 0 { reader.log.report(.cleanWithOrphans(orphans: records.totals.orphans)) }
    report.tally = tally.totals
    report.totals = records.totals
    report.totals.usedBlocks = records.space.usedBlocks
    report.totals.freeBlocks = records.space.freeBlocks
    report.totals.quarantinedBlocks = records.space.quarantinedBlocks
    report.totals.metadataBlocks = records.space.metadataBlocks
    report.totals.metadataBlocksUsed = walk.chunks.markedBlocks
    report.totals.journalRecords = journal.records
  }

  /// Streams the tree's records, changed as the journal says, in key order.
  private func merge(
    _ walk: inout TreeWalk, _ overlay: Overlay, _ tally: inout TreeTally, _ records: inout RecordCheck
  ) {
    var merge = overlay.merge()
    let total = walk.chunks.markedBlocks
    while let leaf = walk.nextLeaf() {
      if walk.lost.count != records.lost.count { records.lost = walk.lost }
      if walk.visited % Self.progressInterval == 0 { tell(.tree, walk.visited, total) }
      for index in 0..<BlockHeader.count(leaf) {
        tally.take(TreeNode.slotKey(leaf, index), TreeNode.value(leaf, index))
      }
      merge.take(leaf) { records.take($0, $1) }
    }
    records.lost = walk.lost
    merge.finish { records.take($0, $1) }
    records.finish()
    tell(.tree, walk.visited, total)
  }
}

extension CheckReport.Volume {
  init(_ superblock: Superblock) {
    self.init(
      uuid: superblock.id.description, label: superblock.label, generation: superblock.generation,
      totalBlocks: superblock.totalBlocks, journalBlocks: superblock.journalBlocks,
      mountCount: superblock.mountCount, errorsSeen: superblock.state.contains(.errors),
      unknownReadOnlyFeatures: superblock.readOnlyCompatible & ~Superblock.knownReadOnlyCompatible)
  }
}
