/// Holes and copies: fallocate, lseek for data and holes, copy_file_range; and poll, which for files is a formality.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastStore

extension MountSession {
  /// The most one COPY_FILE_RANGE copies, so that a caller can be interrupted in between; more is asked for again.
  private static let copyBytes: UInt64 = 64 << 20

  static func addAllocationOperations(to operations: inout fuse_lowlevel_ops) {
    operations.fallocate = { request, inode, mode, offset, length, info in
      serving(request).allocate(
        Reply(request), inode, mode: mode, offset: Int64(offset), length: Int64(length), handle: info?.pointee.fh)
    }
    operations.lseek = { request, inode, offset, whence, _ in
      serving(request).seek(Reply(request), inode, from: Int64(offset), whence: whence)
    }
    operations.copy_file_range = { request, source, from, _, destination, to, info, length, _ in
      serving(request).copy(
        Reply(request), from: source, at: UInt64(from), to: destination, at: UInt64(to), length: UInt64(length),
        handle: info?.pointee.fh)
    }
    operations.poll = { request, _, info, notification in
      serving(request).poll(Reply(request), info!.pointee, notification)
    }
  }

  private func allocate(
    _ reply: consuming Reply<Done>, _ inode: InodeNumber, mode: Int32, offset: Int64, length: Int64, handle: UInt64?
  ) {
    counters.count(.fallocate)
    do throws(FSError) {
      guard offset >= 0, length > 0 else { throw .invalid(.argument) }
      try store.allocate(
        inode, mode: AllocateMode(rawValue: mode), offset: UInt64(offset), length: UInt64(length), handle: handle,
        by: reply.caller)
      reply.send()
    } catch {
      fail(reply, error, .fallocate, inode)
    }
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

  private func copy(
    _ reply: consuming Reply<Written>, from source: InodeNumber, at sourceOffset: UInt64, to destination: InodeNumber,
    at destinationOffset: UInt64, length: UInt64, handle: UInt64?
  ) {
    counters.count(.copyFileRange)
    do throws(FSError) {
      let mark = clearsPrivileges ? capabilities.mark(of: destination) : nil
      let count = try store.copyRange(
        from: source, at: sourceOffset, to: destination, at: destinationOffset,
        length: min(length, Self.copyBytes), dropPrivileges: false, dropCapability: mark != nil, handle: handle,
        by: reply.caller)
      if let mark, count > 0 { capabilities.forget(destination, mark) }
      reply.send(Int(count))
    } catch {
      fail(reply, error, .copyFileRange, destination)
    }
  }

  /// Regular files are always ready; nobody is told later.
  private func poll(_ reply: consuming Reply<PollEvents>, _ info: fuse_file_info, _ notification: OpaquePointer?) {
    counters.count(.poll)
    if let notification { fuse_pollhandle_destroy(notification) }
    let ready = UInt32(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)
    reply.send(info.poll_events & ready)
  }
}
