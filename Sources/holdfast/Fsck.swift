/// `holdfast fsck`: the check, and with -p or -y the repair.

import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastCheck
import HoldfastCommand
import HoldfastDevice

struct Fsck: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a volume, and repair it.",
    discussion: """
      Reads every structure and compares them with each other. Without -p or -y nothing is written. -p repairs what \
      loses nothing and decides nothing (superblock copies, counts, free space, orphan records); -y repairs all there \
      is, and says what could not be kept. Exit status, as fsck(8) wants it: 0 no damage, 1 damage corrected, 4 damage \
      left, 8 the check or repair could not be done, 16 bad usage.

      Examples:
        holdfast fsck disk.img
        holdfast fsck -y disk.img
        holdfast fsck disk.img --json
      """)

  /// fsck(8)'s.
  enum Status {
    static let damaged: Int32 = 4
    static let failed: Int32 = 8
    static let usage: Int32 = 16
  }

  @Argument(help: "Image file or block device, not mounted.", completion: .file())
  var image: String

  @Flag(name: .customShort("n"), help: "Change nothing (the default).")
  var noChanges = false

  @Flag(name: [.customShort("p"), .customShort("a")], help: "Repair what loses nothing, asking nothing.")
  var preen = false

  @Flag(name: .customShort("y"), help: "Repair everything.")
  var yes = false

  @Flag(name: .customShort("f"), help: "Check even if clean (always done).")
  var force = false

  @Flag(help: "One JSON object; docs/FORMAT.md describes it.")
  var json = false

  func validate() throws {
    guard [noChanges, preen, yes].count(where: { $0 }) <= 1 else {
      throw ValidationError("-n, -p and -y exclude each other")
    }
  }

  func run() throws {
    let device: ImageFile
    do throws(CommandError) {
      device = try ImageLock.open(image, mode: preen || yes ? .readWrite : .readOnly, notice: complain)
    } catch {
      throw CommandError(error.what, error.why, exitStatus: Status.failed)
    }
    let meter = ProgressMeter()
    if preen || yes {
      // A repair may give any block that no file has to another, and move what two files have.
      try ImageLeases.refuse(device, path: image, exitStatus: Status.failed)
      var repairer = Repairer(device: device, permission: yes ? .everything : .harmless, progress: meter.show)
      let report = repairer.run()
      meter.clear()
      try finish(report)
    } else {
      var checker = Checker(device: device, progress: meter.show)
      let report = checker.run()
      meter.clear()
      try finish(report)
    }
  }

  // MARK: A check

  private func finish(_ report: CheckReport) throws {
    if json {
      print(String(decoding: report.json, as: UTF8.self))
    } else {
      tellIssues(report)
      tellVolume(report)
      if report.isPartial { print("\(image): damaged nodes hide records; these counts are not of all there is") }
      if report.outcome == .complete, !report.isSound {
        print("\(image): \(found(report)), nothing changed (-p repairs what loses nothing, -y everything)")
      }
    }
    try flushReport()
    try refuseForeign(report)
    if report.outcome == .unusable { throw noSuperblock }
    if !report.isSound { throw ExitCode(Status.damaged) }
  }

  /// - Throws: when there is no volume to check.
  private func refuseForeign(_ report: CheckReport) throws(CommandError) {
    switch report.outcome {
    case .notAnImage: throw CommandError(image, "\(FSError.notAnImage)", exitStatus: Status.failed)
    case .incompatible(let features):
      throw CommandError(image, "\(FSError.incompatibleFormat(features: features))", exitStatus: Status.failed)
    case .complete, .unusable: break
    }
  }

  private func tellIssues(_ report: CheckReport) {
    for issue in report.issues { print("\(issue.severity): \(issue.message)") }
    let more = report.issueCount - UInt64(report.issues.count)
    if more > 0 { print("… and \(more) more") }
  }

  private func tellVolume(_ report: CheckReport) {
    guard let volume = report.volume, report.outcome == .complete else { return }
    let totals = report.totals
    print(
      "\(image): \(totals.files) files, \(totals.directories) directories, \(totals.symlinks) symlinks, "
        + "\(totals.extents) extents; \(totals.usedBlocks) of \(volume.totalBlocks) blocks hold data")
    if report.wasUnclean { print("\(image): not unmounted cleanly; the next mount replays its journal") }
    if report.isSound { print("\(image): clean") }
  }

  private func found(_ report: CheckReport) -> String {
    report.issueCount == 1 ? "1 problem found" : "\(report.issueCount) problems found"
  }

  // MARK: A repair

  private func finish(_ report: RepairReport) throws {
    if json {
      print(String(decoding: report.json, as: UTF8.self))
    } else {
      tellIssues(report.before)
      for entry in report.entries {
        let path = entry.path.isEmpty ? "" : " [\(entry.path)]"
        print("\(report.outcome == .repaired ? "" : "would be ")\(entry.note.grade.word): \(entry.note.message)\(path)")
      }
      let more = report.noteCount - UInt64(report.entries.count)
      if more > 0 { print("… and \(more) more") }
    }
    try refuseForeign(report.before)
    switch report.outcome {
    case .notNeeded:
      if !json { tellVolume(report.before) }
    case .repaired:
      if !json { tellRepaired(report) }
    case .refused(let refusal):
      throw CommandError(
        image, "\(found(report.before)), nothing changed: \(refusal.advice)", exitStatus: Status.damaged)
    case .impossible:
      throw noSuperblock
    case .failed(let error):
      throw CommandError(image, "the repair was cut short: \(error)", exitStatus: Status.failed)
    }
    try flushReport()
    if report.exitStatus != 0 { throw ExitCode(report.exitStatus) }
  }

  private var noSuperblock: CommandError {
    CommandError(
      image, "neither superblock copy can be used: nothing says where the volume's parts are",
      exitStatus: Status.failed)
  }

  /// A report nobody could read is no check.
  private func flushReport() throws(CommandError) {
    guard fflush(nil) == 0 else { throw CommandError("stdout", errno: errno, exitStatus: Status.failed) }
  }

  private func tellRepaired(_ report: RepairReport) {
    guard let after = report.after else { return }
    let losses = report.lossCount == 0 ? "nothing lost" : "\(report.lossCount) losses, named above"
    if after.isSound {
      tellVolume(after)
      print("\(image): repaired, \(losses)")
    } else {
      tellIssues(after)
      print("\(image): repaired, \(losses), but \(found(after)) afterwards")
    }
  }
}

extension RepairNote.Grade {
  fileprivate var word: String {
    switch self {
    case .harmless: "mended"
    case .change: "changed"
    case .loss: "lost"
    }
  }
}

extension RepairReport.Refusal {
  fileprivate var advice: String {
    switch self {
    case .needsDecision: "-y repairs it, at the cost told above"
    case .noSpace: "no room for new metadata beside the old; if it still mounts (-o ro), copy the files off"
    case .imageTruncated: "the image is cut short; make it as long as it was (truncate -s), what was cut off is lost"
    case .unknownFeatures: "a newer Holdfast made this volume and must repair it"
    case .generationsUsedUp: "its checkpoint number cannot rise any more; mount it read-only and copy"
    }
  }
}

/// One line on a terminal, rewritten as check and repair go on.
private struct ProgressMeter {
  private let isOnTerminal = isatty(STDERR_FILENO) == 1

  func show(_ progress: HoldfastCheck.Progress) {
    guard isOnTerminal else { return }
    let share = progress.total > 1 ? " \(min(100, progress.done * 100 / progress.total)) %" : ""
    let work =
      switch progress.phase {
      case .survey: "planning the repair"
      case .rebuild: "writing metadata anew"
      case .superblocks, .journal, .tree, .names, .space: "checking \(progress.phase.rawValue)"
      }
    put("\r\u{1b}[K\(work)\(share)")
  }

  func clear() {
    if isOnTerminal { put("\r\u{1b}[K") }
  }

  private func put(_ text: String) { text.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) } }
}
