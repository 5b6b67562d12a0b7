/// Contents: open, create, read, write, sync and close. Changes of the map beyond writing are in
/// Operations+Allocation.swift.
///
/// There is no FLUSH: close(2) has nothing to tell us, and not answering it spares every close a round trip (the
/// kernel remembers). RELEASE, at the last reference, ends the handle and what is bound to it.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastStore

extension MountSession {
  static func addFileOperations(to operations: inout fuse_lowlevel_ops) {
    operations.open = { request, inode, info in
      let reply = Reply<Opened>(request)
      serving(request).perform(OpenCall(inode: inode, info: info!.pointee, caller: reply.caller), reply)
    }
    operations.create = { request, parent, name, mode, info in
      serving(request).create(Reply(request), UnsafeRawBufferPointer(cString: name), in: parent, mode: mode, info!)
    }
    operations.read = { request, inode, size, offset, info in
      let session = serving(request)
      if info!.pointee.flags & KernelTransport.Carried.fillsPageCache != 0 { session.cachedPages.add(inode) }
      session.read(Reply(request), inode, size: size, at: UInt64(offset))
    }
    operations.write = { request, inode, bytes, count, offset, info in
      let reply = Reply<Written>(request)
      serving(request).perform(
        WriteCall(
          inode: inode, bytes: UnsafeRawBufferPointer(start: bytes, count: count), offset: UInt64(offset),
          info: info!.pointee, caller: reply.caller), reply)
    }
    operations.release = { request, inode, info in
      serving(request).release(Reply(request), inode, info!.pointee.fh)
    }
    operations.fsync = { request, inode, dataOnly, _ in
      serving(request).sync(Reply(request), .fsync, inode, dataOnly: dataOnly != 0)
    }
  }

  /// Row 9: the truncation hides in the open, and comes before the handle exists, so that a refusal fails the open.
  private struct OpenCall: MapChangingCall, @unchecked Sendable {
    typealias Answer = Opened
    var inode: InodeNumber
    var info: fuse_file_info
    var caller: Credentials
    var operation: Operation { .open }

    func make(in session: MountSession) throws(FSError) -> Handle {
      let flags = info.flags & ~KernelTransport.Carried.dropPrivileges
      var handle = Handle(inode: inode, flags: flags, usesPageCache: true, opener: caller.pid)
      if case .shutDown = session.store.health { throw .shutDown }
      if handle.isWriting || flags & O_TRUNC != 0 { try prepareWriting(&handle, session) }
      return handle
    }

    /// What an open for writing must pass.
    private func prepareWriting(_ handle: inout Handle, _ session: MountSession) throws(FSError) {
      let record = try session.store.attributes(of: inode).record
      if record.flags.contains(.immutable) { throw .notPermitted }
      if record.flags.contains(.appendOnly), handle.flags & O_APPEND == 0 || handle.flags & O_TRUNC != 0 {
        throw .notPermitted
      }
      handle.synchronous = record.flags.contains(.synchronous)
      if session.clearsPrivileges { session.capabilities.check(inode, in: session.store) }
      if handle.flags & O_TRUNC != 0 {
        var changes = AttributeChanges()
        changes.size = 0
        changes.modified = .now
        changes.changed = .now
        changes.dropPrivileges = handle.flags != info.flags
        changes.dropCapability = session.clearsPrivileges
        _ = try session.store.setAttributes(
          changes, of: inode, handle: nil, by: session.caller(caller, changing: inode),
          waits: handle.flags & O_NONBLOCK == 0)
      }
    }

    func answer(_ reply: consuming Reply<Opened>, _ handle: Handle, in session: MountSession) {
      var info = info
      session.begin(handle, &info)
      if !reply.send(&info) { session.end(info.fh) }
    }
  }

  private func create(
    _ reply: consuming Reply<Created>, _ name: UnsafeRawBufferPointer, in parent: InodeNumber, mode: mode_t,
    _ info: UnsafeMutablePointer<fuse_file_info>
  ) {
    // A TMPFILE in CREATE's clothes: the name "/" cannot be any other.
    let isUnnamed = name.count == 1 && name[0] == UInt8(ascii: "/")
    let operation: Operation = isUnnamed ? .tmpfile : .create
    counters.count(operation)
    do throws(FSError) {
      let new = NewInode(mode: mode & 0o7777 | FileType.regular.mode, umask: reply.umask)
      let attributes =
        isUnnamed
        ? try store.makeUnnamed(new, in: parent, by: reply.caller)
        : try store.make(new, name, in: parent, by: reply.caller)
      let flags = info.pointee.flags & ~KernelTransport.Carried.dropPrivileges
      begin(Handle(inode: attributes.inode, flags: flags, usesPageCache: true, opener: reply.caller.pid), info)
      store.retain(attributes.inode)
      if !reply.send(attributes, info) {
        end(info.pointee.fh)
        store.release(attributes.inode)
      }
    } catch {
      fail(reply, error, operation, parent)
    }
  }

  /// A handle exists from here on.
  fileprivate func begin(_ handle: Handle, _ info: UnsafeMutablePointer<fuse_file_info>) {
    store.retain(handle.inode)
    store.opened(handle.inode, writing: handle.isWriting)
    info.pointee.fh = handles.insert(handle)
    // The handle first, then the look for layouts: a grant looks in the other order, so one of the two sees the other.
    let use = store.seals.pageCacheUse(of: handle.inode)
    if use == .none {
      handles.bypassPageCache(info.pointee.fh)
      info.pointee.direct_io = 1
      return
    }
    // What the kernel has cached of the file stays true: see `CacheTime.forever`. But a read served from there shows no
    // access, and every access is to be seen with strictatime.
    let keeps = options.accessTime != .strictatime && use == .free && !cachedPages.isOutdated(handle.inode)
    info.pointee.keep_cache = keeps ? 1 : 0
  }

  fileprivate func end(_ id: UInt64) {
    guard let handle = handles.remove(id) else { return }
    if let notification = handle.pollNotification { fuse_pollhandle_destroy(notification) }
    let before = handle.isWriting ? try? store.attributes(of: handle.inode).record.blocks : nil
    store.closed(handle.inode, handle: id, writing: handle.isWriting)
    if let before, let after = try? store.attributes(of: handle.inode).record.blocks, after != before {
      // Preallocation was trimmed, which the kernel did not see.
      notifier.invalidateAttributes(of: handle.inode)
    }
    store.release(handle.inode)
  }

  private func release(_ reply: consuming Reply<Done>, _ inode: InodeNumber, _ handle: UInt64) {
    counters.count(.release)
    end(handle)
    reply.send()
  }

  private func read(_ reply: consuming Reply<Bytes>, _ inode: InodeNumber, size: Int, at offset: UInt64) {
    counters.count(.read)
    let buffer = buffers.take()
    defer { buffers.give(back: buffer) }
    do throws(FSError) {
      guard size <= buffer.count else { throw .invalid(.argument) }
      let count = try store.read(inode, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<size]), at: offset)
      reply.send(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    } catch {
      fail(reply, error, .read, inode)
    }
  }

  private struct WriteCall: MapChangingCall, @unchecked Sendable {
    typealias Answer = Written
    var inode: InodeNumber
    var bytes: UnsafeRawBufferPointer
    var offset: UInt64
    var info: fuse_file_info
    var caller: Credentials
    /// Where `bytes` are, once they are no longer the request's.
    var copy: AlignedBuffer?
    var operation: Operation { .write }

    /// Writeback of a mapping comes from no process, through any handle of the file: it is never made to wait.
    private var isWriteback: Bool { info.writepage != 0 }

    func make(in session: MountSession) throws(FSError) -> Int {
      if isWriteback, session.refusesWriteback(of: inode, offset, UInt64(bytes.count)) { throw .laidOut }
      let handle = session.handles[info.fh]
      if handle?.usesPageCache == true, info.flags & O_DIRECT == 0 { session.cachedPages.add(inode) }
      let mark = session.clearsPrivileges ? session.capabilities.mark(of: inode) : nil
      let count = try session.store.write(
        inode, bytes, at: offset, append: !isWriteback && info.flags & O_APPEND != 0,
        dropPrivileges: info.flags & KernelTransport.Carried.dropPrivileges != 0, dropCapability: mark != nil,
        handle: isWriteback ? nil : info.fh,
        by: isWriteback ? .daemon : session.caller(caller, changing: inode),
        waits: !isWriteback && info.flags & O_NONBLOCK == 0)
      if let mark { session.capabilities.forget(inode, mark) }
      if handle?.synchronous == true { try session.store.sync(inode, dataOnly: false) }
      return count
    }

    func answer(_ reply: consuming Reply<Written>, _ count: Int, in session: MountSession) { reply.send(count) }

    /// The page cache took the bytes before they were refused.
    func failed(in session: MountSession) {
      session.pageNotifier.invalidatePages(of: inode, offset: offset, length: UInt64(bytes.count))
    }

    var keptBytes: Int { bytes.count }

    func kept() -> Self {
      if copy != nil { return self }
      let buffer = AlignedBuffer(byteCount: bytes.count, zeroed: false)
      buffer.bytes.copyMemory(from: bytes)
      var kept = self
      kept.copy = buffer
      kept.bytes = UnsafeRawBufferPointer(buffer.bytes)
      return kept
    }
  }

  func sync(_ reply: consuming Reply<Done>, _ operation: Operation, _ inode: InodeNumber, dataOnly: Bool) {
    counters.count(operation)
    do throws(FSError) {
      try store.sync(inode, dataOnly: dataOnly)
      reply.send()
    } catch {
      fail(reply, error, operation, inode)
    }
  }
}
