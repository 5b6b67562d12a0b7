/// Extended attributes: those stored with the file, and the virtual `holdfast.*` ones (VirtualAttributes.swift),
/// which are never listed, so that backups do not copy seals.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastStore

extension MountSession {
  static func addXattrOperations(to operations: inout fuse_lowlevel_ops) {
    operations.getxattr = { request, inode, name, capacity in
      serving(request).getXattr(Reply(request), inode, UnsafeRawBufferPointer(cString: name), capacity: capacity)
    }
    operations.setxattr = { request, inode, name, value, count, flags in
      serving(request).setXattr(
        Reply(request), inode, UnsafeRawBufferPointer(cString: name),
        to: UnsafeRawBufferPointer(start: value, count: count), flags: flags)
    }
    operations.listxattr = { request, inode, capacity in
      serving(request).listXattrs(Reply(request), inode, capacity: capacity)
    }
    operations.removexattr = { request, inode, name in
      serving(request).removeXattr(Reply(request), inode, UnsafeRawBufferPointer(cString: name))
    }
  }

  private func getXattr(
    _ reply: consuming Reply<AttributeValue>, _ inode: InodeNumber, _ name: UnsafeRawBufferPointer, capacity: Int
  ) {
    counters.count(.getxattr)
    do throws(FSError) {
      if let virtual = VirtualAttribute(name) {
        reply.send(try value(of: virtual, inode, by: reply.caller), capacity: capacity)
      } else {
        reply.send(try store.xattr(name, of: inode), capacity: capacity)
      }
    } catch {
      fail(reply, error, .getxattr, inode)
    }
  }

  private func setXattr(
    _ reply: consuming Reply<Done>, _ inode: InodeNumber, _ name: UnsafeRawBufferPointer,
    to value: UnsafeRawBufferPointer, flags: Int32
  ) {
    counters.count(.setxattr)
    do throws(FSError) {
      let mode: XattrMode =
        flags & holdfast_xattr_create != 0 ? .create : flags & holdfast_xattr_replace != 0 ? .replace : .any
      if let virtual = VirtualAttribute(name) {
        try set(virtual, inode, to: value, mode: mode, by: reply.caller)
      } else {
        try store.setXattr(
          name, of: inode, to: value, mode: mode,
          dropSetGroupID: flags & KernelTransport.Carried.aclClearsSetGroupID != 0, by: reply.caller)
        if FileCapabilities.isName(name) { capabilities.add(inode) }
      }
      reply.send()
    } catch {
      fail(reply, error, .setxattr, inode)
    }
  }

  private func listXattrs(_ reply: consuming Reply<AttributeValue>, _ inode: InodeNumber, capacity: Int) {
    counters.count(.listxattr)
    do throws(FSError) {
      reply.send(try store.listXattrs(of: inode), capacity: capacity)
    } catch {
      fail(reply, error, .listxattr, inode)
    }
  }

  private func removeXattr(_ reply: consuming Reply<Done>, _ inode: InodeNumber, _ name: UnsafeRawBufferPointer) {
    counters.count(.removexattr)
    do throws(FSError) {
      if let virtual = VirtualAttribute(name) {
        try remove(virtual, inode, by: reply.caller)
      } else {
        try store.removeXattr(name, of: inode)
      }
      reply.send()
    } catch {
      fail(reply, error, .removexattr, inode)
    }
  }
}
