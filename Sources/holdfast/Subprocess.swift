/// Starting other programs by posix_spawn(3): no fork, so no thread is left behind half way.

import CPlatform
import Glibc
import HoldfastCommand

enum Subprocess {
  /// What the child's standard streams become; nil: as ours.
  struct Streams {
    var input: Int32?
    var output: Int32?
    var error: Int32?
    /// Becomes descriptor 3, everything above is closed.
    var extra: Int32?
  }

  /// Starts `arguments[0]`, looked for in PATH unless it has a slash; its pid.
  /// - Throws: exit status 127 when there is no such program, 126 when it cannot be run.
  static func start(
    _ arguments: [String], program: String? = nil, streams: Streams = Streams(), newSession: Bool = false,
    signalMask: sigset_t? = nil
  ) throws(CommandError) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (from, to) in [(streams.input, 0), (streams.output, 1), (streams.error, 2), (streams.extra, 3)] {
      if let from { posix_spawn_file_actions_adddup2(&actions, from, Int32(to)) }
    }
    if streams.extra != nil { posix_spawn_file_actions_addclosefrom_np(&actions, 4) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var flags: Int32 = 0
    if newSession { flags |= Int32(POSIX_SPAWN_SETSID) }
    if var signalMask {
      flags |= Int32(POSIX_SPAWN_SETSIGMASK)
      posix_spawnattr_setsigmask(&attributes, &signalMask)
    }
    posix_spawnattr_setflags(&attributes, Int16(flags))

    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, program ?? arguments[0], &actions, &attributes, pointers, Glibc.environ)
    guard code == 0 else {
      throw CommandError(arguments[0], errno: code, exitStatus: code == ENOENT ? 127 : 126)
    }
    return pid
  }

  /// Waits for the end of a child; its exit status, 128 + signal when it was killed.
  static func wait(for pid: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 {
      if errno != EINTR { return EXIT_FAILURE }
    }
    return exitStatus(status)
  }

  static func exitStatus(_ status: Int32) -> Int32 {
    status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
  }

  /// Runs a program to its end; what it writes to stdout, and its exit status. Its stderr is dropped.
  static func output(of arguments: [String]) throws(CommandError) -> (String, Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe2(&ends, O_CLOEXEC) == 0 else { throw CommandError("pipe", errno: errno) }
    let null = holdfast_open("/dev/null", O_RDWR | O_CLOEXEC, 0)
    defer {
      close(ends[0])
      close(null)
    }
    let started = Result { () throws(CommandError) in
      try start(arguments, streams: Streams(input: null, output: ends[1], error: null))
    }
    close(ends[1])
    let pid = try started.get()
    let bytes = try TextFile.all(from: ends[0], name: arguments[0])
    return (String(decoding: bytes, as: UTF8.self), wait(for: pid))
  }
}
