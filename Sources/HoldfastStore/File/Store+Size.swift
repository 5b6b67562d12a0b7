/// Truncation.
///
/// Down: one transaction sets the size and frees what fits; a longer tail is freed in steps under a durable
/// `truncating` record that recovery goes on with. Bytes behind the new end in the last block stay as they are on
/// disk: they are zeroed when the size grows again, so that a crash never shows an old size with new zeros.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Sets the size, under the inode's exclusive lock, as part of setattr: `change` edits the record further and is
  /// told whether the size is another one. Rows 6, 7, 8 and 9.
  func setSize(
    _ number: InodeNumber, to size: UInt64, by actor: Actor,
    _ change: (inout InodeRecord, _ isOtherSize: Bool) throws(FSError) -> Void
  ) throws(FSError) {
    guard size <= Limits.fileBytes else { throw .fileTooBig }
    let record = try reading { () throws(FSError) in try changeableFile(number) }
    guard !record.flags.contains(.appendOnly) else { throw .notPermitted }
    if size > record.size {
      let permit = try seals.authorize(
        .grow(mapping: BlockRange(start: Block.count(covering: record.size), count: 0)), inode: number, by: actor)
      try zeroTail(of: number, size: record.size, upTo: size)
      try transaction(keys: 3, .shrinking) { () throws(FSError) in
        var record = try inode(number)
        record.size = size
        touchMap(&record)
        try change(&record, true)
        try putInode(permit.inode, record)
      }
    } else if size < record.size {
      let permit = try seals.authorize(.truncate(toByteCount: size), inode: number, by: actor)
      try shrink(number, to: size, permit, change)
    } else {
      try transaction(keys: 3, .shrinking) { () throws(FSError) in
        var record = try inode(number)
        try change(&record, false)
        try putInode(number, record)
      }
    }
  }

  private func shrink(
    _ number: InodeNumber, to size: UInt64, _ permit: borrowing MapChangePermit,
    _ change: (inout InodeRecord, _ isOtherSize: Bool) throws(FSError) -> Void
  ) throws(FSError) {
    let firstBlock = Block.count(covering: size)
    let more = try transaction(keys: Store.removalStep * Store.keysPerExtentEdit + 5, .shrinking) {
      () throws(FSError) in
      var record = try inode(number)
      record.size = size
      record.flags.remove(.keepPreallocation)
      let left = try removeExtents(
        of: number, from: firstBlock, to: Key.maximumOffset, limit: Store.removalStep, permit)
      record.blocks -= min(record.blocks, left.removedBlocks)
      touchMap(&record)
      try change(&record, true)
      try putInode(number, record)
      if left.more { try putOrphan(number, OrphanRecord(kind: .truncating, firstBlock: firstBlock)) }
      return left.more
    }
    guard more else { return }
    do throws(FSError) {
      try finishTruncation(number, from: firstBlock, permit)
    } catch {
      // The tail is still mapped while the size says otherwise: nothing may be built on that. The next mount goes on.
      treeLock.withLock { fail(error) }
      throw error
    }
  }

  /// Frees the rest of a long tail and forgets the intent.
  private func finishTruncation(
    _ number: InodeNumber, from firstBlock: FileBlock, _ permit: borrowing MapChangePermit
  ) throws(FSError) {
    var more = true
    while more {
      more = try transaction(keys: Store.removalStep * Store.keysPerExtentEdit + 2, .shrinking) { () throws(FSError) in
        var record = try inode(number)
        let left = try removeExtents(
          of: number, from: firstBlock, to: Key.maximumOffset, limit: Store.removalStep, permit)
        record.blocks -= min(record.blocks, left.removedBlocks)
        touchMap(&record)
        try putInode(number, record)
        // An unlinked inode keeps its own record: reclaiming it frees everything anyhow.
        if !left.more, !unlinked.contains(number) { try delete(.orphan(number)) }
        return left.more
      }
    }
  }

  /// Mount: goes on with truncations a crash interrupted, before anybody can see the files.
  func finishTruncations() throws(FSError) {
    for number in truncating {
      let first = try reading { () throws(FSError) -> FileBlock? in
        guard let bytes = try tree.lookup(.orphan(number)), let record = OrphanRecord(decoding: bytes),
          record.kind == .truncating
        else { return nil }
        guard try tree.lookup(.inode(number)) != nil else { throw .corrupt(structure: .orphanRecord, block: number) }
        // No file has a block there or behind: nothing is left to cut.
        return min(record.firstBlock, Store.maximumFileBlocks)
      }
      guard let first else { continue }
      let permit = try seals.authorize(
        MapChange(kind: .truncate, blocks: BlockRange(from: first, to: MapChange.endOfMap)), inode: number, by: .daemon)
      try finishTruncation(number, from: first, permit)
    }
    truncating = []
  }

  func putOrphan(_ number: InodeNumber, _ record: OrphanRecord) throws(FSError) {
    // An unlinked inode is reclaimed whole: that intent covers a truncation's.
    if unlinked.contains(number), record.kind == .truncating { return }
    try withEncoded(OrphanRecord.size, record.encode) { bytes throws(FSError) in try put(.orphan(number), bytes) }
  }
}
