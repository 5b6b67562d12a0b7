/// A sample of the crash points of a shrink and a grow; all of them take minutes (docs/CRASH-POINTS.md).

import Glibc
import HoldfastSimulation
import Testing

@Suite("Simulation: crash points of resizes") struct ResizeCrashTests {
  /// `HOLDFAST_RESIZE_CRASHES=1` tries all.
  @Test func whateverIsLeftIsOneVolume() throws {
    let seed = UInt64.random(in: .min ... .max)
    let stride = getenv("HOLDFAST_RESIZE_CRASHES") == nil ? 23 : 1
    var exploration = try ResizeCrashPoints(seed: seed, stride: stride)
    do {
      let counts = try exploration.explore()
      print("seed \(seed): \(counts.crashPoints) crash points, \(counts.states) states")
      #expect(counts.crashPoints > 10 && counts.states > 100, "seed \(seed): \(counts)")
      #expect(counts.sizes == [[17 << 20, 20 << 20], [17 << 20, 24 << 20]], "seed \(seed)")
    } catch {
      Issue.record("seed \(seed): \(error)")
    }
  }
}
