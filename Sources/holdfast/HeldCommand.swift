/// What `hold` does while COMMAND runs: in our own process group and terminal, passing on the signals others send us,
/// and telling it when somebody asks for the files.

import CPlatform
import Glibc
import HoldfastClient
import HoldfastCommand

/// A sealed open file; noncopyable files cannot be in an array themselves.
final class HeldFile {
  let file: OpenFile
  /// What is known, and told, of its recall.
  var status = RecallStatus.notRecalled

  init(_ path: String, _ request: SealRequest) throws(ClientError) {
    file = try OpenFile(path, inheritable: true)
    try file.seal(request)
  }
}

struct HeldCommand: ~Copyable {
  /// timeout(1)'s: the time it had was over.
  static let takenAwayStatus: Int32 = 124

  private static let forwarded = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP, SIGWINCH]

  private let files: [HeldFile]
  private let onRecall: SignalName?
  private var originalMask = sigset_t()
  /// Where the signals of others and the end of COMMAND are read from.
  private let signals: Int32
  private var wasTakenAway = false

  init(_ files: [HeldFile], onRecall: SignalName?) throws(CommandError) {
    self.files = files
    self.onRecall = onRecall
    var waited = sigset_t()
    sigemptyset(&waited)
    for signal in Self.forwarded + [SIGCHLD] { sigaddset(&waited, signal) }
    pthread_sigmask(SIG_BLOCK, &waited, &originalMask)
    signals = signalfd(-1, &waited, Int32(SFD_CLOEXEC))
    guard signals >= 0 else { throw CommandError("signalfd", errno: errno) }
  }

  deinit { close(signals) }

  /// How often a file that is recalled is looked at: rarely enough to cost nothing, often enough for any grace.
  private static let lookAgainMilliseconds: Int32 = 500

  /// Runs it to its end; hold's exit status.
  mutating func run(_ command: [String]) throws(CommandError) -> Int32 {
    let child = try Subprocess.start(command, signalMask: originalMask)
    while true {
      if try waitForEvents(child), let status = Self.collect(child) {
        return wasTakenAway ? Self.takenAwayStatus : status
      }
    }
  }

  /// One poll(2), and what it brings; true when a child may have changed its state.
  private mutating func waitForEvents(_ child: pid_t) throws(CommandError) -> Bool {
    let watched = files.filter { $0.status != .takenAway }
    var entries = [pollfd(fd: signals, events: Int16(POLLIN), revents: 0)]
    entries += watched.map { $0.file.pollEntry($0.status == .notRecalled ? .recall : .takenAway) }
    // COMMAND may let go by itself and take it again, which nobody tells of: then the next recall is to be passed on, too.
    let areRecalled = watched.map { $0.status != .notRecalled }
    guard poll(&entries, nfds_t(entries.count), areRecalled.contains(true) ? Self.lookAgainMilliseconds : -1) >= 0
    else {
      if errno == EINTR { return false }
      throw CommandError("poll", errno: errno)
    }
    for (index, held) in watched.enumerated() where entries[index + 1].revents != 0 || areRecalled[index] {
      look(at: held, child)
    }
    return entries[0].revents != 0 && passOnSignal(to: child)
  }

  private mutating func look(at held: HeldFile, _ child: pid_t) {
    let before = held.status
    do throws(ClientError) {
      held.status = try held.file.recallStatus()
    } catch {
      // Without a daemon there is no seal either.
      complain("\(error)")
      held.status = .takenAway
    }
    let path = held.file.path
    switch held.status {
    case .notRecalled: break
    case .recalled where before != .notRecalled: break
    case .recalled(let left):
      tell(child, "\(path): asked to let go within \(SealReport.text(milliseconds: left))")
    case .takenAway:
      wasTakenAway = true
      if before == .notRecalled {
        tell(child, "\(path): its seal was taken away")
      } else {
        complain("\(path): its seal was taken away, the time to let go is over")
      }
    }
  }

  private func tell(_ child: pid_t, _ line: String) {
    guard let onRecall else { return complain(line) }
    complain("\(line); \(onRecall) to process \(child)")
    kill(child, onRecall.number)
  }

  /// True for that of a child's end or stop.
  private func passOnSignal(to child: pid_t) -> Bool {
    var information = signalfd_siginfo()
    guard read(signals, &information, MemoryLayout<signalfd_siginfo>.size) == MemoryLayout<signalfd_siginfo>.size else {
      return false
    }
    let signal = Int32(information.ssi_signo)
    if signal == SIGCHLD { return true }
    // From a process. What the terminal sends, COMMAND in the same group has got itself.
    if information.ssi_code <= 0 { kill(child, signal) }
    return false
  }

  /// The exit status when the child has ended. When it has stopped, so do we, until continued.
  private static func collect(_ child: pid_t) -> Int32? {
    var status: Int32 = 0
    while true {
      let pid = waitpid(child, &status, WNOHANG | WUNTRACED)
      if pid < 0 && errno == EINTR { continue }
      guard pid == child else { return pid < 0 ? EXIT_FAILURE : nil }
      guard status & 0xff == 0x7f else { return Subprocess.exitStatus(status) }
      raise(SIGSTOP)
    }
  }
}
