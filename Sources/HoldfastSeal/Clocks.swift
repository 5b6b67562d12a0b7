/// The two clocks of the seal layer: ages and deadlines run on the monotonic one, persistent records carry
/// wall-clock time because the monotonic clock does not survive a reboot.

import Glibc
import HoldfastBase

public enum Clocks {
  public static let nanosecondsPerSecond: Int64 = 1_000_000_000

  /// Nanoseconds of CLOCK_MONOTONIC.
  public static func monotonicNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * nanosecondsPerSecond + Int64(time.tv_nsec)
  }

  /// Seconds since 1970.
  public static func realtimeSeconds() -> Int64 { Timestamp.now.seconds }
}
