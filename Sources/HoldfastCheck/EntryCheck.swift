/// The entries of one directory: names sound, unique and filed under their hash.

import HoldfastBase
import HoldfastFormat

struct EntryCheck {
  static let hashMask = ~(1 << NameHash.direntCollisionBits - 1) as UInt64

  /// Records, be they sound or not.
  private(set) var count: UInt64 = 0
  private var names = NameGroup()

  mutating func reset() {
    count = 0
    names.reset()
  }

  /// Checks one entry and returns whom it names; nil when that cannot be told.
  mutating func take(
    _ key: Key, _ value: UnsafeRawBufferPointer, _ seed: UInt64, _ log: IssueLog
  ) -> NameCheck.Name? {
    count += 1
    guard let (inode, type, name) = DirentRecord.decode(value) else {
      log.report(.undecodable(key))
      return nil
    }
    if !Self.isPossible(name) { log.report(.entryName(directory: key.object, offset: key.offset)) }
    let hash = NameHash.dirent(name, seed: seed)
    if hash != key.offset & Self.hashMask {
      log.report(.entryHash(directory: key.object, offset: key.offset))
    } else if !names.insert(name, hash: hash) {
      log.report(.entryDuplicate(directory: key.object, offset: key.offset))
    }
    guard inode <= Key.maximumObject else {
      log.report(.entryDangling(directory: key.object, offset: key.offset, inode: inode))
      return nil
    }
    return NameCheck.Name(target: UInt64(type.rawValue) << 56 | inode, directory: key.object, offset: key.offset)
  }

  static func isPossible(_ name: UnsafeRawBufferPointer) -> Bool {
    if name.holds(0) || name.holds(0x2f) { return false }
    return !(name[0] == 0x2e && (name.count == 1 || (name.count == 2 && name[1] == 0x2e)))
  }
}
