/// One row of the table: two ways to do the same, measured by turns in one run, and their ratio.
///
/// These machines are noisy: what counts is the ratio of medians of rounds that alternate, A B A B.

import CPlatform
import Glibc
import HoldfastClient

public struct Measurement: Equatable, Sendable {
  /// What the ratio is to be.
  public enum Budget: Equatable, Sendable {
    case atLeast(Double)
    case atMost(Double)
  }

  /// How the two numbers read: more is better for speeds, less for times.
  public enum Unit: String, Sendable {
    case gigabytesPerSecond = "GB/s"
    case nanoseconds = "ns"
    case microseconds = "us"
    case milliseconds = "ms"
    case perSecond = "/s"

    var isSpeed: Bool { self == .gigabytesPerSecond || self == .perSecond }
  }

  public var name: String
  /// What it is compared with.
  public var reference: String
  public var unit: Unit
  public var value: Double
  public var referenceValue: Double
  /// How `ratio` is to be; nil: told for information.
  public var budget: Budget?
  /// The ratio is of speeds, more is better; else of the times themselves.
  public var isSpeedRatio: Bool

  public init(
    _ name: String, against reference: String, _ unit: Unit, _ value: Double, _ referenceValue: Double,
    budget: Budget? = nil, isSpeedRatio: Bool = true
  ) {
    self.name = name
    self.reference = reference
    self.unit = unit
    self.value = value
    self.referenceValue = referenceValue
    self.budget = budget
    self.isSpeedRatio = isSpeedRatio
  }

  public var ratio: Double {
    let direct = value / max(referenceValue, .leastNonzeroMagnitude)
    let inverse = referenceValue / max(value, .leastNonzeroMagnitude)
    return isSpeedRatio == unit.isSpeed ? direct : inverse
  }

  /// nil without a budget.
  public var isMet: Bool? {
    switch budget {
    case .atLeast(let least): ratio >= least
    case .atMost(let most): ratio <= most
    case nil: nil
    }
  }
}

/// A measurement that could not be made: a system call, and its errno.
public struct BenchmarkTrouble: Error, CustomStringConvertible {
  public var what: String
  public var errno: Int32

  public init(_ what: String, errno: Int32 = Glibc.errno) {
    self.what = what
    self.errno = errno
  }

  public var description: String { "\(what): \(String(cString: strerror(errno)))" }
}

/// A handle that was just closed is released a moment later, and is in a layout's way (EBUSY) until then.
func whenSettled<Result: ~Copyable>(_ body: () throws -> Result) throws -> Result {
  for _ in 0..<100 {
    do {
      return try body()
    } catch let error as ClientError where error.errno == EBUSY {
      usleep(10_000)
    } catch let error as BenchmarkTrouble where error.errno == EBUSY {
      usleep(10_000)
    }
  }
  return try body()
}

enum Clock {
  /// Nanoseconds of CLOCK_MONOTONIC.
  static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  /// Nanoseconds that `body` took.
  static func time<Failure>(_ body: () throws(Failure) -> Void) throws(Failure) -> Double {
    let start = now()
    try body()
    return Double(now() - start)
  }
}

/// Rounds by turns; the median of each side.
struct Turns {
  private var first: [Double] = []
  private var second: [Double] = []

  static let usualRounds = 7

  /// Each side once unmeasured, to warm up, then `rounds` times by turns.
  static func run<Failure>(
    rounds: Int = usualRounds, _ a: () throws(Failure) -> Double, _ b: () throws(Failure) -> Double
  ) throws(Failure) -> (Double, Double) {
    var turns = Turns()
    _ = try a()
    _ = try b()
    for _ in 0..<rounds {
      turns.first.append(try a())
      turns.second.append(try b())
    }
    return (median(turns.first), median(turns.second))
  }

  static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted[sorted.count / 2]
  }
}

/// Keeps the optimiser from leaving out what nobody looks at.
@inline(never) func consume(_ value: UInt64) { Consumed.last = value }

private enum Consumed {
  nonisolated(unsafe) static var last: UInt64 = 0
}

/// Offsets in a fixed order without a pattern (a linear congruence of full period), so that every run asks for the same.
struct ScatteredOffsets {
  private var state: UInt64 = 0x9e37_79b9_7f4a_7c15
  let count: UInt64
  let unit: UInt64

  init(count: UInt64, unit: UInt64) {
    self.count = count
    self.unit = unit
  }

  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return (state >> 33) % count * unit
  }
}
