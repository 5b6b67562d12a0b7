/// The process that runs inputs. Before each it writes the input's seed to its standard output, so that whoever reads
/// that knows which one ended the process; a thread ends it when an input takes too long, and a limit of the system
/// when it takes too much memory.
///
/// Lines: `s SEED` before an input, `v SEED TEXT` a violation, `e MUTATIONS EVENT|EVENT…` after it.

import Glibc
import Synchronization

public enum FuzzWorker {
  /// Exit status of a worker whose input took too long.
  public static let hangStatus: Int32 = 99
  /// CPU seconds one input may take; the slowest takes a fifth of one.
  private static let cpuSeconds = 10
  /// Seconds on the clock: waiting for a lock that never comes takes no CPU.
  private static let wallSeconds = 240
  /// Private memory of a worker: images and buffers come to a tenth of it.
  private static let memoryBytes: UInt = 1 << 30

  /// Runs the inputs `first ..< first + count`.
  public static func run(first: UInt64, count: UInt64) throws {
    let bases = try GoldenImages.names.map { try FuzzBase($0) }
    limit()
    for seed in first..<first + count {
      Output.line("s \(seed)")
      Watch.begin()
      var input = FuzzInput(seed: seed, bases: bases)
      let outcome = input.run()
      for violation in outcome.violations { Output.line("v \(seed) \(violation)") }
      Output.line("e \(outcome.mutations.count - 1) \(outcome.events.joined(separator: "|"))")
    }
  }

  /// One line to standard output, at once.
  public static func say(_ line: String) { Output.line(line) }

  /// From now on an input that takes too long or too much memory ends the process.
  public static func limit() {
    limitMemory()
    startWatchdog()
  }

  private static func limitMemory() {
    var limit = rlimit(rlim_cur: memoryBytes, rlim_max: memoryBytes)
    guard setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit) == 0 else {
      return Output.line("v 0 no limit of memory: errno \(errno)")
    }
  }

  /// When the running input began.
  private enum Watch {
    static let began = Atomic<Int>(0)
    static let beganCPU = Atomic<Int>(0)

    static func begin() {
      beganCPU.store(milliseconds(CLOCK_PROCESS_CPUTIME_ID), ordering: .relaxed)
      began.store(milliseconds(CLOCK_MONOTONIC), ordering: .releasing)
    }

    static func milliseconds(_ clock: clockid_t) -> Int {
      var time = timespec()
      clock_gettime(clock, &time)
      return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
  }

  /// Ends the process when its input takes too long.
  private static func watch() -> Never {
    while true {
      usleep(200_000)
      let wall = Watch.milliseconds(CLOCK_MONOTONIC) - Watch.began.load(ordering: .acquiring)
      let cpu = Watch.milliseconds(CLOCK_PROCESS_CPUTIME_ID) - Watch.beganCPU.load(ordering: .relaxed)
      if cpu > cpuSeconds * 1000 || wall > wallSeconds * 1000 { _exit(hangStatus) }
    }
  }

  private static func startWatchdog() {
    Watch.begin()
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { _ in
        FuzzWorker.watch()
      }, nil)
    precondition(status == 0, "pthread_create: \(status)")
  }
}

/// Standard output without a buffer: what was said is said, whatever comes next.
enum Output {
  static func line(_ text: String) {
    let bytes = Array((text.split(separator: "\n").joined(separator: " ") + "\n").utf8)
    _ = Glibc.write(1, bytes, bytes.count)
  }
}
