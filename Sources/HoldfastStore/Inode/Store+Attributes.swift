/// setattr and chattr.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Who may change what is the kernel's to check (default_permissions); flags are checked here. `waits`: see `write`.
  public func setAttributes(
    _ changes: AttributeChanges, of inode: InodeNumber, handle: UInt64?, by caller: Credentials, waits: Bool = false
  ) throws(FSError) -> Attributes {
    if let size = changes.size {
      return try inodeLocks.exclusive(inode) { () throws(FSError) in
        try setSize(inode, to: size, by: Actor(credentials: caller, handle: handle, waits: waits)) {
          (record, isOtherSize) throws(FSError) in
          // The same size moves no times (POSIX): after a refused extending O_DIRECT write the kernel asks for the old
          // size, and a refusal leaves no trace.
          if isOtherSize {
            record.modified = .now
            record.changed = record.modified
          }
          try drop(
            privileges: changes.dropPrivileges, capability: changes.dropCapability, of: inode, &record)
          try apply(changes, to: inode, &record)
        }
        return try attributes(of: inode)
      }
    }
    return try transaction(keys: 4, .shrinking) { () throws(FSError) in
      var record = try self.inode(inode)
      guard record.flags.isDisjoint(with: [.immutable]) else { throw .notPermitted }
      if record.flags.contains(.appendOnly), changes.isRefusedOnAppendOnly { throw .notPermitted }
      record.changed = .now
      try apply(changes, to: inode, &record)
      try putInode(inode, record)
      return Attributes(inode: inode, record: record)
    }
  }

  private func apply(
    _ changes: AttributeChanges, to number: InodeNumber, _ record: inout InodeRecord
  ) throws(FSError) {
    if changes.uid != nil || changes.gid != nil {
      record.uid = changes.uid ?? record.uid
      record.gid = changes.gid ?? record.gid
      try dropPrivileges(number, &record)
    }
    if let mode = changes.mode {
      record.mode = record.mode & ~0o7777 | mode & 0o7777
      try chmodAcl(of: number, mode: record.mode)
    }
    if let time = changes.accessed { record.accessed = Store.resolve(time) }
    if let time = changes.modified { record.modified = Store.resolve(time) }
    if let time = changes.changed { record.changed = Store.resolve(time) }
  }

  private static func resolve(_ time: AttributeChanges.Time) -> Timestamp {
    switch time {
    case .now: .now
    case .at(let timestamp): timestamp
    }
  }

  /// FS_IOC_SETFLAGS. The owner may change flags; immutable and append-only need an administrator.
  public func setFlags(_ flags: InodeFlags, of inode: InodeNumber, by caller: Credentials) throws(FSError) {
    guard flags.isSubset(of: .userVisible) else { throw .unsupported }
    let isAdministrator = ProcessInfo.isAdministrator(pid: caller.pid, uid: caller.uid)
    try inodeLocks.exclusive(inode) { () throws(FSError) in
      try transaction(keys: 1, .shrinking) { () throws(FSError) in
        var record = try self.inode(inode)
        guard record.isRegular || record.isDirectory else { throw .unsupported }
        guard caller.uid == record.uid || isAdministrator else { throw .notPermitted }
        let protected: InodeFlags = [.immutable, .appendOnly]
        if flags.intersection(protected) != record.flags.intersection(protected), !isAdministrator {
          throw .notPermitted
        }
        record.flags = record.flags.subtracting(.userVisible).union(flags)
        record.changed = .now
        try putInode(inode, record)
      }
    }
  }

  /// Options a remount may change.
  public func setOptions(
    accessTime: StoreOptions.AccessTime, commitSeconds: Int, onError: StoreOptions.ErrorAction, seals: SealOptions
  ) {
    treeLock.withLock {
      options.accessTime = accessTime
      options.commitSeconds = commitSeconds
      options.onError = onError
      options.seals = seals
    }
    self.seals.setOptions(seals)
    background?.wake()
  }
}
