/// Directory entries: finding, adding, removing and listing them. Keys: HoldfastFormat/NameHash.swift.

import HoldfastBase
import HoldfastFormat

/// A found entry.
struct Entry {
  var key: Key
  var inode: InodeNumber
  var type: FileType
}

extension Store {
  func checkName(_ name: UnsafeRawBufferPointer) throws(FSError) {
    guard name.count <= Limits.nameBytes else { throw .nameTooLong }
    guard name.count > 0, !name.contains(UInt8(ascii: "/")), !name.contains(0) else { throw .invalid(.argument) }
    if name.count == 1 && name[0] == UInt8(ascii: ".") { throw .invalid(.argument) }
    if name.count == 2 && name[0] == UInt8(ascii: ".") && name[1] == UInt8(ascii: ".") { throw .invalid(.argument) }
  }

  /// A directory's record; `.notDirectory` for anything else.
  func directory(_ number: InodeNumber) throws(FSError) -> InodeRecord {
    let record = try inode(number)
    guard record.isDirectory else { throw .notDirectory }
    return record
  }

  /// A directory in which names may be added (or, with `removing`, removed).
  func changeableDirectory(_ number: InodeNumber, removing: Bool = false) throws(FSError) -> InodeRecord {
    let record = try directory(number)
    guard record.links > 0 else { throw .notFound }
    if record.flags.contains(.immutable) || (removing && record.flags.contains(.appendOnly)) { throw .notPermitted }
    return record
  }

  /// Under the tree lock, like everything that takes a parent's number here.
  func find(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) -> Entry? {
    try search(name, in: parent).found
  }

  /// The entry named `name`, or the key a new one would get.
  private func search(
    _ name: UnsafeRawBufferPointer, in parent: InodeNumber
  ) throws(FSError) -> (found: Entry?, free: Key?) {
    let base = NameHash.dirent(name, seed: volume.hashSeed)
    let collisions = UInt64(1) << NameHash.direntCollisionBits
    var expected = base
    var free: Key?
    while expected < base + collisions {
      let next = try tree.first(from: .file(parent, .dirent, expected))
      guard let (key, value) = next, key.high == parent, key.type == .dirent, key.offset < base + collisions else {
        return (nil, free ?? .file(parent, .dirent, expected))
      }
      if key.offset > expected, free == nil { free = .file(parent, .dirent, expected) }
      guard let entry = DirentRecord.decode(value) else { throw .corrupt(structure: .direntRecord, block: parent) }
      if entry.name.elementsEqual(name) { return (Entry(key: key, inode: entry.inode, type: entry.type), free) }
      expected = key.offset + 1
    }
    return (nil, free)
  }

  /// Throws `.nameHashExhausted` when a new entry could not be added: asked before anything is changed.
  func checkPlace(for name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) {
    if try search(name, in: parent).free == nil { throw .nameHashExhausted }
  }

  /// Adds an entry that does not exist and counts it in `directory`, whose record the caller puts.
  func addEntry(
    _ name: UnsafeRawBufferPointer, _ inode: InodeNumber, _ type: FileType, in parent: InodeNumber,
    _ directory: inout InodeRecord
  ) throws(FSError) {
    let (_, free) = try search(name, in: parent)
    guard let key = free else { throw .nameHashExhausted }
    try putEntry(key, inode, type, name)
    directory.size += 1
    directory.modified = .now
    directory.changed = directory.modified
  }

  func putEntry(
    _ key: Key, _ inode: InodeNumber, _ type: FileType, _ name: UnsafeRawBufferPointer
  ) throws(FSError) {
    let encode = { (p: UnsafeMutableRawPointer) in
      _ = DirentRecord.encode(to: p, inode: inode, type: type, name: name)
    }
    try withEncoded(DirentRecord.headerBytes + name.count, encode) { bytes throws(FSError) in try put(key, bytes) }
  }

  func removeEntry(_ entry: Entry, _ directory: inout InodeRecord) throws(FSError) {
    try delete(entry.key)
    directory.size -= min(directory.size, 1)
    directory.modified = .now
    directory.changed = directory.modified
  }

  public func lookup(_ name: UnsafeRawBufferPointer, in parent: InodeNumber) throws(FSError) -> Attributes {
    guard name.count <= Limits.nameBytes else { throw .nameTooLong }
    return try reading { () throws(FSError) in
      let directory = try self.directory(parent)
      if name.count == 1, name[0] == UInt8(ascii: ".") { return Attributes(inode: parent, record: directory) }
      if name.count == 2, name[0] == UInt8(ascii: "."), name[1] == UInt8(ascii: ".") {
        return Attributes(inode: directory.parent, record: try inode(directory.parent))
      }
      guard let entry = try find(name, in: parent) else { throw .notFound }
      do throws(FSError) {
        return Attributes(inode: entry.inode, record: try inode(entry.inode))
      } catch .stale {
        // A name of nothing.
        throw .corrupt(structure: .direntRecord, block: parent)
      }
    }
  }

  // MARK: Listing

  /// Offsets of "." and "..": hashes are never that small.
  private static let selfOffset: UInt64 = 1
  private static let parentOffset: UInt64 = 2
  /// Entries copied under one hold of the tree lock.
  private static let listingStep = 64

  /// Calls `body` for entries behind offset `after` (0: from the start; "." and ".." come first) until it returns
  /// false. `body` runs without locks.
  public func readDirectory(
    _ inode: InodeNumber, after: UInt64, _ body: (DirectoryEntry) -> Bool
  ) throws(FSError) {
    let record = try reading { () throws(FSError) in try directory(inode) }
    for (offset, target, dots) in [(Store.selfOffset, inode, 1), (Store.parentOffset, record.parent, 2)]
    where after < offset {
      let name: [UInt8] = Array(repeating: UInt8(ascii: "."), count: dots)
      let goesOn = name.withUnsafeBytes {
        body(DirectoryEntry(inode: target, type: .directory, name: $0, offset: offset))
      }
      if !goesOn { return }
    }
    var position = max(after, Store.parentOffset)
    while position < Key.maximumOffset {
      let batch = try reading { () throws(FSError) in try entries(of: inode, after: position) }
      for entry in batch.entries {
        let goesOn = batch.names.withUnsafeBytes {
          body(
            DirectoryEntry(
              inode: entry.inode, type: entry.type, name: UnsafeRawBufferPointer(rebasing: $0[entry.name]),
              offset: entry.offset))
        }
        if !goesOn { return }
        position = entry.offset
      }
      if batch.entries.count < Store.listingStep { break }
    }
    try noteAccess(inode, record)
  }

  private struct Listed {
    var inode: InodeNumber
    var type: FileType
    var name: Range<Int>
    var offset: UInt64
  }

  private func entries(
    of parent: InodeNumber, after: UInt64
  ) throws(FSError) -> (entries: [Listed], names: [UInt8]) {
    var entries: [Listed] = []
    var names: [UInt8] = []
    var key = Key.file(parent, .dirent, after + 1)
    while entries.count < Store.listingStep, let (found, value) = try tree.first(from: key), found.high == parent,
      found.type == .dirent
    {
      guard let entry = DirentRecord.decode(value) else { throw .corrupt(structure: .direntRecord, block: parent) }
      let from = names.count
      names.append(contentsOf: entry.name)
      entries.append(Listed(inode: entry.inode, type: entry.type, name: from..<names.count, offset: found.offset))
      key = found.successor
    }
    return (entries, names)
  }
}
