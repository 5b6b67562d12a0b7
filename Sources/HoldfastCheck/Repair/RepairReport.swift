/// What a repair came to: what was found, what was done, what could not be kept, and what a second check says.

import HoldfastBase
import HoldfastFormat

public struct RepairReport: Sendable {
  public enum Outcome: Equatable, Sendable {
    /// The check found nothing to mend.
    case notNeeded
    /// Written and durable; `after` is the second check.
    case repaired
    /// Nothing was written: this damage is more than may be mended unasked, or cannot be now.
    case refused(Refusal)
    /// Nothing was written: there is no volume to mend.
    case impossible
    /// The device failed. Before the superblocks were reached the volume is as it was.
    case failed(FSError)
  }

  public enum Refusal: String, Sendable {
    /// Only `-y` may decide or lose something.
    case needsDecision
    /// No room for a second tree beside the old one.
    case noSpace
    case imageTruncated
    /// Features we do not know: writing would break something.
    case unknownFeatures
    /// The checkpoint's number cannot rise any more.
    case generationsUsedUp
  }

  /// A note and the path of the file it is about, in the repaired volume; empty when it has none.
  public struct Entry: Sendable {
    public var note: RepairNote
    public var path: String
  }

  public static let keptNotes = 1000

  /// The check before anything was written.
  public var before: CheckReport
  public var outcome = Outcome.notNeeded
  /// The first `keptNotes`. Of a refused repair: what it would have done.
  public var entries: [Entry] = []
  public var noteCount: UInt64 = 0
  public var lossCount: UInt64 = 0
  /// The check of the repaired volume.
  public var after: CheckReport?

  init(before: CheckReport) { self.before = before }

  /// fsck(8)'s exit status.
  public var exitStatus: Int32 {
    switch outcome {
    case .notNeeded: 0
    case .repaired: after?.isSound == true ? 1 : 1 | 4
    case .refused: 4
    case .impossible, .failed: 8
    }
  }
}

/// Where a repair notes what it does. A class because every part holds it.
final class RepairNotes {
  private(set) var notes: [RepairNote] = []
  private(set) var count: UInt64 = 0
  private(set) var lossCount: UInt64 = 0
  /// Nothing but harmless things so far.
  private(set) var isHarmless = true

  func add(_ note: RepairNote) {
    count += 1
    let grade = note.grade
    if grade == .loss { lossCount += 1 }
    if grade != .harmless { isHarmless = false }
    if notes.count < RepairReport.keptNotes { notes.append(note) }
  }
}
