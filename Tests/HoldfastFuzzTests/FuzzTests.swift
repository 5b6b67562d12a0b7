import Glibc
import HoldfastFuzz
import Testing

/// Hostile images: kept inputs, and a bounded run of others. HOLDFAST_FUZZ_SEED makes it another run,
/// HOLDFAST_FUZZ_SECONDS a longer one; scripts/fuzz-images.sh runs for as long as one likes.
@Suite(.serialized) struct FuzzTests {
  /// Whatever ever found something.
  @Test func keptInputs() throws {
    let names = File.names(in: Regression.folder)
    #expect(!names.isEmpty)
    let supervisor = FuzzSupervisor(executable: Self.executable)
    for name in names { #expect(try supervisor.replay("\(Regression.folder)/\(name)") == nil, "\(name)") }
  }

  /// The same inputs in every run, as many as fit: a change is judged by itself, and not by luck. New ones are
  /// scripts/fuzz-images.sh's.
  private static let seed: UInt64 = 1

  @Test func newInputs() throws {
    let seed = variable("HOLDFAST_FUZZ_SEED").flatMap { UInt64($0) } ?? Self.seed
    let seconds = variable("HOLDFAST_FUZZ_SECONDS").flatMap { Int($0) } ?? 30
    print("fuzz seed \(seed)")
    let summary = try FuzzSupervisor(executable: Self.executable).run(seed: seed, seconds: seconds)
    print("\(summary.inputs) inputs, \(summary.mutations) mutations")
    #expect(summary.inputs > 0)
    for finding in summary.findings {
      Issue.record("\(finding.text); again: \(Self.executable) input \(finding.seed)")
    }
  }

  private func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  /// Beside the test bundle.
  private static let executable: String = {
    for argument in CommandLine.arguments + ["/proc/self/exe"] {
      guard let real = realpath(argument, nil) else { continue }
      defer { free(real) }
      let path = String(cString: real)
      guard let end = path.lastIndex(of: "/") else { continue }
      let candidate = path[..<end] + "/image-fuzzer"
      if access(String(candidate), X_OK) == 0 { return String(candidate) }
    }
    return "image-fuzzer"
  }()
}
