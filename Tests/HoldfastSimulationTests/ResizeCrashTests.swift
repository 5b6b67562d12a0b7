/// The crash points of a shrink and a grow (docs/CRASH-POINTS.md).

import HoldfastSimulation
import Testing

@Suite("Simulation: crash points of resizes") struct ResizeCrashTests {
  @Test func whateverIsLeftIsOneVolume() throws {
    let seed = UInt64.random(in: .min ... .max)
    var exploration = try ResizeCrashPoints(seed: seed)
    do {
      let counts = try exploration.explore()
      print("seed \(seed): \(counts.crashPoints) crash points, \(counts.states) states")
      #expect(counts.crashPoints > 10 && counts.states > 100, "seed \(seed): \(counts)")
      #expect(counts.sizes == [[18 << 20, 24 << 20], [18 << 20, 28 << 20]], "seed \(seed)")
    } catch {
      Issue.record("seed \(seed): \(error)")
    }
  }
}
