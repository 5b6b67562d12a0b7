/// Making inodes: files, directories, devices, symlinks, unnamed files; and hard links.

import HoldfastBase
import HoldfastFormat

extension Store {
  /// mknod, mkdir, create: a new inode named `name`.
  public func make(
    _ new: NewInode, _ name: UnsafeRawBufferPointer, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> Attributes {
    try make(new, name, in: parent, by: caller) { (_, _) throws(FSError) in }
  }

  public func makeSymlink(
    to target: UnsafeRawBufferPointer, _ name: UnsafeRawBufferPointer, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> Attributes {
    guard target.count > 0 else { throw .notFound }
    guard target.count <= Limits.symlinkBytes else { throw .nameTooLong }
    let new = NewInode(mode: UInt32(FileType.symlink.rawValue) << 12 | 0o777, umask: 0)
    return try make(new, name, in: parent, by: caller) { (number, record) throws(FSError) in
      record.size = UInt64(target.count)
      for (piece, start) in stride(from: 0, to: target.count, by: Key.pieceBytes).enumerated() {
        let bytes = UnsafeRawBufferPointer(rebasing: target[start..<min(start + Key.pieceBytes, target.count)])
        try put(.file(number, .symlink, UInt64(piece)), bytes)
      }
    }
  }

  /// Keys a new inode may need: itself, its entry, its parent, an orphan, two access control lists of a block each.
  static let keysPerMake = 16

  private func make(
    _ new: NewInode, _ name: UnsafeRawBufferPointer, in parent: InodeNumber, by caller: Credentials,
    _ fill: (InodeNumber, inout InodeRecord) throws(FSError) -> Void
  ) throws(FSError) -> Attributes {
    try checkName(name)
    return try transaction(keys: Store.keysPerMake, .growing) { () throws(FSError) in
      var directory = try changeableDirectory(parent)
      if try find(name, in: parent) != nil { throw .exists }
      try checkPlace(for: name, in: parent)
      var (record, acl) = try newRecord(new, in: directory, parent, caller)
      guard let type = record.fileType else { throw .invalid(.argument) }
      if type == .directory {
        guard directory.links < Limits.links else { throw .tooManyLinks }
        directory.links += 1
      }
      let number = try takeInodeNumber()
      try fill(number, &record)
      try addEntry(name, number, type, in: parent, &directory)
      try putInode(number, record)
      try putInode(parent, directory)
      try putInheritedAcl(acl, number)
      return Attributes(inode: number, record: record)
    }
  }

  /// O_TMPFILE: a regular file without a name, until `link` gives it one.
  public func makeUnnamed(
    _ new: NewInode, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> Attributes {
    try transaction(keys: Store.keysPerMake, .growing) { () throws(FSError) in
      let directory = try changeableDirectory(parent)
      var (record, acl) = try newRecord(new, in: directory, parent, caller)
      guard record.isRegular else { throw .invalid(.argument) }
      record.links = 0
      let number = try takeInodeNumber()
      try putInode(number, record)
      try putInheritedAcl(acl, number)
      try putOrphan(number, OrphanRecord(kind: .unlinked, firstBlock: 0))
      unlinked.insert(number)
      return Attributes(inode: number, record: record)
    }
  }

  /// What overlayfs leaves where a name of a lower layer is to be hidden: a character device 0, 0 that nobody may open.
  func makeWhiteout(
    _ number: InodeNumber, _ name: UnsafeRawBufferPointer, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) {
    var directory = try inode(parent)
    try addEntry(name, number, .characterDevice, in: parent, &directory)
    try putInode(
      number,
      InodeRecord(
        mode: UInt32(FileType.characterDevice.rawValue) << 12, uid: caller.uid, gid: caller.gid, links: 1,
        generation: UInt32(truncatingIfNeeded: volume.mountCount), now: .now))
    try putInode(parent, directory)
  }

  /// The next number; `apply` moves on to the one behind when an inode gets it.
  func takeInodeNumber() throws(FSError) -> InodeNumber {
    guard volume.nextInode < Key.maximumObject else { throw .noSpace }
    return volume.nextInode
  }

  /// Owner, group, mode and ACLs as Linux gives them to an inode made in `directory`.
  private func newRecord(
    _ new: NewInode, in directory: InodeRecord, _ parent: InodeNumber, _ caller: Credentials
  ) throws(FSError) -> (InodeRecord, InheritedAcl) {
    var mode = new.mode
    var gid = caller.gid
    let isDirectory = mode >> 12 == UInt32(FileType.directory.rawValue)
    if directory.mode & 0o2000 != 0 {
      gid = directory.gid
      if isDirectory { mode |= 0o2000 }
    }
    let acl = try inheritedAcl(mode: &mode, umask: new.umask, from: parent)
    var record = InodeRecord(
      mode: mode, uid: caller.uid, gid: gid, links: isDirectory ? 2 : 1,
      generation: UInt32(truncatingIfNeeded: volume.mountCount), now: .now)
    if record.fileType == .characterDevice || record.fileType == .blockDevice { record.device = new.device }
    if isDirectory { record.parent = parent }
    // As ext4: what a directory says of dumping and access times holds for what is made in it.
    record.flags = directory.flags.intersection([.noDump, .noAccessTime, .synchronous])
    record.extentSizeHint = directory.extentSizeHint
    return (record, acl)
  }

  public func readSymlink(_ inode: InodeNumber) throws(FSError) -> [UInt8] {
    let (record, target) = try reading { () throws(FSError) in
      let record = try self.inode(inode)
      guard record.fileType == .symlink else { throw .invalid(.argument) }
      guard record.size <= UInt64(Limits.symlinkBytes) else { throw .corrupt(structure: .inodeRecord, block: inode) }
      var target: [UInt8] = []
      var piece: UInt64 = 0
      while UInt64(target.count) < record.size {
        guard let bytes = try tree.lookup(.file(inode, .symlink, piece)), bytes.count > 0 else {
          throw .corrupt(structure: .symlinkRecord, block: inode)
        }
        target.append(contentsOf: bytes)
        piece += 1
      }
      guard UInt64(target.count) == record.size else { throw .corrupt(structure: .symlinkRecord, block: inode) }
      return (record, target)
    }
    try noteAccess(inode, record)
    return target
  }

  public func link(
    _ inode: InodeNumber, as name: UnsafeRawBufferPointer, in parent: InodeNumber
  ) throws(FSError) -> Attributes {
    try checkName(name)
    return try inodeLocks.exclusive(inode) { () throws(FSError) in
      try transaction(keys: 5, .growing) { () throws(FSError) in
        var directory = try changeableDirectory(parent)
        var record = try self.inode(inode)
        guard let type = record.fileType, type != .directory else { throw .notPermitted }
        if !record.flags.isDisjoint(with: [.immutable, .appendOnly]) { throw .notPermitted }
        guard record.links < Limits.links else { throw .tooManyLinks }
        if try find(name, in: parent) != nil { throw .exists }
        record.links += 1
        record.changed = .now
        try addEntry(name, inode, type, in: parent, &directory)
        try putInode(inode, record)
        try putInode(parent, directory)
        if unlinked.remove(inode) != nil { try delete(.orphan(inode)) }
        return Attributes(inode: inode, record: record)
      }
    }
  }
}
