/// Names against inodes: every entry names an inode of its type, every inode has the links it says, every
/// directory one name, in the parent it says, and the root above it.

import HoldfastBase
import HoldfastFormat

struct NameCheck {
  /// A directory entry, remembered until all inodes are known.
  struct Name {
    /// Target inode in the low 56 bits, the type the entry gives it in the high 8.
    var target: UInt64
    var directory: InodeNumber
    var offset: UInt64
  }

  private var inodes: InodeTable
  private let names: [Name]
  private let lost: LostRanges
  private let log: IssueLog

  init(_ found: (inodes: InodeTable, names: [Name]), _ lost: LostRanges, _ log: IssueLog) {
    inodes = found.inodes
    names = found.names
    self.lost = lost
    self.log = log
  }

  mutating func run() {
    for name in names { take(name) }
    if lost.touchFiles == false {
      for index in inodes.entries.indices { check(inodes.entries[index]) }
    }
    findCycles()
    guard let root = inodes.index(of: RootDirectory.inode) else {
      if !lost.touches(inode: RootDirectory.inode) { log.report(.rootMissing) }
      return
    }
    if let type = inodes.entries[root].type, type != .directory { log.report(.rootMissing) }
  }

  private mutating func take(_ name: Name) {
    let target = name.target & Key.maximumObject
    guard let index = inodes.index(of: target) else {
      countSubdirectory(name, of: nil)
      if !lost.touches(inode: target) {
        log.report(.entryDangling(directory: name.directory, offset: name.offset, inode: target))
      }
      return
    }
    inodes.entries[index].names &+= 1
    countSubdirectory(name, of: inodes.entries[index].type)
    guard let type = inodes.entries[index].type else { return }
    if UInt64(type.rawValue) != name.target >> 56 {
      log.report(.entryType(directory: name.directory, offset: name.offset, inode: target))
    }
    let directory = inodes.entries[index].directory
    guard directory >= 0 else { return }
    if inodes.directories[directory].namedIn == 0 { inodes.directories[directory].namedIn = name.directory }
  }

  /// Counts `name` among its directory's subdirectories; where the inode's type is not known, the entry's holds.
  private mutating func countSubdirectory(_ name: Name, of type: FileType?) {
    guard (type?.rawValue).map({ UInt64($0) }) ?? name.target >> 56 == UInt64(FileType.directory.rawValue) else {
      return
    }
    if let parent = inodes.index(of: name.directory), inodes.entries[parent].directory >= 0 {
      inodes.directories[inodes.entries[parent].directory].subdirectories &+= 1
    }
  }

  private func check(_ entry: InodeTable.Entry) {
    guard let type = entry.type else { return }
    if entry.isOrphan {
      if entry.names > 0 {
        log.report(.orphanNamed(inode: entry.number, names: entry.names))
      } else if entry.links != 0 {
        log.report(.linkCount(inode: entry.number, recorded: entry.links, found: 0))
      }
      return
    }
    if type == .directory { return check(entry, inodes.directories[entry.directory]) }
    if entry.names == 0 {
      log.report(.inodeUnreferenced(inode: entry.number))
    } else if entry.names != entry.links {
      log.report(.linkCount(inode: entry.number, recorded: entry.links, found: entry.names))
    }
  }

  private func check(_ entry: InodeTable.Entry, _ directory: InodeTable.Directory) {
    let isRoot = entry.number == RootDirectory.inode
    let named = isRoot ? RootDirectory.inode : directory.namedIn
    if entry.names == 0 && !isRoot {
      log.report(.inodeUnreferenced(inode: entry.number))
    } else if entry.names > (isRoot ? 0 : 1) {
      log.report(.directoryNamedTwice(inode: entry.number, names: entry.names))
    } else if directory.parent != named {
      log.report(.directoryParent(inode: entry.number, recorded: directory.parent, found: named))
    }
    let links = directory.subdirectories &+ 2
    if entry.links != links { log.report(.linkCount(inode: entry.number, recorded: entry.links, found: links)) }
  }

  /// The directory that names directory `index`; nil at the root, without a name or in something that is none.
  private func parent(of index: Int) -> Int? {
    let directory = inodes.directories[index]
    guard inodes.entries[directory.entry].number != RootDirectory.inode, directory.namedIn != 0,
      let entry = inodes.index(of: directory.namedIn), inodes.entries[entry].directory >= 0
    else { return nil }
    return inodes.entries[entry].directory
  }

  /// Climbs from every directory once: a climb that meets itself is a cycle.
  private mutating func findCycles() {
    for start in inodes.directories.indices where inodes.directories[start].reach == .unknown {
      var next: Int? = start
      while let index = next, inodes.directories[index].reach == .unknown {
        inodes.directories[index].reach = .underway
        next = parent(of: index)
      }
      if let index = next, inodes.directories[index].reach == .underway {
        log.report(.directoryCycle(inode: inodes.entries[inodes.directories[index].entry].number))
      }
      next = start
      while let index = next, inodes.directories[index].reach == .underway {
        inodes.directories[index].reach = .settled
        next = parent(of: index)
      }
    }
  }
}
