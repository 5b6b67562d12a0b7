/// What the tests of the preloaded library have in common.

import CMountedSupport
import Glibc
import Testing

enum Preload {
  /// For env(1). Eager: more of what is random meets the image.
  static let environment = ["LD_PRELOAD=\(TestEnvironment.preload)", "HOLDFAST_DIRECT=1", "HOLDFAST_DIRECT_EAGER=1"]

  /// Runs a program under the library.
  static func run(_ words: [String], seconds: Double = 120) throws -> CommandResult {
    try MountedTests.run(["env"] + environment + words, seconds: seconds)
  }

  /// The bytes of a seed.
  static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 33)
    }
  }
}

extension Volume {
  /// Reads and writes of files that came to the daemon.
  func transfers() throws -> Int {
    struct Count: Decodable { var count: Int }
    struct Counts: Decodable { var operations: [String: Count] }
    let counts: Counts = try decoded(try root.attribute("holdfast.stats"))
    return ["read", "write"].reduce(0) { $0 + (counts.operations[$1]?.count ?? 0) }
  }

  /// Requests taken away at their deadline.
  func fenced() throws -> Int {
    struct Recalls: Decodable { var fenced: Int }
    struct Counts: Decodable { var recalls: Recalls }
    let counts: Counts = try decoded(try root.attribute("holdfast.stats"))
    return counts.recalls.fenced
  }
}
