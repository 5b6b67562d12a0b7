/// What wakes the thread that waits for a mount: one byte each through a pipe, which signal handlers may write to.

import CFuse3
import Glibc

final class EventPipe: @unchecked Sendable {
  enum Event: UInt8 {
    case ready = 1
    /// The session is over.
    case ended
    /// SIGTERM, SIGINT or SIGHUP arrived.
    case signalled
    /// The kernel was told of a first file's blocks, or uses none any more.
    case kernelHolding
  }

  private let reading: Int32
  let writing: Int32

  init() {
    var ends: [Int32] = [-1, -1]
    let status = holdfast_pipe(&ends)
    precondition(status == 0, "pipe: \(errno)")
    reading = ends[0]
    writing = ends[1]
  }

  deinit {
    close(reading)
    close(writing)
  }

  func send(_ event: Event) {
    var byte = event.rawValue
    while write(writing, &byte, 1) < 0, errno == EINTR {}
  }

  /// The next one; nil when there is none within so many milliseconds.
  func next(within milliseconds: Int32) -> Event? {
    var entry = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, milliseconds) > 0 ? next() : nil
  }

  func next() -> Event {
    var byte: UInt8 = 0
    while true {
      let count = read(reading, &byte, 1)
      if count < 0, errno == EINTR { continue }
      guard count == 1, let event = Event(rawValue: byte) else { return .ended }
      return event
    }
  }
}

/// Handlers for the signals that end a mount, for as long as one is served. One mount per process has them.
struct SignalWatch {
  private static let signals = [SIGTERM, SIGINT, SIGHUP]
  /// Read by the handler, hence a plain integer.
  private nonisolated(unsafe) static var descriptor: Int32 = -1

  /// `events` must outlive the watch.
  init(_ events: EventPipe) {
    Self.descriptor = events.writing
    Thread.prepareWaking()
    for signal in Self.signals {
      Self.set(signal) { _ in
        let saved = errno
        var byte = EventPipe.Event.signalled.rawValue
        _ = write(SignalWatch.descriptor, &byte, 1)
        errno = saved
      }
    }
    Self.unblock()
    // A pipe or socket that went away is an error code, not an end.
    signal(SIGPIPE, SIG_IGN)
  }

  /// From now on the signals do nothing: what is left are the last writes, and a second Ctrl-C or a service manager's
  /// SIGTERM is not to cut them short.
  func end() {
    for signal in Self.signals { Self.set(signal, SIG_IGN) }
    Self.descriptor = -1
  }

  /// A parent may have left them blocked, as threads of a runtime often have them. They are this thread's to take:
  /// the others block everything.
  private static func unblock() {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
  }

  private static func set(_ signal: Int32, _ handler: __sighandler_t?) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = handler
    sigaction(signal, &action, nil)
  }
}
