/// A process of another user, or one to be killed, that makes system calls for a test: mounted-test-agent, driven
/// through its standard streams.

import CMountedSupport
import Glibc
import Testing

final class Agent {
  /// Ids nobody has.
  static let user: uid_t = 61_183
  static let otherUser: uid_t = 61_184

  private let child: Child
  private let input: Int32
  private let output: Int32
  private var isTalking = true
  private var pending: [UInt8] = []

  var pid: pid_t { child.pid }

  /// As root, or as `uid` without any capability (but CAP_LINUX_IMMUTABLE with `keepingImmutable`). `inherited`
  /// descriptors are its 10, 11 and so on. `environment`: more of it, as env(1) takes it.
  init(
    uid: uid_t? = nil, keepingImmutable: Bool = false, inherited: [Int32] = [], environment: [String] = []
  ) throws {
    var words = environment.isEmpty ? [TestEnvironment.agent] : ["env"] + environment + [TestEnvironment.agent]
    if let uid { words += ["\(uid)", "\(uid)"] }
    if keepingImmutable { words.append("keep-immutable") }
    var requests: [Int32] = [0, 0]
    var answers: [Int32] = [0, 0]
    try check(hmt_pipe(&requests))
    try check(hmt_pipe(&answers))
    child = try Child(words, input: requests[0], output: answers[1], inherited: inherited)
    close(requests[0])
    input = requests[1]
    output = answers[0]
    try call("ping")
  }

  deinit {
    endInput()
    close(output)
  }

  /// Once: the number may be somebody else's afterwards.
  private func endInput() {
    if isTalking { close(input) }
    isTalking = false
  }

  /// Ends it at once, as a crash would.
  func kill() {
    child.signal(SIGKILL)
    _ = child.wait(seconds: 10)
  }

  /// It has ended and nobody has waited for it yet.
  var isZombie: Bool { hmt_is_zombie(pid) != 0 }

  /// Sends it a signal.
  func signal(_ number: Int32) { child.signal(number) }

  /// Ends it in order.
  func exit() {
    endInput()
    _ = child.wait(seconds: 10)
  }

  /// One system call; its result and what it returned as text.
  @discardableResult
  func request(_ words: [String]) throws(Errno) -> (result: Int, text: String) {
    try begin(words)
    return try answer()
  }

  /// One system call that may take its time: `answer` waits for it.
  func begin(_ words: [String]) throws(Errno) {
    let line = Array((words.map { $0.isEmpty ? "''" : $0 }.joined(separator: " ") + "\n").utf8)
    guard write(input, line, line.count) == line.count else { throw Errno(ESRCH) }
  }

  /// Of the call begun last.
  func answer() throws(Errno) -> (result: Int, text: String) {
    let answer = try nextLine().split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard answer.count >= 2, let result = Int(answer[0]), let code = Int32(answer[1]) else { throw Errno(EBADMSG) }
    if code != 0 { throw Errno(code) }
    return (result, answer.count > 2 ? String(answer[2]) : "")
  }

  /// The same with words of all kinds.
  @discardableResult
  func call(_ words: any CustomStringConvertible...) throws(Errno) -> Int {
    try request(words.map { $0.description }).result
  }

  func open(_ path: Path, _ flags: Int32 = O_RDONLY, _ mode: mode_t = 0o644) throws(Errno) -> Int {
    try call("open", path, flags, mode)
  }

  private func nextLine() throws(Errno) -> String {
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        defer { pending.removeSubrange(...end) }
        return String(decoding: pending[..<end], as: UTF8.self)
      }
      var wait = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard poll(&wait, 1, 60_000) > 0 else { throw Errno(ETIMEDOUT) }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = Glibc.read(output, &bytes, bytes.count)
      guard count > 0 else { throw Errno(ESRCH) }
      pending += bytes[..<count]
    }
  }
}
