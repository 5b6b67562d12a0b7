/// Opening a volume: newest superblock, chunk map, journal replay, unfinished business; and closing it.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Opens the volume on `device`. Reads a fixed number of blocks when it was unmounted cleanly, else the journal too.
  /// - Throws: `.notAnImage`, `.superblocksDisagree`, `.imageTruncated`, `.incompatibleFormat`, `.corrupt`, device
  ///   errors.
  public convenience init(mounting device: BlockDevice, options: StoreOptions) throws(FSError) {
    var options = options
    let found = try Store.readSuperblock(device)
    var volume = found.newest
    if volume.readOnlyCompatible & ~Superblock.knownReadOnlyCompatible != 0 { options.readOnly = true }
    let chunks = MetadataChunks()
    try Store.loadChunkMap(of: volume, from: device, into: chunks)
    guard chunks.isUsed(volume.root.block) else { throw .corrupt(structure: .superblock, block: 0) }
    let tree = Tree(
      device: device, id: volume.id, chunks: chunks, root: volume.root, level: Int(volume.rootLevel),
      generation: volume.generation + 1, cacheFrames: options.cacheBytes / Block.size)
    volume.mountCount += 1
    volume.mountedSeconds = Timestamp.now.seconds
    self.init(
      device: device, options: options, volume: volume, tree: tree, chunks: chunks,
      journal: Journal(device: device, superblock: found.newest), seals: SealTable(options: options.seals))
    // A clean volume's journal is empty by definition: nothing of it is read.
    let replayed =
      found.newest.state.contains(.clean)
      ? 0 : try journal.replay { (key, value) throws(FSError) in try replay(key, value) }
    try loadUnfinishedBusiness()
    let sealRecords = try persistentSeals()
    if let inode = sealRecords.unreadable { try refuseChanges(becauseOfSealRecordOf: inode) }
    if !isReadOnly {
      // Nothing has been written so far. The older copy must name this checkpoint before anything of the one before is
      // reused.
      if !found.copiesAgree { try writeSuperblocks(found.newest) }
      try checkpoint()
    }
    // Not after damage that the checkpoint met when it freed quarantine: `errors=` has decided.
    if !isReadOnly {
      // Of leased inodes as well: what is cut off was given up before the crash, and quarantine keeps it for them.
      try finishTruncations()
      if replayed > 0 { try releaseDurableQuarantine() }
      for inode in treeLock.withLock({ unlinked.sorted() }) { reclaimQueue.append(inode) }
    }
    seals.onWithdrawal = { [weak self] inode in
      self?.noteSurrender(of: inode)
      self?.advanceGeneration(of: inode)
    }
    try restore(sealRecords.requests)
    if !isReadOnly { try freezeLeasedInodes() }
    if options.backgroundThread {
      background = BackgroundWorker(store: self)
      background?.start()
    }
  }

  /// Everything durable, the superblock clean, the background thread ended. The store is unusable afterwards.
  public func unmount() throws(FSError) {
    background?.stop()
    background = nil
    defer { treeLock.withLock { shutDown = true } }
    do throws(FSError) {
      if let failure = treeLock.withLock({ writeFailure }) { throw failure }
      if !options.readOnly { try closeCleanly() }
    } catch {
      if treeLock.withLock({ writeFailure != nil }) { markErrors() }
      throw error
    }
  }

  private func closeCleanly() throws(FSError) {
    // First what everybody was promised; one bad inode must not cost the others anything.
    try syncAll()
    for inode in treeLock.withLock({ speculative.sorted() }) { trimAfterClose(inode) }
    // The kernel's references end with the mount, and so do requests: what has no name is nobody's. Whose blocks somebody
    // leases, they are in quarantine from now on.
    references.removeAll()
    for inode in treeLock.withLock({ unlinked.sorted() }) {
      seals.inodeEvicted(inode)
      treeLock.withLock { _ = leasedInodes.insert(inode) }
      reclaimQueue.append(inode)
    }
    try housekeep()
    // Quarantine empties only after its commit, and emptying it changes records once more. What is held stays in it, for
    // the next mount to ask.
    try syncAll()
    try releaseDurableQuarantine()
    try checkpoint(closing: true)
  }

  // MARK: Superblocks

  /// The newest valid superblock, and whether both copies name the same checkpoint.
  static func readSuperblock(
    _ device: BlockDevice
  ) throws(FSError) -> (newest: Superblock, copiesAgree: Bool) {
    let buffer = AlignedBuffer(byteCount: Block.size)
    var copies: [Superblock] = []
    for address in Geometry.superblocks {
      guard device.byteCount >= (address + 1) << UInt64(Block.shift) else { continue }
      try device.read(into: buffer.bytes, at: address << UInt64(Block.shift))
      if let copy = Superblock(decoding: UnsafeRawPointer(buffer.bytes.baseAddress!), address: address) {
        copies.append(copy)
      }
    }
    // One of them is another volume's, or a former one's: whose tree it is must not be guessed.
    if copies.count == 2, !copies[0].isOfSameVolume(as: copies[1]) { throw .superblocksDisagree }
    guard let newest = Superblock.newest(of: copies) else { throw .notAnImage }
    guard newest.incompatible & ~Superblock.knownIncompatible == 0 else {
      throw .incompatibleFormat(features: newest.incompatible & ~Superblock.knownIncompatible)
    }
    guard newest.isConsistent else { throw .corrupt(structure: .superblock, block: 0) }
    let bytes = newest.totalBlocks << UInt64(Block.shift)
    guard device.byteCount >= bytes else {
      throw .imageTruncated(expectedBytes: bytes, actualBytes: device.byteCount)
    }
    return (newest, copies.count == 2 && copies[0] == copies[1])
  }

  private static func loadChunkMap(
    of volume: Superblock, from device: BlockDevice, into chunks: MetadataChunks
  ) throws(FSError) {
    let buffer = AlignedBuffer(byteCount: Block.size)
    let node = UnsafeRawPointer(buffer.bytes.baseAddress!)
    let space = BlockRange(from: volume.dataStart, to: volume.totalBlocks)
    var block = volume.chunkMap
    for index in 0..<volume.chunkMapBlocks {
      guard space.contains(block) else { throw .corrupt(structure: .chunkMap, block: block) }
      try device.read(into: buffer.bytes, at: block << UInt64(Block.shift))
      guard BlockHeader.isValid(node, type: .chunkMap, id: volume.id, address: block),
        BlockHeader.generation(node) == volume.generation
      else { throw .corrupt(structure: .chunkMap, block: block) }
      let next = try chunks.load(node, at: block, volume: space)
      guard (next == 0) == (index + 1 == volume.chunkMapBlocks) else {
        throw .corrupt(structure: .chunkMap, block: block)
      }
      block = next
    }
    guard chunks.totalBlocks > 0, chunks.mapBlocksAreUsed else {
      throw .corrupt(structure: .chunkMap, block: volume.chunkMap)
    }
  }

  // MARK: Recovery

  private func replay(_ key: Key, _ value: UnsafeRawBufferPointer?) throws(FSError) {
    if key.space == .chunk, let value, let count = LengthRecord.decode(value) {
      let range = BlockRange(start: key.object, count: count)
      if !chunks.isChunk(startingAt: range.start) {
        guard count <= UInt64(ChunkMap.bitmapBytes * 8), range.start >= volume.dataStart,
          range.end <= volume.totalBlocks, !chunks.overlaps(range)
        else { throw .corrupt(structure: .journalRecord, block: range.start) }
        chunks.add(range)
      }
    }
    // What was written with these very blocks at hand fits in them again, unless the image lies.
    guard chunks.freeBlocks > Tree.nodesPerChange(level: tree.rootLevel) + chunks.mapBlockCount else {
      throw .corrupt(structure: .journalRecord, block: volume.journalStart)
    }
    try apply(key, value)
  }

  /// Orphans and quarantine, as the last commit left them.
  private func loadUnfinishedBusiness() throws(FSError) {
    var key = Key(space: .orphan, object: 0, low: 0)
    while let (found, bytes) = try tree.first(from: key), found.space == .orphan {
      guard let record = OrphanRecord(decoding: bytes), Lease.everyInode.contains(found.object) else {
        throw .corrupt(structure: .orphanRecord, block: tree.root.block)
      }
      if record.kind == .unlinked { unlinked.insert(found.object) } else { truncating.append(found.object) }
      key = found.successor
    }
    key = Key.quarantine(0)
    while let (found, bytes) = try tree.first(from: key), found.space == .quarantine {
      guard let record = QuarantineRecord(decoding: bytes), found.object >= volume.dataStart,
        found.object < volume.totalBlocks, record.count <= volume.totalBlocks - found.object,
        !chunks.overlaps(BlockRange(start: found.object, count: record.count))
      else {
        throw .corrupt(structure: .freeRecord, block: found.object)
      }
      releaseQueue.append(BlockRange(start: found.object, count: record.count), of: record.inode, ticket: 0)
      key = found.successor
    }
  }
}
