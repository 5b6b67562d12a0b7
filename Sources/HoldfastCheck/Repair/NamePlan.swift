/// Names against inodes, decided: every entry names an inode that is kept, by its type; every directory has one name
/// and lies below the root; what has no name gets one in lost+found. Links, sizes and parents follow.

import HoldfastBase
import HoldfastFormat

struct NamePlan {
  var survey: Survey
  /// Entries that get another inode number or type: what `NameCheck.Name.target` holds.
  private(set) var retargeted: [Key: UInt64] = [:]
  /// Names that are not old records, by index; their bytes.
  private(set) var added: [Int: [UInt8]] = [:]
  private(set) var dropped: Set<Int> = []
  private var fresh: FreshNames

  init(_ survey: consuming Survey) {
    fresh = FreshNames(sorted: survey.names, seed: survey.superblock.hashSeed)
    self.survey = survey
  }

  mutating func run() throws(FSError) {
    makeRoot()
    placeRenamed()
    for index in survey.names.indices { try resolve(index) }
    try breakCycles()
    reconnect()
    count()
    putAdded()
  }

  private mutating func makeRoot() {
    guard survey.inodes.index(of: RootDirectory.inode) == nil else { return }
    var root = InodeMender.fresh(.directory, isRoot: true)
    root.parent = RootDirectory.inode
    survey.edits.put(.inode(RootDirectory.inode), byteCount: InodeRecord.size) { root.encode(to: $0) }
    survey.inodes.insertFirst(RootDirectory.inode, root)
    survey.notes.add(.rootRecreated)
  }

  /// Gives the names that could not stay a new place.
  private mutating func placeRenamed() {
    for rename in survey.renames {
      let name = add(rename.wish, target: rename.target, in: rename.directory)
      survey.notes.add(
        .entryRenamed(
          directory: rename.directory, name: String(decoding: rename.old, as: UTF8.self),
          newName: String(decoding: name, as: UTF8.self)))
    }
    survey.renames = []
  }

  /// Adds an entry under `wish` or a name like it; returns that.
  @discardableResult
  private mutating func add(_ wish: [UInt8], target: UInt64, in directory: InodeNumber) -> [UInt8] {
    let (name, offset) = fresh.take(wish, in: directory)
    added[survey.names.count] = name
    survey.names.append(NameCheck.Name(target: target, directory: directory, offset: offset))
    return name
  }

  // MARK: One name

  private mutating func resolve(_ index: Int) throws(FSError) {
    let name = survey.names[index]
    let number = survey.newNumber(name.target & Key.maximumObject)
    guard let target = survey.inodes.index(of: number), !survey.inodes.entries[target].isDropped,
      let type = survey.inodes.entries[target].type
    else {
      survey.notes.add(
        .entryDropped(
          directory: name.directory, name: try told(index), inode: name.target & Key.maximumObject))
      return drop(index)
    }
    let isRoot = number == RootDirectory.inode
    if isRoot || survey.inodes.entries[target].directory >= 0 {
      if isRoot { return try dropSecond(index, number) }
      guard try nameDirectory(survey.inodes.entries[target].directory, index, number) else { return }
    }
    keepAlive(target)
    if let holder = survey.inodes.index(of: name.directory) { keepAlive(holder) }
    survey.inodes.entries[target].names &+= 1
    let right = UInt64(type.rawValue) << 56 | number
    guard right != name.target else { return }
    if right >> 56 != name.target >> 56 {
      survey.notes.add(.entryRetyped(directory: name.directory, name: try told(index)))
    }
    survey.names[index].target = right
    if added[index] == nil { retargeted[key(index)] = right }
  }

  /// Makes name `index` the directory's; false when it keeps the one it has. The name its record's parent holds wins.
  private mutating func nameDirectory(_ directory: Int, _ index: Int, _ number: InodeNumber) throws(FSError) -> Bool {
    let earlier = survey.inodes.directories[directory].name
    if earlier >= 0 {
      let parent = survey.newNumber(survey.inodes.directories[directory].parent)
      guard survey.names[earlier].directory != parent, survey.names[index].directory == parent else {
        try dropSecond(index, number)
        return false
      }
      try dropSecond(earlier, number)
      survey.inodes.entries[survey.inodes.directories[directory].entry].names &-= 1
    }
    survey.inodes.directories[directory].name = index
    return true
  }

  private mutating func dropSecond(_ index: Int, _ number: InodeNumber) throws(FSError) {
    survey.notes.add(
      .secondNameDropped(directory: survey.names[index].directory, name: try told(index), inode: number))
    drop(index)
  }

  /// What has a name or entries is no orphan.
  private mutating func keepAlive(_ index: Int) {
    guard survey.inodes.entries[index].isOrphan else { return }
    survey.inodes.entries[index].isOrphan = false
    let number = survey.inodes.entries[index].number
    survey.edits.drop(.orphan(number))
    survey.edits.withdraw(.orphan(number))
    survey.notes.add(.orphanDropped(inode: number))
  }

  private func key(_ index: Int) -> Key {
    .file(survey.names[index].directory, .dirent, survey.names[index].offset)
  }

  private mutating func drop(_ index: Int) {
    dropped.insert(index)
    if added[index] != nil { return }
    survey.edits.drop(key(index))
    survey.edits.withdraw(key(index))
  }

  /// The name's bytes as text, looked up while somebody will read the note.
  private func told(_ index: Int) throws(FSError) -> String {
    guard survey.notes.count < RepairReport.keptNotes else { return "" }
    return String(decoding: try bytes(ofName: index), as: UTF8.self)
  }

  /// The bytes of name `index`.
  func bytes(ofName index: Int) throws(FSError) -> [UInt8] {
    if let name = added[index] { return name }
    let name = survey.names[index]
    let old = survey.renumbered.first { $0.value == name.directory }?.key ?? name.directory
    guard let value = try survey.old.value(of: .file(old, .dirent, name.offset)) else { return [] }
    return [UInt8](value.dropFirst(DirentRecord.headerBytes))
  }

  // MARK: The tree of directories

  /// The directory that names directory `index`; nil at the root and without a name.
  func parent(ofDirectory index: Int) -> Int? {
    let name = survey.inodes.directories[index].name
    guard name >= 0, let entry = survey.inodes.index(of: survey.names[name].directory) else { return nil }
    return survey.inodes.entries[entry].directory
  }

  /// Climbs from every directory once: one that a climb meets twice loses its name.
  private mutating func breakCycles() throws(FSError) {
    for start in survey.inodes.directories.indices where survey.inodes.directories[start].reach == .unknown {
      var next: Int? = start
      while let index = next, survey.inodes.directories[index].reach == .unknown {
        survey.inodes.directories[index].reach = .underway
        next = parent(ofDirectory: index)
      }
      if let index = next, survey.inodes.directories[index].reach == .underway { try unname(index) }
      next = start
      while let index = next, survey.inodes.directories[index].reach == .underway {
        survey.inodes.directories[index].reach = .settled
        next = parent(ofDirectory: index)
      }
    }
  }

  private mutating func unname(_ directory: Int) throws(FSError) {
    let name = survey.inodes.directories[directory].name
    let entry = survey.inodes.directories[directory].entry
    survey.notes.add(
      .cycleBroken(
        directory: survey.names[name].directory, name: try told(name), inode: survey.inodes.entries[entry].number))
    drop(name)
    survey.inodes.directories[directory].name = -1
    survey.inodes.entries[entry].names &-= 1
  }

  // MARK: lost+found

  private mutating func reconnect() {
    let unnamed = survey.inodes.entries.indices.filter { index in
      let entry = survey.inodes.entries[index]
      return entry.names == 0 && !entry.isOrphan && !entry.isDropped && entry.number != RootDirectory.inode
    }
    guard !unnamed.isEmpty else { return }
    let home = lostAndFound()
    for index in unnamed {
      let entry = survey.inodes.entries[index]
      let target = UInt64(entry.type?.rawValue ?? 0) << 56 | entry.number
      let name = add(Array("#\(entry.number)".utf8), target: target, in: home)
      survey.inodes.entries[index].names = 1
      if entry.directory >= 0 { survey.inodes.directories[entry.directory].name = survey.names.count - 1 }
      survey.notes.add(.reconnected(inode: entry.number, name: String(decoding: name, as: UTF8.self)))
    }
  }

  /// The directory lost+found in the root, made when there is none.
  private mutating func lostAndFound() -> InodeNumber {
    if let name = survey.lostAndFoundName, !dropped.contains(name),
      let index = survey.inodes.index(of: survey.names[name].target & Key.maximumObject),
      survey.inodes.entries[index].directory >= 0
    {
      return survey.inodes.entries[index].number
    }
    let number = survey.numbers.take()
    let record = InodeMender.fresh(.directory)
    survey.edits.put(.inode(number), byteCount: InodeRecord.size) { record.encode(to: $0) }
    survey.inodes.append(number, record)
    survey.inodes.settle()
    add(
      Array(Survey.lostAndFound.utf8), target: UInt64(FileType.directory.rawValue) << 56 | number,
      in: RootDirectory.inode)
    survey.inodes.entries[survey.inodes.entries.count - 1].names = 1
    survey.inodes.directories[survey.inodes.directories.count - 1].name = survey.names.count - 1
    survey.notes.add(.lostAndFoundMade(inode: number))
    return number
  }

  // MARK: What follows

  private mutating func count() {
    for index in survey.names.indices where !dropped.contains(index) {
      let name = survey.names[index]
      guard let holder = survey.inodes.index(of: name.directory) else { continue }
      survey.inodes.entries[holder].size += 1
      if name.target >> 56 == UInt64(FileType.directory.rawValue) {
        survey.inodes.directories[survey.inodes.entries[holder].directory].subdirectories += 1
      }
    }
    for index in survey.inodes.entries.indices {
      let entry = survey.inodes.entries[index]
      let links = entry.directory < 0 ? entry.names : survey.inodes.directories[entry.directory].subdirectories + 2
      survey.inodes.entries[index].links = entry.isOrphan ? 0 : links
    }
    for index in survey.inodes.directories.indices where survey.inodes.directories[index].name >= 0 {
      survey.inodes.directories[index].namedIn = survey.names[survey.inodes.directories[index].name].directory
    }
  }

  private mutating func putAdded() {
    for (index, bytes) in added where !dropped.contains(index) {
      let name = survey.names[index]
      guard let type = FileType(rawValue: UInt8(truncatingIfNeeded: name.target >> 56)) else { continue }
      survey.edits.put(key(index), byteCount: DirentRecord.headerBytes + bytes.count) { p in
        bytes.withUnsafeBytes {
          _ = DirentRecord.encode(to: p, inode: name.target & Key.maximumObject, type: type, name: $0)
        }
      }
    }
  }
}
