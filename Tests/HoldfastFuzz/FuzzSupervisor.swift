/// Runs workers one after the other, batch by batch, until the time is over, and knows what became of each input: a
/// worker that ends before its time names the culprit by the last seed it wrote.

import Glibc

public struct FuzzSupervisor {
  public struct Finding: Sendable {
    public var seed: UInt64
    public var text: String
  }

  public struct Summary: Sendable {
    public var inputs = 0
    public var mutations = 0
    public var findings: [Finding] = []
    public var events: [String: Int] = [:]
  }

  /// The built image-fuzzer.
  public var executable: String
  /// Told of each finding at once.
  public var onFinding: (Finding) -> Void = { _ in }
  /// Inputs a worker runs: what is lost with one is at most this.
  private static let batch: UInt64 = 500
  /// Findings after which a run ends: the rest are the same again.
  private static let maximumFindings = 200

  public init(executable: String) { self.executable = executable }

  /// Runs the inputs `seed`, `seed` + 1, … for this long or, with `inputs`, this many.
  public func run(seed: UInt64, seconds: Int, inputs: UInt64 = .max) throws -> Summary {
    var summary = Summary()
    var next = seed
    let last = inputs == .max ? UInt64.max : seed &+ inputs
    let deadline = Self.now() + seconds
    while Self.now() < deadline, next < last, summary.findings.count < Self.maximumFindings {
      let known = summary.findings.count
      next = try runBatch(first: next, count: min(Self.batch, last - next), deadline, &summary)
      for finding in summary.findings[known...] { onFinding(finding) }
    }
    return summary
  }

  /// Runs a kept input in a process of its own; nil when it holds, else what happened.
  public func replay(_ path: String) throws -> String? {
    let (child, output) = try start(["replay", path])
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = Glibc.read(output, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      text += buffer[..<count]
    }
    close(output)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status == 0 ? nil : "\(Self.describe(status)) \(String(decoding: text, as: UTF8.self))"
  }

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec
  }

  /// One worker. Returns the seed to go on with.
  private func runBatch(
    first: UInt64, count: UInt64, _ deadline: Int, _ summary: inout Summary
  ) throws -> UInt64 {
    let (child, output) = try start(["worker", "\(first)", "\(count)"])
    guard let lines = fdopen(output, "r") else { throw File.Failure.cannotOpen("pipe") }
    defer { fclose(lines) }
    var current = first
    var isRunning = false
    var buffer: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(buffer) }
    while getline(&buffer, &capacity, lines) > 0, let buffer {
      let words = String(cString: buffer).dropLast().split(separator: " ", maxSplits: 2)
      guard words.count >= 2 else { continue }
      switch words[0] {
      case "s":
        current = UInt64(words[1]) ?? current
        isRunning = true
      case "v":
        summary.findings.append(Finding(seed: UInt64(words[1]) ?? 0, text: words.count > 2 ? String(words[2]) : ""))
      default:
        isRunning = false
        summary.inputs += 1
        summary.mutations += Int(words[1]) ?? 0
        for event in (words.count > 2 ? words[2] : "").split(separator: "|") {
          summary.events[String(event), default: 0] += 1
        }
      }
      // Between two inputs: nothing is lost.
      if !isRunning, Self.now() >= deadline { kill(child, SIGKILL) }
    }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    if isRunning, Self.now() >= deadline, status & 0x7f == SIGKILL { return current }
    guard isRunning || status != 0, status & 0x7f != SIGKILL || isRunning else { return first + count }
    summary.inputs += 1
    summary.findings.append(Finding(seed: current, text: Self.describe(status)))
    return current + 1
  }

  private static func describe(_ status: Int32) -> String {
    if status & 0x7f != 0 { return "the worker died of signal \(status & 0x7f)" }
    let code = status >> 8 & 0xff
    return code == FuzzWorker.hangStatus ? "the input never ended" : "the worker ended with status \(code)"
  }

  private func start(_ arguments: [String]) throws -> (pid: pid_t, output: Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw File.Failure.cannotOpen("pipe") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_addclose(&actions, ends[0])
    posix_spawn_file_actions_addclose(&actions, ends[1])
    // What a trap says would drown everything else; the input says it again.
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    // No time for pictures of the dead.
    setenv("SWIFT_BACKTRACE", "enable=no", 1)
    var child: pid_t = 0
    let code = posix_spawn(&child, executable, &actions, nil, words, environ)
    close(ends[1])
    guard code == 0 else {
      close(ends[0])
      throw File.Failure.cannotOpen(executable)
    }
    return (child, ends[0])
  }
}
