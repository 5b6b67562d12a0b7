/// A small process that keeps the connection to the kernel while the kernel holds a file, so that swapoff(2), which opens
/// its file by path, works when the daemon was killed. This is the daemon's side; what it does then is in
/// GuardedConnection.swift, how it is decided in docs/decisions/0012.
///
/// Owns: the process, and our end of its pipe: a byte tells it that it is not needed any more, the end of the pipe without
/// one that the daemon is dead. Used by the thread that waits for the mount alone.

import CFuse3
import CPlatform
import Glibc

final class SwapGuard {
  /// Where the guard finds the pipe and the connection.
  static let pipeDescriptor: Int32 = 0
  static let connectionDescriptor: Int32 = 3
  /// The command's hidden subcommand that runs `GuardedConnection`.
  static let subcommand = "swap-guard"

  private let connection: Int32
  private var running: (pid: pid_t, pipe: Int32)?

  init(connection: Int32) { self.connection = connection }

  /// The first place to look for memory must not be what swapoff may need. The guard inherits it. Best effort: it takes
  /// CAP_SYS_RESOURCE.
  static func protectFromMemoryKiller() { SmallFile.write("-1000\n", to: "/proc/self/oom_score_adj") }

  /// Starts or ends it. False when it cannot be started.
  func keep(_ isNeeded: Bool) -> Bool {
    guard isNeeded else {
      end()
      return true
    }
    if running == nil { running = start() }
    return running != nil
  }

  func end() {
    guard let (pid, pipe) = running else { return }
    var byte: UInt8 = 1
    _ = write(pipe, &byte, 1)
    close(pipe)
    while waitpid(pid, nil, 0) < 0, errno == EINTR {}
    running = nil
  }

  private func start() -> (pid: pid_t, pipe: Int32)? {
    var ends: [Int32] = [-1, -1]
    guard holdfast_pipe(&ends) == 0 else { return nil }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[0], Self.pipeDescriptor)
    posix_spawn_file_actions_adddup2(&actions, connection, Self.connectionDescriptor)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Not ended by the terminal, nor with the daemon's group.
    posix_spawnattr_setflags(&attributes, Int16(holdfast_spawn_setsid))
    let words = ["holdfast", Self.subcommand]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid: pid_t = 0
    guard posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, &arguments, Glibc.environ) == 0 else {
      close(ends[1])
      return nil
    }
    return (pid, ends[1])
  }
}
