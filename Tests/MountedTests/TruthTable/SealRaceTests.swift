import CMountedSupport
import Glibc
import Testing

/// Threads and processes take, break, wait, are interrupted, fenced, revoked and killed; an observer looks at every map
/// that was promised. The run prints its seed.
@Suite("Races for seals", .needsMount, .deadline()) struct SealRaceTests {
  @Test func nothingMovesUnderAStandingRequest() throws {
    let volume = try Volume(mebibytes: 64)
    defer { volume.remove() }
    try volume.mount("grace=1")
    let seed = UInt64.random(in: 1...1_000_000_000)
    let result = try holdfast(
      "stress", volume.mountPoint, "--seal-races", "12", "--jobs", "4", "--seed", "\(seed)")
    #expect(result.status == 0, "seed \(seed): \(result.output)\(result.errors)\n\(volume.log)")
    #expect(!result.output.contains(" 0 requests granted"), "\(result.output)")
    print(result.output)
    volume.finish()
  }

  /// The model of the whole table, on files of its own, several jobs at once.
  @Test func theModelAgreesWithAllKinds() throws {
    let volume = try Volume(mebibytes: 128)
    defer { volume.remove() }
    try volume.mount()
    let seed = UInt64.random(in: 1...1_000_000_000)
    // Seeds differ in how many holders are waited for until they are fenced, four seconds each: one took 76.
    let result = try holdfast(
      "stress", volume.mountPoint, "--seals", "--jobs", "2", "--ops", "3000", "--seed", "\(seed)", "--log",
      "\(volume.folder)/stress.log", seconds: 240)
    #expect(result.status == 0, "seed \(seed): \(result.output)\(result.errors)\n\(volume.log)")
    volume.finish()
  }
}
