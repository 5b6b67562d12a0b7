/// Taking names away: unlink, rmdir, rename. An inode that loses its last name becomes an orphan in the same
/// transaction and is reclaimed when nobody uses it (row 17: seals do not stop this, they keep the blocks).

import HoldfastBase
import HoldfastFormat

extension Store {
  public func unlink(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) {
    let gone = try transaction(keys: 6, .shrinking) { () throws(FSError) -> InodeNumber? in
      var directory = try changeableDirectory(parent, removing: true)
      guard let entry = try find(name, in: parent) else { throw .notFound }
      var record = try removable(entry.inode)
      guard !record.isDirectory else { throw .isDirectory }
      try removeEntry(entry, &directory)
      try putInode(parent, directory)
      return try dropLink(entry.inode, &record)
    }
    reclaimIfUnused(gone)
  }

  public func removeDirectory(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) {
    let gone = try transaction(keys: 6, .shrinking) { () throws(FSError) -> InodeNumber? in
      var directory = try changeableDirectory(parent, removing: true)
      guard let entry = try find(name, in: parent) else { throw .notFound }
      var record = try removable(entry.inode)
      guard record.isDirectory else { throw .notDirectory }
      guard record.size == 0 else { throw .directoryNotEmpty }
      try removeEntry(entry, &directory)
      directory.links -= min(directory.links, 1)
      try putInode(parent, directory)
      return try dropLink(entry.inode, &record)
    }
    reclaimIfUnused(gone)
  }

  private func removable(_ number: InodeNumber) throws(FSError) -> InodeRecord {
    let record = try inode(number)
    if !record.flags.isDisjoint(with: [.immutable, .appendOnly]) { throw .notPermitted }
    return record
  }

  /// Takes one link (a directory: all). Returns the inode when none is left.
  private func dropLink(_ number: InodeNumber, _ record: inout InodeRecord) throws(FSError) -> InodeNumber? {
    record.links = record.isDirectory ? 0 : record.links - min(record.links, 1)
    record.changed = .now
    try putInode(number, record)
    guard record.links == 0 else { return nil }
    try putOrphan(number, OrphanRecord(kind: .unlinked, firstBlock: 0))
    unlinked.insert(number)
    return number
  }

  /// Row 17: who holds breakable requests is asked for them, and nobody waits here.
  private func reclaimIfUnused(_ number: InodeNumber?) {
    guard let number else { return }
    seals.recallAll(of: number)
    guard !references.isHeld(number) else { return }
    reclaimQueue.append(number)
    background?.wake()
  }

  // MARK: Rename

  /// renameat2(2). Replacing a file is atomic; the replaced inode goes as by unlink. `caller` owns the whiteout that
  /// takes the old name, if there is to be one.
  public func rename(
    _ name: UnsafeRawBufferPointer, in parent: InodeNumber, to newName: UnsafeRawBufferPointer,
    in newParent: InodeNumber, flags: RenameFlags, by caller: Credentials = .daemon
  ) throws(FSError) {
    guard flags.isSubset(of: [.noReplace, .exchange, .whiteout]), !flags.contains(.exchange) || flags == .exchange
    else {
      throw .invalid(.argument)
    }
    try checkName(newName)
    let gone = try transaction(keys: 16, .growing) { () throws(FSError) -> InodeNumber? in
      _ = try changeableDirectory(parent, removing: true)
      _ = try changeableDirectory(newParent)
      guard let source = try find(name, in: parent) else { throw .notFound }
      let target = try find(newName, in: newParent)
      _ = try removable(source.inode)
      if flags.contains(.exchange) {
        guard let target else { throw .notFound }
        try exchange(source, name, parent, target, newName, newParent)
        return nil
      }
      if let target {
        if flags.contains(.noReplace) { throw .exists }
        // Two names of one file: POSIX wants nothing to happen.
        if target.inode == source.inode { return nil }
      }
      let whiteout = flags.contains(.whiteout) ? try takeInodeNumber() : nil
      let replaced = try move(source, from: parent, to: newName, in: newParent, replacing: target)
      if let whiteout { try makeWhiteout(whiteout, name, in: parent, by: caller) }
      return replaced
    }
    reclaimIfUnused(gone)
  }

  private func move(
    _ source: Entry, from parent: InodeNumber, to newName: UnsafeRawBufferPointer, in newParent: InodeNumber,
    replacing target: Entry?
  ) throws(FSError) -> InodeNumber? {
    var record = try inode(source.inode)
    if record.isDirectory { try checkAncestry(of: newParent, excludes: source.inode) }
    var replaced: InodeRecord?
    if let target {
      _ = try changeableDirectory(newParent, removing: true)
      let old = try removable(target.inode)
      if old.isDirectory {
        guard record.isDirectory else { throw .isDirectory }
        guard old.size == 0 else { throw .directoryNotEmpty }
      } else if record.isDirectory {
        throw .notDirectory
      }
      replaced = old
    }
    var directory = try inode(parent)
    let movesDirectory = record.isDirectory && parent != newParent
    if target == nil { try checkPlace(for: newName, in: newParent) }
    if movesDirectory, target == nil, try inode(newParent).links >= Limits.links { throw .tooManyLinks }

    try removeEntry(source, &directory)
    if record.isDirectory, movesDirectory || replaced != nil {
      directory.links -= min(directory.links, 1)
    }
    // One record when both names are in one directory.
    if parent != newParent { try putInode(parent, directory) }
    var newDirectory = parent == newParent ? directory : try inode(newParent)
    if let target {
      try putEntry(target.key, source.inode, source.type, newName)
      newDirectory.modified = .now
      newDirectory.changed = newDirectory.modified
    } else {
      try addEntry(newName, source.inode, source.type, in: newParent, &newDirectory)
    }
    if movesDirectory {
      if replaced == nil { newDirectory.links += 1 }
      record.parent = newParent
    }
    try putInode(newParent, newDirectory)
    record.changed = .now
    try putInode(source.inode, record)
    guard let target, var old = replaced else { return nil }
    return try dropLink(target.inode, &old)
  }

  private func exchange(
    _ source: Entry, _ name: UnsafeRawBufferPointer, _ parent: InodeNumber, _ target: Entry,
    _ newName: UnsafeRawBufferPointer, _ newParent: InodeNumber
  ) throws(FSError) {
    if source.inode == target.inode { return }
    var first = try inode(source.inode)
    var second = try removable(target.inode)
    if first.isDirectory { try checkAncestry(of: newParent, excludes: source.inode) }
    if second.isDirectory { try checkAncestry(of: parent, excludes: target.inode) }
    _ = try changeableDirectory(newParent, removing: true)
    try putEntry(source.key, target.inode, target.type, name)
    try putEntry(target.key, source.inode, source.type, newName)
    let now = Timestamp.now
    var directory = try inode(parent)
    directory.modified = now
    directory.changed = now
    if parent != newParent {
      var newDirectory = try inode(newParent)
      newDirectory.modified = now
      newDirectory.changed = now
      if first.isDirectory != second.isDirectory {
        // Wrapping: only a damaged image brings counts there.
        directory.links = first.isDirectory ? directory.links &- 1 : directory.links &+ 1
        newDirectory.links = first.isDirectory ? newDirectory.links &+ 1 : newDirectory.links &- 1
      }
      if first.isDirectory { first.parent = newParent }
      if second.isDirectory { second.parent = parent }
      try putInode(newParent, newDirectory)
    }
    try putInode(parent, directory)
    first.changed = now
    second.changed = now
    try putInode(source.inode, first)
    try putInode(target.inode, second)
  }

  /// - Throws: `.moveIntoItself` when `directory` is `ancestor` or lies below it.
  private func checkAncestry(of directory: InodeNumber, excludes ancestor: InodeNumber) throws(FSError) {
    var number = directory
    // A mark left behind at steps 1, 2, 4, …: meeting it again means that the parents go in a circle.
    var mark: InodeNumber = 0
    var steps = 0
    while number != mark {
      if number == ancestor { throw .invalid(.moveIntoItself) }
      if number == RootDirectory.inode { return }
      steps += 1
      if steps & (steps - 1) == 0 { mark = number }
      number = try inode(number).parent
    }
    throw .corrupt(structure: .inodeRecord, block: directory)
  }
}
