/// Orphan records and persistent seals, against the inodes they speak of.

import HoldfastBase
import HoldfastFormat

extension Survey {
  /// The inode `number` of the old tree as it is kept; nil when it is not.
  private func keptIndex(of number: InodeNumber) -> Int? {
    guard let index = inodes.index(of: newNumber(number)), !inodes.entries[index].isDropped else { return nil }
    return index
  }

  mutating func takeOrphan(_ key: Key, _ value: UnsafeRawBufferPointer) {
    guard key.low == 0, let orphan = OrphanRecord(decoding: value), let index = keptIndex(of: key.object),
      isPossible(orphan, inodes.entries[index])
    else {
      edits.drop(key)
      return notes.add(.orphanDropped(inode: key.object))
    }
    packing.add(valueBytes: value.count)
    let number = inodes.entries[index].number
    if orphan.kind == .unlinked {
      inodes.entries[index].isOrphan = true
    } else {
      truncating[number] = orphan.firstBlock
    }
    if number != key.object {
      edits.drop(key)
      edits.put(.orphan(number), value)
    }
  }

  /// Only files are truncated, and the root is never unlinked.
  private func isPossible(_ orphan: OrphanRecord, _ entry: InodeTable.Entry) -> Bool {
    orphan.kind == .unlinked ? entry.number != RootDirectory.inode : entry.type == .regular
  }

  mutating func takeSeal(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    guard let index = keptIndex(of: key.object) else { return dropSeal(key) }
    let number = inodes.entries[index].number
    // Whatever the record says, somebody relies on this map.
    sealed.insert(number)
    guard let hash = SealRecordCheck.keyHash(of: value, seed: superblock.hashSeed) else { return dropSeal(key) }
    packing.add(valueBytes: value.count)
    guard hash != key.low || number != key.object else { return }
    edits.drop(key)
    // One filed rightly stays before one that is not.
    if hash != key.low {
      let right = Key(space: .persistentSeal, object: key.object, low: hash)
      if try old.value(of: right) != nil || !movedSeals.insert(right).inserted { return dropSeal(key) }
    }
    edits.put(Key(space: .persistentSeal, object: number, low: hash), value)
    notes.add(.sealMoved(inode: number))
  }

  private mutating func dropSeal(_ key: Key) {
    edits.drop(key)
    notes.add(.sealDropped(inode: key.object))
  }
}
