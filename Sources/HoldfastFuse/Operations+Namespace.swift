/// Names: lookup, creation, removal, rename, links; and the kernel's count of lookups.
///
/// Every answer with an entry is a lookup the kernel counts and gives back by FORGET. The Store's reference is
/// taken before the answer leaves, because the FORGET may overtake us; it is given back when the kernel did not
/// take the answer.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastStore

extension MountSession {
  static func addNamespaceOperations(to operations: inout fuse_lowlevel_ops) {
    operations.lookup = { request, parent, name in
      serving(request).lookup(Reply(request), UnsafeRawBufferPointer(cString: name), in: parent)
    }
    operations.forget = { request, inode, count in
      serving(request).forget(Reply(request), inode, count: count)
    }
    operations.forget_multi = { request, count, forgets in
      serving(request).forget(Reply(request), UnsafeBufferPointer(start: forgets, count: count))
    }
    operations.mknod = { request, parent, name, mode, device in
      serving(request).make(
        Reply(request), .mknod, UnsafeRawBufferPointer(cString: name), in: parent, mode: mode, device: UInt64(device))
    }
    operations.mkdir = { request, parent, name, mode in
      serving(request).make(
        Reply(request), .mkdir, UnsafeRawBufferPointer(cString: name), in: parent,
        mode: mode & 0o7777 | FileType.directory.mode, device: 0)
    }
    operations.unlink = { request, parent, name in
      serving(request).unlink(Reply(request), UnsafeRawBufferPointer(cString: name), in: parent)
    }
    operations.rmdir = { request, parent, name in
      serving(request).removeDirectory(Reply(request), UnsafeRawBufferPointer(cString: name), in: parent)
    }
    operations.symlink = { request, target, parent, name in
      serving(request).symlink(
        Reply(request), to: UnsafeRawBufferPointer(cString: target), UnsafeRawBufferPointer(cString: name), in: parent)
    }
    operations.readlink = { request, inode in serving(request).readlink(Reply(request), inode) }
    operations.rename = { request, parent, name, newParent, newName, flags in
      serving(request).rename(
        Reply(request), UnsafeRawBufferPointer(cString: name), in: parent,
        to: UnsafeRawBufferPointer(cString: newName), in: newParent, flags: flags)
    }
    operations.link = { request, inode, parent, name in
      serving(request).link(Reply(request), inode, as: UnsafeRawBufferPointer(cString: name), in: parent)
    }
  }

  /// Answers with an entry, counted as a lookup.
  private func send(_ reply: consuming Reply<Entry>, _ attributes: Attributes) {
    store.retain(attributes.inode)
    if !reply.send(attributes) { store.release(attributes.inode) }
  }

  private func lookup(_ reply: consuming Reply<Entry>, _ name: UnsafeRawBufferPointer, in parent: InodeNumber) {
    counters.count(.lookup)
    do throws(FSError) {
      send(reply, try find(name, in: parent))
    } catch .notFound {
      counters.countFailure(.lookup)
      reply.sendAbsent()
    } catch {
      fail(reply, error, .lookup, parent)
    }
  }

  /// The kernel asks for "." and ".." only of a file handle (NFS, open_by_handle_at): "." of any inode.
  private func find(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) -> Attributes {
    let dot = UInt8(ascii: ".")
    if name.count == 1, name[0] == dot { return try store.attributes(of: parent) }
    if name.count == 2, name[0] == dot, name[1] == dot {
      let directory = try store.attributes(of: parent)
      guard directory.record.isDirectory else { throw .notDirectory }
      return parent == RootDirectory.inode ? directory : try store.attributes(of: directory.record.parent)
    }
    return try store.lookup(name, in: parent)
  }

  private func forget(_ reply: consuming Reply<Nothing>, _ inode: InodeNumber, count: UInt64) {
    counters.count(.forget)
    if store.release(inode, count: count) { cachedPages.forget(inode) }
    reply.send()
  }

  private func forget(_ reply: consuming Reply<Nothing>, _ forgets: UnsafeBufferPointer<fuse_forget_data>) {
    for forget in forgets {
      counters.count(.forget)
      if store.release(forget.ino, count: forget.nlookup) { cachedPages.forget(forget.ino) }
    }
    reply.send()
  }

  private func make(
    _ reply: consuming Reply<Entry>, _ operation: Operation, _ name: UnsafeRawBufferPointer, in parent: InodeNumber,
    mode: mode_t, device: UInt64
  ) {
    counters.count(operation)
    do throws(FSError) {
      let new = NewInode(mode: mode, umask: reply.umask, device: device)
      send(reply, try store.make(new, name, in: parent, by: reply.caller))
    } catch {
      fail(reply, error, operation, parent)
    }
  }

  private func unlink(_ reply: consuming Reply<Done>, _ name: UnsafeRawBufferPointer, in parent: InodeNumber) {
    counters.count(.unlink)
    do throws(FSError) {
      try store.unlink(name, in: parent)
      reply.send()
    } catch {
      fail(reply, error, .unlink, parent)
    }
  }

  private func removeDirectory(_ reply: consuming Reply<Done>, _ name: UnsafeRawBufferPointer, in parent: InodeNumber) {
    counters.count(.rmdir)
    do throws(FSError) {
      try store.removeDirectory(name, in: parent)
      reply.send()
    } catch {
      fail(reply, error, .rmdir, parent)
    }
  }

  private func symlink(
    _ reply: consuming Reply<Entry>, to target: UnsafeRawBufferPointer, _ name: UnsafeRawBufferPointer,
    in parent: InodeNumber
  ) {
    counters.count(.symlink)
    do throws(FSError) {
      send(reply, try store.makeSymlink(to: target, name, in: parent, by: reply.caller))
    } catch {
      fail(reply, error, .symlink, parent)
    }
  }

  private func readlink(_ reply: consuming Reply<Bytes>, _ inode: InodeNumber) {
    counters.count(.readlink)
    do throws(FSError) {
      reply.send(try store.readSymlink(inode))
    } catch {
      fail(reply, error, .readlink, inode)
    }
  }

  private func rename(
    _ reply: consuming Reply<Done>, _ name: UnsafeRawBufferPointer, in parent: InodeNumber,
    to newName: UnsafeRawBufferPointer, in newParent: InodeNumber, flags: UInt32
  ) {
    counters.count(.rename)
    do throws(FSError) {
      let known: RenameFlags = [.noReplace, .exchange, .whiteout]
      guard flags & ~known.rawValue == 0 else { throw .invalid(.argument) }
      try store.rename(
        name, in: parent, to: newName, in: newParent, flags: RenameFlags(rawValue: flags), by: reply.caller)
      reply.send()
    } catch {
      fail(reply, error, .rename, parent)
    }
  }

  private func link(
    _ reply: consuming Reply<Entry>, _ inode: InodeNumber, as name: UnsafeRawBufferPointer, in parent: InodeNumber
  ) {
    counters.count(.link)
    do throws(FSError) {
      send(reply, try store.link(inode, as: name, in: parent))
    } catch {
      fail(reply, error, .link, inode)
    }
  }
}
