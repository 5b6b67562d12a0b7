/// Operations on names, contents and attributes, as calls of the store.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

extension StoreTarget {
  func attemptName(_ operation: Operation, _ model: ModelFilesystem) throws(FSError) -> Outcome {
    switch operation {
    case .create(let at, let slot, let mode):
      let new = NewInode(mode: 0o100000 | UInt32(mode), umask: 0)
      let made = try store.make(new, name(at), in: directory(at, model), by: Self.root)
      open(slot, made.inode, writes: true)
      return .done(made.inode)
    case .makeDirectory(let at, _):
      let new = NewInode(mode: 0o040755, umask: 0)
      return .done(try store.make(new, name(at), in: directory(at, model), by: Self.root).inode)
    case .symlink(let at, let length, let tag):
      let target = Names.symlinkTarget(length: length, tag: tag)
      results.buffer.copyBytes(from: target)
      let bytes = UnsafeRawBufferPointer(rebasing: results.buffer[..<target.count])
      return .done(try store.makeSymlink(to: bytes, name(at), in: directory(at, model), by: Self.root).inode)
    case .removeDirectory(let at): try store.removeDirectory(name(at), in: directory(at, model))
    case .unlink(let at): try store.unlink(name(at), in: directory(at, model))
    case .rename(let from, let to, let flags):
      try store.rename(
        name(from), in: directory(from, model), to: name(to), in: directory(to, model),
        flags: RenameFlags(rawValue: UInt32(flags)))
    case .link(let from, let to):
      let found = try store.lookup(name(from), in: directory(from, model))
      _ = try store.link(found.inode, as: name(to), in: directory(to, model))
    case .readSymlink(let at):
      bring(try store.readSymlink(try store.lookup(name(at), in: directory(at, model)).inode))
    case .list(let slot): try list(model.directory(slot) ?? 0)
    case .status(let at):
      let found = try store.lookup(name(at), in: directory(at, model))
      let again = try store.attributes(of: found.inode)
      results.inode = again.inode
      results.node = ModelNode(observing: again.record)
    case .truncateName(let at, let size):
      let found = try store.lookup(name(at), in: directory(at, model))
      _ = try store.setAttributes(Self.size(size), of: found.inode, handle: nil, by: caller, waits: waits)
    default: throw .unsupported
    }
    return .done()
  }

  /// Entries of a directory into `results`.
  func list(_ inode: InodeNumber) throws(FSError) {
    results.entries.removeAll(keepingCapacity: true)
    results.strangers.removeAll()
    // Leaves off and goes on by the entry's offset, as readdir with a small buffer does.
    var after: UInt64 = 0
    var goesOn = true
    while goesOn {
      goesOn = false
      var taken = 0
      try store.readDirectory(inode, after: after) { entry in
        if taken == 7 {
          goesOn = true
          return false
        }
        taken += 1
        after = entry.offset
        note(entry)
        return true
      }
    }
  }

  private func note(_ entry: DirectoryEntry) {
    if entry.offset <= 2 { return }
    guard let number = Names.number(entry.name), results.entries[number] == nil else {
      results.strangers.append("'\(String(decoding: entry.name, as: UTF8.self))' (unknown or twice)")
      return
    }
    results.entries[number] = entry.inode
  }

  func attemptContent(_ operation: Operation) throws(FSError) -> Outcome {
    switch operation {
    case .read(let slot, let offset, let length):
      let buffer = UnsafeMutableRawBufferPointer(rebasing: results.buffer[..<length])
      results.count = try store.read(try handle(slot).inode, into: buffer, at: UInt64(offset))
      return .done(UInt64(results.count))
    case .write(let slot, let offset, let length, let tag):
      return try write(try handle(slot), offset, length, append: false, tag)
    case .append(let slot, let length, let tag): return try write(try handle(slot), 0, length, append: true, tag)
    case .truncate(let slot, let size):
      let handle = try handle(slot)
      _ = try store.setAttributes(
        Self.size(size), of: handle.inode, handle: handle.id, by: caller, waits: waits)
    case .allocate(let slot, let mode, let offset, let length):
      let handle = try handle(slot)
      try store.allocate(
        handle.inode, mode: AllocateMode(rawValue: Int32(mode)), offset: UInt64(offset), length: UInt64(length),
        handle: handle.id, by: caller, waits: waits)
    case .copy(let slot, let offset, let toSlot, let toOffset, let length):
      let source = try handle(slot)
      let target = try handle(toSlot)
      // The kernel answers overlapping ranges of one file itself, after it has shortened them to the file's end.
      let size = Int(try store.attributes(of: source.inode).record.size)
      let count = max(0, min(length, size - offset))
      if source.inode == target.inode, count > 0, offset < toOffset + count, toOffset < offset + count {
        throw .invalid(.argument)
      }
      return .done(
        try store.copyRange(
          from: source.inode, at: UInt64(offset), to: target.inode, at: UInt64(toOffset), length: UInt64(length),
          dropPrivileges: false, handle: target.id, by: caller, waits: waits))
    case .seek(let slot, let offset, let hole):
      let inode = try handle(slot).inode
      return .done(
        hole ? try store.seekHole(inode, from: UInt64(offset)) : try store.seekData(inode, from: UInt64(offset)))
    case .relocate(let slot, let offset, let length, let alignment):
      let handle = try handle(slot)
      _ = try store.relocate(
        handle.inode, .covering(byteOffset: UInt64(offset), byteCount: UInt64(length)),
        to: Placement(alignment: UInt64(alignment)),
        by: Actor(credentials: caller, handle: handle.id, waits: waits))
    case .sync(let slot, let dataOnly): try store.sync(try handle(slot).inode, dataOnly: dataOnly)
    default: throw .unsupported
    }
    return .done()
  }

  private func write(
    _ handle: Handle, _ offset: Int, _ length: Int, append: Bool, _ tag: Int
  ) throws(FSError) -> Outcome {
    let bytes = UnsafeRawBufferPointer(rebasing: results.buffer[..<length])
    return .done(
      UInt64(
        try store.write(
          handle.inode, bytes, at: UInt64(offset), append: append,
          dropPrivileges: ModelFilesystem.isUnprivileged(tag), handle: handle.id, by: caller, waits: waits)))
  }

  func attemptAttribute(_ operation: Operation) throws(FSError) -> Outcome {
    switch operation {
    case .setMode(let slot, let mode):
      var changes = AttributeChanges()
      changes.mode = UInt32(mode)
      _ = try store.setAttributes(changes, of: try handle(slot).inode, handle: nil, by: Self.root)
    case .setXattr(let slot, let name, let length, let tag, let mode):
      let value = ModelFilesystem.xattrValue(length: length, tag: tag)
      results.buffer.copyBytes(from: value)
      try store.setXattr(
        xattrName(name), of: try handle(slot).inode,
        to: UnsafeRawBufferPointer(rebasing: results.buffer[..<length]),
        mode: [XattrMode.any, .create, .replace][min(mode, 2)], by: Self.root)
    case .getXattr(let slot, let name): bring(try store.xattr(xattrName(name), of: try handle(slot).inode))
    case .removeXattr(let slot, let name): try store.removeXattr(xattrName(name), of: try handle(slot).inode)
    case .listXattrs(let slot): bring(try store.listXattrs(of: try handle(slot).inode))
    default: throw .unsupported
    }
    return .done()
  }

  func bring(_ bytes: [UInt8]) {
    results.buffer.copyBytes(from: bytes)
    results.count = bytes.count
  }
}

extension ModelNode {
  /// What stat tells of a record.
  init(observing record: InodeRecord) {
    switch record.fileType {
    case .directory: self.init(.directory, mode: record.mode & 0o7777)
    case .symlink: self.init(.symlink, mode: record.mode & 0o7777, links: record.links)
    default:
      self.init(.file, mode: record.mode & 0o7777, links: record.links)
      size = record.size
    }
  }
}
