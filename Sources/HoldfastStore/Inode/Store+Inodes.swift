/// Inode records: reading, writing, times; references and reclaiming.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// The record of `inode`; `.stale` when there is none. Under the tree lock.
  func inode(_ number: InodeNumber) throws(FSError) -> InodeRecord {
    // A larger number would be a key of another space.
    guard number <= Key.maximumObject, let bytes = try tree.lookup(.inode(number)) else { throw .stale }
    guard let record = InodeRecord(decoding: bytes) else { throw .corrupt(structure: .inodeRecord, block: number) }
    return record
  }

  func putInode(_ number: InodeNumber, _ record: InodeRecord) throws(FSError) {
    try withEncoded(InodeRecord.size, record.encode) { bytes throws(FSError) in try put(.inode(number), bytes) }
  }

  public func attributes(of inode: InodeNumber) throws(FSError) -> Attributes {
    try reading { () throws(FSError) in Attributes(inode: inode, record: try self.inode(inode)) }
  }

  /// A regular file's record that is to be written to.
  func writableFile(_ number: InodeNumber) throws(FSError) -> InodeRecord {
    let record = try inode(number)
    if record.isDirectory { throw .isDirectory }
    guard record.isRegular else { throw .invalid(.argument) }
    guard !record.flags.contains(.immutable) else { throw .notPermitted }
    return record
  }

  /// A regular file whose bytes or map are to change in several steps: a volume that takes no changes refuses before
  /// the first. Under the tree lock.
  func changeableFile(_ number: InodeNumber) throws(FSError) -> InodeRecord {
    try checkWritable()
    return try writableFile(number)
  }

  // MARK: Set-id bits

  /// The mode without the bits an unprivileged write or a change of owner takes away.
  static func withoutSetID(_ mode: UInt32) -> UInt32 {
    var mode = mode & ~0o4000
    if mode & 0o010 != 0 { mode &= ~0o2000 }
    return mode
  }

  /// What a change of contents takes from the file, inside its transaction: a refused one takes nothing.
  func drop(
    privileges: Bool, capability: Bool, of number: InodeNumber, _ record: inout InodeRecord
  ) throws(FSError) {
    if privileges {
      try dropPrivileges(number, &record)
    } else if capability {
      try removeCapability(of: number)
    }
  }

  /// Takes set-id bits from `record` and file capabilities from the inode, as Linux does on write and chown.
  func dropPrivileges(_ number: InodeNumber, _ record: inout InodeRecord) throws(FSError) {
    guard !record.isDirectory else { return }
    record.mode = Store.withoutSetID(record.mode)
    try removeCapability(of: number)
  }

  // MARK: References

  /// Keeps an inode alive without a name.
  public func retain(_ inode: InodeNumber, count: UInt64 = 1) { references.retain(inode, count) }

  /// Inodes the kernel knows of, or has open.
  public var heldInodes: [InodeNumber] { references.all }

  /// True when that was the last reference: the kernel neither knows the inode nor has it open.
  @discardableResult
  public func release(_ inode: InodeNumber, count: UInt64 = 1) -> Bool {
    guard references.release(inode, count) else { return false }
    if treeLock.withLock({ unlinked.contains(inode) }) {
      reclaimQueue.append(inode)
      background?.wake()
    }
    return true
  }

  /// A handle was opened.
  public func opened(_ inode: InodeNumber, writing: Bool) { if writing { references.addWriter(inode) } }

  /// The last reference to a handle is gone: its requests go, and with the last writer speculative preallocation.
  public func closed(_ inode: InodeNumber, handle: UInt64, writing: Bool) {
    seals.handleClosed(handle)
    guard writing, references.removeWriter(inode) else { return }
    trimAfterClose(inode)
  }

  /// Trims speculative preallocation of a file that was just closed or flushed.
  public func trimAfterClose(_ inode: InodeNumber) {
    guard treeLock.withLock({ speculative.contains(inode) }) else { return }
    do throws(FSError) {
      try trimPreallocation(of: inode, ifUnlocked: false)
    } catch {
      // The blocks stay preallocated: the next close, unmount or a full volume tries again. A volume that cannot
      // be written says so to the next writer.
    }
  }

  // MARK: Reclaiming

  /// Extents or other records removed by one transaction of a long removal.
  static let removalStep = 8

  /// Removes an unlinked inode nobody uses any more, in steps that a crash may interrupt (row 17). Its named and
  /// persistent requests end with it. While somebody holds one that is bound to a handle, a process or a lease, it waits,
  /// and they can be listed and revoked; what is revoked no longer keeps the inode, quarantine keeps its blocks.
  func reclaim(_ number: InodeNumber) throws(FSError) {
    try inodeLocks.exclusive(number) { () throws(FSError) in
      guard !references.isHeld(number), treeLock.withLock({ unlinked.contains(number) }) else { return }
      // For leases a request stands here, too, until they or it are gone.
      if try !isFreeOfNewLeases(number) || seals.hasHolders(number) {
        reclaimQueue.wait(number)
        background?.wake()
        return
      }
      seals.inodeEvicted(number)
      // While the orphan record still stands: a crash in between goes on here, and leaves no record of nobody.
      try forgetPersistentSeals(of: number)
      let permit = try seals.authorize(.reclaim, inode: number, by: .daemon)
      var more = true
      while more {
        more = try transaction(keys: 5 * Store.removalStep, .shrinking) { () throws(FSError) in
          var record = try inode(number)
          let left = try removeExtents(of: number, from: 0, to: Key.maximumOffset, limit: Store.removalStep, permit)
          record.blocks -= min(record.blocks, left.removedBlocks)
          if left.more {
            try putInode(number, record)
            return true
          }
          // What is left of it: attributes, symlink pieces, at last the inode.
          var removed = 0
          while let (key, _) = try tree.first(from: .inode(number).successor), key.high == number {
            guard removed < 2 * Store.removalStep else {
              try putInode(number, record)
              return true
            }
            try delete(key)
            removed += 1
          }
          try delete(.inode(number))
          try delete(.orphan(number))
          unlinked.remove(number)
          leasedInodes.remove(number)
          speculative.remove(number)
          return false
        }
      }
    }
  }
}
