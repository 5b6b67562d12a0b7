/// stat(2)'s side: getattr, setattr, statfs, and what clears set-id bits and file capabilities.

import CFuse3
import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

extension MountSession {
  static func addAttributeOperations(to operations: inout fuse_lowlevel_ops) {
    operations.getattr = { request, inode, _ in serving(request).getAttributes(Reply(request), inode) }
    operations.setattr = { request, inode, values, valid, info in
      let reply = Reply<Stat>(request)
      serving(request).perform(
        SetAttributesCall(
          inode: inode, values: values!.pointee, valid: valid, handle: info?.pointee.fh, caller: reply.caller), reply)
    }
    operations.statfs = { request, _ in serving(request).volumeStatistics(Reply(request)) }
  }

  private func getAttributes(_ reply: consuming Reply<Stat>, _ inode: InodeNumber) {
    counters.count(.getattr)
    do throws(FSError) {
      reply.send(try store.attributes(of: inode))
    } catch {
      if error == .shutDown, inode == RootDirectory.inode {
        // The mount point stays to be seen: `holdfast info` and `unmount` begin there.
        let now = Timestamp.now
        return reply.send(
          Attributes(
            inode: inode, record: InodeRecord(mode: 0o040755, uid: 0, gid: 0, links: 2, generation: 1, now: now)))
      }
      fail(reply, error, .getattr, inode)
    }
  }

  /// A truncation among others.
  private struct SetAttributesCall: MapChangingCall, @unchecked Sendable {
    typealias Answer = Stat
    var inode: InodeNumber
    var values: stat
    var valid: Int32
    var handle: UInt64?
    var caller: Credentials
    var operation: Operation { .setattr }

    func make(in session: MountSession) throws(FSError) -> Attributes {
      var changes = AttributeChanges(values, valid: valid)
      if session.clearsPrivileges {
        try session.clearPrivileges(inode, &changes, valid: valid, byHandle: handle != nil, by: caller)
      }
      let caller = changes.size == nil ? caller : session.caller(caller, changing: inode)
      return try session.store.setAttributes(
        changes, of: inode, handle: handle, by: caller, waits: session.waits(handle))
    }

    func answer(_ reply: consuming Reply<Stat>, _ attributes: Attributes, in session: MountSession) {
      reply.send(attributes)
    }
  }

  /// A truncation removes the file's capability, whoever truncates, and its set-id bits when the kernel says so.
  /// A change of owner removes both, in the Store; chown(path, -1, -1) and fallocate too, which arrive as a request
  /// that changes nothing and becomes a change to the same owner. As in the kernel, that request keeps set-group-id
  /// without group execution only for members of the group.
  /// After a refused extending O_DIRECT write the kernel sets the old size, by the handle and with no time to set
  /// (ftruncate(2) has one): that takes nothing.
  fileprivate func clearPrivileges(
    _ inode: InodeNumber, _ changes: inout AttributeChanges, valid: Int32, byHandle: Bool, by caller: Credentials
  ) throws(FSError) {
    if valid == 0 {
      let record = try store.attributes(of: inode).record
      changes.uid = record.uid
      if record.isRegular, record.mode & 0o2010 == 0o2000, caller.uid != 0,
        !ProcessInfo.isMember(pid: caller.pid, gid: caller.gid, of: record.gid)
      {
        changes.mode = record.mode & 0o1777
      }
    }
    if let size = changes.size {
      let isKernelsOwn = byHandle && changes.modified == nil && !changes.dropPrivileges
      let isOtherSize = try store.attributes(of: inode).record.size != size
      changes.dropCapability = !isKernelsOwn || isOtherSize
    }
  }

  private func volumeStatistics(_ reply: consuming Reply<VolumeStat>) {
    counters.count(.statfs)
    let usage = store.usage
    var statistics = statvfs()
    statistics.f_bsize = UInt(Block.size)
    statistics.f_frsize = UInt(Block.size)
    statistics.f_blocks = UInt(usage.totalBlocks)
    statistics.f_bfree = UInt(usage.freeBlocks)
    statistics.f_bavail = UInt(usage.freeBlocks)
    // Inodes are records in the tree: there is room for as many as there are free blocks, at least.
    statistics.f_files = UInt(usage.inodes + usage.freeBlocks)
    statistics.f_ffree = UInt(usage.freeBlocks)
    statistics.f_favail = UInt(usage.freeBlocks)
    statistics.f_namemax = UInt(Limits.nameBytes)
    reply.send(statistics)
  }
}

extension AttributeChanges {
  /// From what SETATTR carries: `valid` names the fields of `values` to be set.
  init(_ values: stat, valid: Int32) {
    self.init()
    if valid & FUSE_SET_ATTR_MODE != 0 { mode = values.st_mode & 0o7777 }
    if valid & FUSE_SET_ATTR_UID != 0 { uid = values.st_uid }
    if valid & FUSE_SET_ATTR_GID != 0 { gid = values.st_gid }
    if valid & FUSE_SET_ATTR_SIZE != 0 { size = UInt64(bitPattern: Int64(values.st_size)) }
    if valid & FUSE_SET_ATTR_ATIME_NOW != 0 {
      accessed = .now
    } else if valid & FUSE_SET_ATTR_ATIME != 0 {
      accessed = .at(Timestamp(values.st_atim))
    }
    if valid & FUSE_SET_ATTR_MTIME_NOW != 0 {
      modified = .now
    } else if valid & FUSE_SET_ATTR_MTIME != 0 {
      modified = .at(Timestamp(values.st_mtim))
    }
    if valid & FUSE_SET_ATTR_CTIME != 0 { changed = .at(Timestamp(values.st_ctim)) }
    dropPrivileges = valid & (FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_KILL_SGID) != 0
  }
}
