/// Directory entries: what cannot be read goes, what has a bad name, a wrong hash or a name that was there before
/// gets a new place (and name) when all names are known.

import HoldfastBase
import HoldfastFormat

extension Survey {
  static let lostAndFound = "lost+found"

  mutating func takeEntry(_ key: Key, _ value: UnsafeRawBufferPointer) {
    guard let (number, type, name) = DirentRecord.decode(value) else {
      edits.drop(key)
      return notes.add(.entryUnreadable(directory: inode.kept, offset: key.offset))
    }
    guard number <= Key.maximumObject else {
      edits.drop(key)
      return notes.add(
        .entryDropped(directory: inode.kept, name: String(decoding: name, as: UTF8.self), inode: number))
    }
    inode.entries += 1
    let target = UInt64(type.rawValue) << 56 | number
    let hash = NameHash.dirent(name, seed: superblock.hashSeed)
    let isPossible = EntryCheck.isPossible(name)
    if isPossible, hash == key.offset & EntryCheck.hashMask, entryNames.insert(name, hash: hash) {
      keep(key, value)
      let found = NameCheck.Name(target: target, directory: inode.kept, offset: key.offset)
      if inode.kept == RootDirectory.inode, name.elementsEqual(Self.lostAndFound.utf8) {
        lostAndFoundName = names.count
      }
      if inode.kept == inode.number { names.append(found) } else { lateNames.append(found) }
      return
    }
    edits.drop(key)
    renames.append(
      Rename(
        directory: inode.kept, target: target, old: [UInt8](name),
        wish: isPossible ? [UInt8](name) : Self.possible(name)))
  }

  /// A name much like `name` that may stand in a directory.
  private static func possible(_ name: UnsafeRawBufferPointer) -> [UInt8] {
    let underscore = UInt8(ascii: "_")
    if name.allSatisfy({ $0 == UInt8(ascii: ".") }) { return name.map { _ in underscore } }
    return name.map { $0 == 0 || $0 == UInt8(ascii: "/") ? underscore : $0 }
  }
}
