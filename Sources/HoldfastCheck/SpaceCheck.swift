/// Space: head, chunks, extents, free and quarantined blocks tile the volume; the index by length names
/// exactly the free extents.

import HoldfastBase
import HoldfastFormat

struct SpaceCheck {
  private struct Span {
    var start: BlockNumber
    var count: UInt64
    /// Kind in the high 8 bits, inode in the low 56.
    var owner: UInt64

    var end: UInt64 { start + count }
  }

  private enum Kind: UInt64 {
    case head
    case metadataChunk
    case file
    case sharedFile
    case free
    case quarantine
  }

  private(set) var usedBlocks: UInt64 = 0
  private(set) var freeBlocks: UInt64 = 0
  private(set) var quarantinedBlocks: UInt64 = 0
  private(set) var metadataBlocks: UInt64 = 0
  /// The metadata chunks of the merged records, ascending.
  private(set) var chunks: [BlockRange] = []

  private let superblock: Superblock
  private let log: IssueLog
  private var spans: [Span] = []
  private var free: [BlockRange] = []
  private var indexed: [BlockRange] = []

  init(_ superblock: Superblock, _ log: IssueLog) {
    self.superblock = superblock
    self.log = log
    spans.append(Span(start: 0, count: superblock.dataStart, owner: Kind.head.rawValue << 56))
  }

  private func contains(_ start: BlockNumber, _ count: UInt64) -> Bool {
    start >= superblock.dataStart && start < superblock.totalBlocks && count <= superblock.totalBlocks - start
  }

  /// A free, quarantined or metadata run.
  mutating func take(_ owner: CheckIssue.SpaceOwner, _ start: BlockNumber, _ count: UInt64) {
    if owner == .free { free.append(BlockRange(start: start, count: count)) }
    guard contains(start, count) else {
      log.report(.spaceOutOfBounds(start: start, count: count, owner: owner))
      return
    }
    let kind: Kind
    switch owner {
    case .free:
      kind = .free
      freeBlocks += count
    case .quarantine:
      kind = .quarantine
      quarantinedBlocks += count
    default:
      kind = .metadataChunk
      metadataBlocks += count
      chunks.append(BlockRange(start: start, count: count))
    }
    spans.append(Span(start: start, count: count, owner: kind.rawValue << 56))
  }

  /// An extent of a file.
  mutating func take(_ extent: ExtentRecord, _ key: Key) {
    let count = UInt64(extent.count)
    guard contains(extent.physical, count) else {
      log.report(
        .extentOutOfBounds(inode: key.object, fileBlock: key.offset, physical: extent.physical, count: count))
      return
    }
    usedBlocks += count
    let kind = extent.flags.contains(.shared) ? Kind.sharedFile : Kind.file
    spans.append(Span(start: extent.physical, count: count, owner: kind.rawValue << 56 | key.object))
  }

  mutating func takeIndex(start: BlockNumber, count: UInt64) {
    indexed.append(BlockRange(start: start, count: count))
  }

  /// After the last record. Without `isWhole` some records could not be read: what is missing proves nothing.
  mutating func finish(isWhole: Bool) {
    if isWhole { compareIndex() }
    spans.sort { $0.start < $1.start }
    var covered = spans[0]
    for span in spans.dropFirst() {
      if span.start > covered.end {
        if isWhole { log.report(.spaceLeaked(start: covered.end, count: span.start - covered.end)) }
      } else if span.start < covered.end {
        reportOverlap(covered, span)
      } else if kind(span) == .free && kind(covered) == .free {
        log.report(.unmergedFree(start: span.start))
      }
      if span.end >= covered.end { covered = span }
    }
    if covered.end < superblock.totalBlocks && isWhole {
      log.report(.spaceLeaked(start: covered.end, count: superblock.totalBlocks - covered.end))
    }
  }

  private func kind(_ span: Span) -> Kind { Kind(rawValue: span.owner >> 56) ?? .head }

  private func owner(_ span: Span) -> CheckIssue.SpaceOwner {
    switch kind(span) {
    case .head: .head
    case .metadataChunk: .metadataChunk
    case .file, .sharedFile: .file(span.owner & Key.maximumObject)
    case .free: .free
    case .quarantine: .quarantine
    }
  }

  private func reportOverlap(_ first: Span, _ second: Span) {
    if kind(first) == .sharedFile && kind(second) == .sharedFile { return }
    log.report(
      .spaceOverlap(
        start: second.start, count: min(first.end, second.end) - second.start, first: owner(first),
        second: owner(second)))
  }

  /// Both lists sorted by start: what only one has is an issue.
  private mutating func compareIndex() {
    indexed.sort { $0.start < $1.start || ($0.start == $1.start && $0.count < $1.count) }
    var index = 0
    for range in free {
      while index < indexed.count,
        indexed[index].start < range.start
          || (indexed[index].start == range.start && indexed[index].count < range.count)
      {
        log.report(.freeIndexStray(start: indexed[index].start, count: indexed[index].count))
        index += 1
      }
      if index < indexed.count, indexed[index] == range {
        index += 1
      } else {
        log.report(.freeNotIndexed(start: range.start, count: range.count))
      }
    }
    for stray in indexed[index...] { log.report(.freeIndexStray(start: stray.start, count: stray.count)) }
  }
}
