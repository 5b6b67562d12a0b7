import Glibc
import Testing

@testable import HoldfastSimulation

/// The mounted stress on a directory of whatever filesystem /tmp is on: without seals, but all the rest.
@Suite struct MountedStressTests {
  private static func temporaryDirectory() -> String {
    var template = Array("/tmp/holdfast-stress-test-XXXXXX".utf8CString)
    return template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)!) }
  }

  private static func options(seed: UInt64, jobs: Int) -> StressOptions {
    var options = StressOptions()
    options.seed = seed
    options.operations = 4000
    options.jobs = jobs
    options.shrinkSeconds = 20
    return options
  }

  @Test(arguments: [1, 3]) func anOrdinaryFilesystemAgreesWithTheModel(_ jobs: Int) {
    let directory = Self.temporaryDirectory()
    defer { rmdir(directory) }
    var options = Self.options(seed: 5, jobs: jobs)
    options.logPath = "/tmp/holdfast-mounted-\(jobs).log"
    let outcome = runMountedStress(directory: directory, options: options)
    #expect(outcome.failure == nil, "\(outcome.summary)\n\(outcome.failingLog?.text ?? "")")
    #expect(outcome.counts.total > 2500)
    // The folder is gone again.
    #expect(rmdir(directory) == 0)
  }

  @Test func sealsNeedAHoldfastMount() {
    let directory = Self.temporaryDirectory()
    defer { try? FolderRemoval.remove(Array(directory.utf8)) }
    var options = Self.options(seed: 1, jobs: 1)
    options.seals = true
    #expect(runMountedStress(directory: directory, options: options).failure?.kind == .environment)
  }

  @Test func aDirectoryThatIsNotThereIsSaid() {
    let outcome = runMountedStress(directory: "/nonexistent", options: Self.options(seed: 1, jobs: 1))
    #expect(outcome.failure?.kind == .environment)
  }

  @Test func aLogReplays() throws {
    let directory = Self.temporaryDirectory()
    defer { try? FolderRemoval.remove(Array(directory.utf8)) }
    let operations: [HoldfastSimulation.Operation] = [
      .create(Place(0, 1), handle: 0, mode: 0o644), .write(handle: 0, offset: 0, length: 5000, tag: 3),
      .read(handle: 0, offset: 100, length: 6000), .truncate(handle: 0, size: 10),
      .read(handle: 0, offset: 0, length: 99),
      .read(handle: 7, offset: 0, length: 1),
    ]
    let log = OperationLog(options: Self.options(seed: 1, jobs: 1), job: 0, operations: operations)
    let outcome = replayMountedStress(try OperationLog(text: log.text), directory: directory)
    #expect(outcome.failure == nil, "\(outcome.summary)")
    #expect(outcome.counts.total == 5 && outcome.counts.skipped == 1)
  }
}
