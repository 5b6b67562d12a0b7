/// scripts/kill-loop.sh, a few rounds of it; the long run is by hand.

import Glibc
import Testing

@Suite("Faults: killed again and again", .needsMount)
struct KillLoopTests {
  @Test func aFewRounds() throws {
    let folder = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
    let result = try run(
      [
        "env", "HOLDFAST=\(TestEnvironment.holdfast)", "TMPDIR=\(TestEnvironment.scratchFolder)",
        "\(folder)/scripts/kill-loop.sh", "5",
      ], seconds: 300)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.output.contains("nothing lost"))
  }
}
