/// Shortens a failing run: takes out ever smaller pieces of its operations as long as a failure of the same kind
/// stays (Zeller's delta debugging, without its complement step). Any subsequence of a run is a run.

import Glibc

struct Shrinker {
  let kind: StressFailure.Kind
  let seconds: Int
  /// Runs operations from a fresh start; the failure, if there is one.
  let run: ([Operation]) -> StressFailure?

  /// The shortest failing run found in time, and how it fails.
  func shrink(_ operations: [Operation], _ failure: StressFailure) -> ([Operation], StressFailure) {
    var best = Array(operations.prefix(failure.index + 1))
    var bestFailure = failure
    let deadline = Self.now() + seconds
    var piece = max(1, best.count / 2)
    while Self.now() < deadline {
      var start = 0
      var shortened = false
      while start < best.count, Self.now() < deadline {
        var candidate = best
        candidate.removeSubrange(start..<min(start + piece, best.count))
        if let failure = run(candidate), failure.kind == kind {
          best = Array(candidate.prefix(failure.index + 1))
          bestFailure = failure
          shortened = true
        } else {
          start += piece
        }
      }
      if piece > 1 { piece = max(1, piece / 2) } else if !shortened { break }
    }
    return (best, bestFailure)
  }

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec
  }
}
