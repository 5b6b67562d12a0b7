import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastCheck
import HoldfastCommand
import HoldfastDevice

struct Fsck: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a volume.",
    discussion: """
      Reads every structure and compares them with each other; nothing is written. Exit status, as fsck(8) wants it: \
      0 no damage, 4 damage was found and left, 8 the check could not be done, 16 bad usage. -n, -p and -y are \
      taken as fsck(8) passes them; this version repairs nothing.

      Examples:
        holdfast fsck disk.img
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

  @Flag(name: .customShort("n"), help: "Change nothing.")
  var noChanges = false

  @Flag(name: [.customShort("p"), .customShort("a")], help: "Repair what is safe to, asking nothing.")
  var preen = false

  @Flag(name: .customShort("y"), help: "Repair, answering yes.")
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
      device = try ImageLock.open(image, mode: .readOnly, notice: complain)
    } catch {
      throw CommandError(error.what, error.why, exitStatus: Status.failed)
    }
    let meter = ProgressMeter()
    var checker = Checker(device: device, progress: meter.show)
    let report = checker.run()
    meter.clear()
    if json { print(String(decoding: report.json, as: UTF8.self)) } else { tell(report) }
    switch report.outcome {
    case .notAnImage: throw CommandError(image, "\(FSError.notAnImage)", exitStatus: Status.failed)
    case .incompatible(let features):
      throw CommandError(image, "\(FSError.incompatibleFormat(features: features))", exitStatus: Status.failed)
    case .complete, .unusable:
      if !report.isSound { throw ExitCode(Status.damaged) }
    }
  }

  private func tell(_ report: CheckReport) {
    for issue in report.issues { print("\(issue.severity): \(issue.message)") }
    let more = report.issueCount - UInt64(report.issues.count)
    if more > 0 { print("… and \(more) more") }
    guard let volume = report.volume, report.outcome == .complete else { return }
    let totals = report.totals
    print(
      "\(image): \(totals.files) files, \(totals.directories) directories, \(totals.symlinks) symlinks, "
        + "\(totals.extents) extents; \(totals.usedBlocks) of \(volume.totalBlocks) blocks hold data")
    if report.wasUnclean { print("\(image): not unmounted cleanly; the next mount replays its journal") }
    if report.isSound {
      print("\(image): clean")
    } else {
      let count = report.issueCount == 1 ? "1 problem" : "\(report.issueCount) problems"
      print("\(image): \(count) found, nothing changed")
    }
  }
}

/// One line on a terminal, rewritten as the check goes on.
private struct ProgressMeter {
  private let isOnTerminal = isatty(STDERR_FILENO) == 1

  func show(_ progress: HoldfastCheck.Progress) {
    guard isOnTerminal else { return }
    let share = progress.total > 1 ? " \(min(100, progress.done * 100 / progress.total)) %" : ""
    put("\r\u{1b}[Kchecking \(progress.phase.rawValue)\(share)")
  }

  func clear() {
    if isOnTerminal { put("\r\u{1b}[K") }
  }

  private func put(_ text: String) { text.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) } }
}
