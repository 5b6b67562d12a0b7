/// HOLDFAST_IOC_RECALL_STATUS, and waiting for a recall by poll(2): how the holder of a breakable request hears that
/// somebody waits for it. After that it has the request's grace to let go (`unseal`, or the end of the handle).

import CHoldfast
import CPlatform
import Glibc

public enum RecallStatus: Equatable, Sendable {
  /// Nobody asks this handle to let go.
  case notRecalled
  /// It is to let go of a request within so many milliseconds; then that is taken away.
  case recalled(millisecondsLeft: UInt64)
  /// A request was fenced or revoked; the handle takes and releases none any more (ESTALE).
  case takenAway
}

/// What a poll(2) on a handle is to report.
public enum RecallEvent: Sendable {
  /// A recall (POLLPRI), or that something was taken away (POLLERR).
  case recall
  /// Only that something was taken away: for a holder that knows of its recall, which would go on being reported.
  case takenAway
}

extension OpenFile {
  /// Whether a request of this handle is asked for, or was taken away. Never waits.
  public func recallStatus() throws(ClientError) -> RecallStatus {
    var argument = holdfast_recall_status()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    let code = control(holdfast_ioc_recall_status, &argument)
    if code == ESTALE { return .takenAway }
    guard code == 0 else { throw ClientError(.recallStatus, path: path, errno: code) }
    return argument.recalled == 0 ? .notRecalled : .recalled(millisecondsLeft: argument.remaining_ms)
  }

  /// Waits until this handle is asked to let go, or a request of it was taken away; at most so many milliseconds, nil
  /// for ever. `.notRecalled`: the time is over, or what was asked for has been released meanwhile.
  /// - Throws: EINTR for a signal; ENOTCONN, ECONNABORTED (no daemon any more).
  public func waitForRecall(timeoutMilliseconds: Int32? = nil) throws(ClientError) -> RecallStatus {
    var entry = pollEntry(.recall)
    guard poll(&entry, 1, timeoutMilliseconds ?? -1) >= 0 else {
      throw ClientError(.recallStatus, path: path, errno: errno)
    }
    return try recallStatus()
  }

  /// For a poll(2) of several handles: whenever it reports anything, ask `recallStatus`.
  public func pollEntry(_ event: RecallEvent) -> pollfd {
    pollfd(fd: descriptor, events: event == .recall ? Int16(POLLPRI) : 0, revents: 0)
  }
}

/// A recall as a descriptor to wait for beside others: poll(2) it for POLLIN, or add it to an epoll set. It is
/// readable while a request of the handle is asked for, and for good once one was taken away. Nothing is ever read
/// from it.
public struct RecallDescriptor: ~Copyable, Sendable {
  public let descriptor: Int32

  /// An epoll set that watches the handle; it does not keep the handle open.
  /// - Throws: EMFILE, ENFILE, ENOMEM.
  public init(_ file: borrowing OpenFile) throws(ClientError) {
    try self.init(path: file.path, watching: file.descriptor)
  }

  /// The same for a descriptor; `path` is for messages.
  public init(path: String, watching handle: Int32) throws(ClientError) {
    let set = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard set >= 0 else { throw ClientError(.recallStatus, path: path, errno: errno) }
    var event = epoll_event()
    event.events = EPOLLPRI.rawValue
    guard epoll_ctl(set, EPOLL_CTL_ADD, handle, &event) == 0 else {
      let code = errno
      close(set)
      throw ClientError(.recallStatus, path: path, errno: code)
    }
    descriptor = set
  }

  private var isReleased = false

  deinit {
    if !isReleased { close(descriptor) }
  }

  /// Leaves the descriptor to the caller, who closes it.
  public consuming func release() -> Int32 {
    isReleased = true
    return descriptor
  }
}
