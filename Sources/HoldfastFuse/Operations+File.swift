/// Contents: open, create, read, write, sync and close. Changes of the map beyond writing are in
/// Operations+Allocation.swift.
///
/// There is no FLUSH: close(2) has nothing to tell us, and not answering it spares every close a round trip (the
/// kernel remembers). RELEASE, at the last reference, ends the handle and what is bound to it.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastStore

extension MountSession {
  static func addFileOperations(to operations: inout fuse_lowlevel_ops) {
    operations.open = { request, inode, info in serving(request).open(Reply(request), inode, info!) }
    operations.create = { request, parent, name, mode, info in
      serving(request).create(Reply(request), UnsafeRawBufferPointer(cString: name), in: parent, mode: mode, info!)
    }
    operations.read = { request, inode, size, offset, _ in
      serving(request).read(Reply(request), inode, size: size, at: UInt64(offset))
    }
    operations.write = { request, inode, bytes, count, offset, info in
      serving(request).write(
        Reply(request), inode, UnsafeRawBufferPointer(start: bytes, count: count), at: UInt64(offset), info!.pointee)
    }
    operations.release = { request, inode, info in
      serving(request).release(Reply(request), inode, info!.pointee.fh)
    }
    operations.fsync = { request, inode, dataOnly, _ in
      serving(request).sync(Reply(request), .fsync, inode, dataOnly: dataOnly != 0)
    }
  }

  private func open(
    _ reply: consuming Reply<Opened>, _ inode: InodeNumber, _ info: UnsafeMutablePointer<fuse_file_info>
  ) {
    counters.count(.open)
    do throws(FSError) {
      let flags = info.pointee.flags & ~KernelTransport.Carried.dropPrivileges
      var handle = Handle(inode: inode, flags: flags)
      if case .shutDown = store.health { throw .shutDown }
      if handle.isWriting || flags & O_TRUNC != 0 {
        try prepareWriting(inode, &handle, dropPrivileges: flags != info.pointee.flags, by: reply.caller)
      }
      begin(handle, info)
      if !reply.send(info) { end(info.pointee.fh) }
    } catch {
      fail(reply, error, .open, inode)
    }
  }

  /// What an open for writing must pass, and the truncation that hides in it (row 9): before the handle exists,
  /// so that a refusal fails the open.
  private func prepareWriting(
    _ inode: InodeNumber, _ handle: inout Handle, dropPrivileges: Bool, by caller: Credentials
  ) throws(FSError) {
    let record = try store.attributes(of: inode).record
    if record.flags.contains(.immutable) { throw .notPermitted }
    if record.flags.contains(.appendOnly), handle.flags & O_APPEND == 0 || handle.flags & O_TRUNC != 0 {
      throw .notPermitted
    }
    handle.synchronous = record.flags.contains(.synchronous)
    if clearsPrivileges { capabilities.check(inode, in: store) }
    if handle.flags & O_TRUNC != 0 {
      var changes = AttributeChanges()
      changes.size = 0
      changes.modified = .now
      changes.changed = .now
      changes.dropPrivileges = dropPrivileges
      changes.dropCapability = clearsPrivileges
      _ = try store.setAttributes(changes, of: inode, handle: nil, by: caller)
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
      begin(Handle(inode: attributes.inode, flags: info.pointee.flags & ~KernelTransport.Carried.dropPrivileges), info)
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
  private func begin(_ handle: Handle, _ info: UnsafeMutablePointer<fuse_file_info>) {
    store.retain(handle.inode)
    store.opened(handle.inode, writing: handle.isWriting)
    info.pointee.fh = handles.insert(handle)
    // What the kernel has cached of the file stays true: see `CacheTime.forever`. But a read served from there shows no
    // access, and every access is to be seen with strictatime.
    info.pointee.keep_cache = options.accessTime == .strictatime ? 0 : 1
  }

  private func end(_ id: UInt64) {
    guard let handle = handles.remove(id) else { return }
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

  private func write(
    _ reply: consuming Reply<Written>, _ inode: InodeNumber, _ bytes: UnsafeRawBufferPointer, at offset: UInt64,
    _ info: fuse_file_info
  ) {
    counters.count(.write)
    // Writeback of a mapping comes from no process, through any handle of the file.
    let isWriteback = info.writepage != 0
    do throws(FSError) {
      let mark = clearsPrivileges ? capabilities.mark(of: inode) : nil
      let count = try store.write(
        inode, bytes, at: offset, append: !isWriteback && info.flags & O_APPEND != 0,
        dropPrivileges: info.flags & KernelTransport.Carried.dropPrivileges != 0, dropCapability: mark != nil,
        handle: isWriteback ? nil : info.fh, by: isWriteback ? .daemon : reply.caller)
      if let mark { capabilities.forget(inode, mark) }
      if handles[info.fh]?.synchronous == true { try store.sync(inode, dataOnly: false) }
      reply.send(count)
    } catch {
      // The page cache took the bytes before we refused them.
      notifier.invalidatePages(of: inode, offset: offset, length: UInt64(bytes.count))
      fail(reply, error, .write, inode)
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
