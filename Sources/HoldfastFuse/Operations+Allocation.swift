/// Holes and copies: fallocate, lseek for data and holes, copy_file_range; and poll, by which holders hear of recalls.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastStore

extension MountSession {
  /// The most one COPY_FILE_RANGE copies, so that a caller can be interrupted in between; more is asked for again.
  fileprivate static let copyBytes: UInt64 = 64 << 20

  static func addAllocationOperations(to operations: inout fuse_lowlevel_ops) {
    operations.fallocate = { request, inode, mode, offset, length, info in
      let reply = Reply<Done>(request)
      serving(request).perform(
        AllocateCall(
          inode: inode, mode: AllocateMode(rawValue: mode), offset: Int64(offset), length: Int64(length),
          handle: info?.pointee.fh, caller: reply.caller), reply)
    }
    operations.lseek = { request, inode, offset, whence, _ in
      serving(request).seek(Reply(request), inode, from: Int64(offset), whence: whence)
    }
    operations.copy_file_range = { request, source, from, _, destination, to, info, length, _ in
      let reply = Reply<Written>(request)
      serving(request).perform(
        CopyCall(
          source: source, sourceOffset: UInt64(from), inode: destination, offset: UInt64(to), length: UInt64(length),
          handle: info?.pointee.fh, caller: reply.caller), reply)
    }
    operations.poll = { request, _, info, notification in
      serving(request).poll(Reply(request), info!.pointee, notification)
    }
  }

  private struct AllocateCall: MapChangingCall {
    typealias Answer = Done
    var inode: InodeNumber
    var mode: AllocateMode
    var offset: Int64
    var length: Int64
    var handle: UInt64?
    var caller: Credentials
    var operation: Operation { .fallocate }

    func make(in session: MountSession) throws(FSError) {
      guard offset >= 0, length > 0 else { throw .invalid(.argument) }
      try session.store.allocate(
        inode, mode: mode, offset: UInt64(offset), length: UInt64(length), handle: handle,
        by: session.caller(caller, changing: inode), waits: session.waits(handle))
    }

    func answer(_ reply: consuming Reply<Done>, _ result: Void, in session: MountSession) { reply.send() }
  }

  /// Whether an operation by this handle waits for holders; READ and WRITE alone carry the flags of the moment.
  func waits(_ handle: UInt64?) -> Bool {
    guard let handle, let opened = handles[handle] else { return true }
    return opened.flags & O_NONBLOCK == 0
  }

  /// The kernel itself answers all but SEEK_DATA and SEEK_HOLE.
  private func seek(_ reply: consuming Reply<Position>, _ inode: InodeNumber, from offset: Int64, whence: Int32) {
    counters.count(.lseek)
    do throws(FSError) {
      guard offset >= 0 else { throw .noSuchOffset }
      switch whence {
      case Int32(SEEK_DATA): reply.send(try store.seekData(inode, from: UInt64(offset)))
      case Int32(SEEK_HOLE): reply.send(try store.seekHole(inode, from: UInt64(offset)))
      default: throw .invalid(.argument)
      }
    } catch {
      fail(reply, error, .lseek, inode)
    }
  }

  private struct CopyCall: MapChangingCall {
    typealias Answer = Written
    var source: InodeNumber
    var sourceOffset: UInt64
    /// The destination.
    var inode: InodeNumber
    var offset: UInt64
    var length: UInt64
    var handle: UInt64?
    var caller: Credentials
    var operation: Operation { .copyFileRange }

    func make(in session: MountSession) throws(FSError) -> Int {
      let mark = session.clearsPrivileges ? session.capabilities.mark(of: inode) : nil
      let count = try session.store.copyRange(
        from: source, at: sourceOffset, to: inode, at: offset, length: min(length, MountSession.copyBytes),
        dropPrivileges: false, dropCapability: mark != nil, handle: handle,
        by: session.caller(caller, changing: inode), waits: session.waits(handle))
      if let mark, count > 0 { session.capabilities.forget(inode, mark) }
      return Int(count)
    }

    func answer(_ reply: consuming Reply<Written>, _ count: Int, in session: MountSession) { reply.send(count) }
  }

  /// Regular files are always ready. POLLPRI: a request of this handle is recalled; with POLLERR: one was taken away.
  private func poll(_ reply: consuming Reply<PollEvents>, _ info: fuse_file_info, _ notification: OpaquePointer?) {
    counters.count(.poll)
    // First kept, then looked: whoever recalls looks in the other order, so one of the two is seen.
    if let notification, let previous = handles.exchangePollNotification(info.fh, notification) {
      fuse_pollhandle_destroy(previous)
    }
    var events = info.poll_events & UInt32(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)
    if store.seals.isStale(info.fh) {
      events |= UInt32(POLLPRI | POLLERR)
    } else if store.seals.recallMilliseconds(ofHandle: info.fh) != nil {
      events |= UInt32(POLLPRI)
    }
    reply.send(events)
  }
}
