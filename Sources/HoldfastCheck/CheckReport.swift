/// What a check found. `issues` keeps the first `keptIssues`; the counts count all.

import HoldfastBase
import HoldfastFormat

public struct CheckReport: Sendable {
  public static let keptIssues = 1000

  public enum Outcome: Equatable, Sendable {
    /// Everything that could be reached was checked.
    case complete
    /// No superblock copy bears our mark.
    case notAnImage
    /// Made by a newer Holdfast: these features are unknown, nothing else was looked at.
    case incompatible(features: UInt64)
    /// No superblock copy can be used; `issues` say why.
    case unusable
  }

  public struct Totals: Equatable, Sendable {
    public var inodes: UInt64 = 0
    public var files: UInt64 = 0
    public var directories: UInt64 = 0
    public var symlinks: UInt64 = 0
    public var specials: UInt64 = 0
    public var orphans: UInt64 = 0
    public var extents: UInt64 = 0
    /// Blocks of file extents.
    public var usedBlocks: UInt64 = 0
    public var freeBlocks: UInt64 = 0
    public var quarantinedBlocks: UInt64 = 0
    /// Blocks of metadata chunks, and how many of them the checkpoint uses.
    public var metadataBlocks: UInt64 = 0
    public var metadataBlocksUsed: UInt64 = 0
    public var journalRecords: UInt64 = 0
    public init() {}
  }

  /// Facts of the superblock in use.
  public struct Volume: Equatable, Sendable {
    public var uuid: String
    public var label: String
    public var generation: UInt64
    public var totalBlocks: UInt64
    public var journalBlocks: UInt64
    public var mountCount: UInt64
    public var errorsSeen: Bool
    /// Features we do not know and need not: such a volume is readable.
    public var unknownReadOnlyFeatures: UInt64
  }

  public var outcome = Outcome.complete
  public var issues: [CheckIssue] = []
  public var issueCount: UInt64 = 0
  /// Damaged structures hid parts of the tree: checks that need those parts were left out.
  public var isPartial = false
  /// The volume was not unmounted: its next mount replays the journal. No damage by itself.
  public var wasUnclean = false
  public var totals = Totals()
  public var volume: Volume?
  /// Something was found that writing the superblocks anew does not cure.
  var needsRebuild = false
  /// What the superblock must say of its checkpoint.
  var tally: TreeTally.Totals?

  public init() {}

  public var isSound: Bool { outcome == .complete && issueCount == 0 }
}

/// How far a check is.
public struct Progress: Equatable, Sendable {
  public enum Phase: String, Sendable {
    case superblocks, journal, tree, names, space
    // Of a repair.
    case survey, rebuild
  }
  public var phase: Phase
  /// Metadata blocks in phases `tree`, `survey` and `rebuild`; otherwise 0 or 1 of 1.
  public var done: UInt64
  public var total: UInt64
}

/// Where the parts of the check put what they find. A class because every part holds it; nothing hot does.
final class IssueLog {
  private(set) var issues: [CheckIssue] = []
  private(set) var count: UInt64 = 0
  /// One of the issues is not cured by new superblocks alone.
  private(set) var needsRebuild = false

  func report(_ issue: CheckIssue) {
    count += 1
    if !issue.isCuredBySuperblocks { needsRebuild = true }
    if issues.count < CheckReport.keptIssues { issues.append(issue) }
  }
}
