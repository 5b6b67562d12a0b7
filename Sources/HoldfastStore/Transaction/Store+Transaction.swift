/// Transactions: a group of mutations under the tree lock, whole in memory and in the journal.
///
/// A transaction says beforehand how many keys it may touch, so that the tree never runs out of metadata blocks in
/// the middle, and throws its own errors (no such file, no space, sealed) before its first mutation. An error after
/// that, a tree node that cannot be read say, leaves memory ahead of what may ever be written: the volume fails.

import HoldfastBase
import HoldfastFormat

extension Store {
  /// What a transaction is for: whether it may use the blocks kept back for deleting.
  enum Purpose {
    case growing
    case shrinking
    /// Shrinking on behalf of `reclaimSpace`, which must not begin again for its own transactions.
    case reclaiming
  }

  /// Runs `body` under the tree lock. `keys` bounds the records it puts or deletes; `timesOnly` says that all it changes
  /// are times, which fdatasync need not make durable.
  func transaction<Result>(
    keys: Int, _ purpose: Purpose, timesOnly: Bool = false, _ body: () throws(FSError) -> Result
  ) throws(FSError) -> Result {
    var reclaimed = false
    while true {
      do throws(FSError) {
        try admit()
        if let result = try attempt(keys: keys, purpose, timesOnly, body) { return result }
        try makeMetadataRoom(keys: keys, purpose)
      } catch {
        guard error == .noSpace, !reclaimed, purpose != .reclaiming, hasReclaimableSpace else { throw error }
        reclaimed = true
        try reclaimSpace()
      }
    }
  }

  /// One try; nil when metadata blocks are short.
  private func attempt<Result>(
    keys: Int, _ purpose: Purpose, _ timesOnly: Bool, _ body: () throws(FSError) -> Result
  ) throws(FSError) -> Result? {
    treeLock.lock()
    defer { treeLock.unlock() }
    try checkWritable()
    guard hasMetadataRoom(keys: keys, purpose) else { return nil }
    let before = mutations
    do throws(FSError) {
      let result = try body()
      if mutations != before {
        ticket += 1
        if !timesOnly { lastingTicket = ticket }
      }
      return result
    } catch {
      if mutations != before || error.isDamage { fail(error) }
      throw error
    }
  }

  /// Runs `body` under the tree lock, for reading. Damage that it meets stops the volume (`errors=`); a device that
  /// cannot read a node now fails this operation alone, for nothing has changed.
  func reading<Result>(_ body: () throws(FSError) -> Result) throws(FSError) -> Result {
    treeLock.lock()
    defer { treeLock.unlock() }
    if shutDown { throw .shutDown }
    do throws(FSError) {
      return try body()
    } catch {
      if error.isDamage { fail(error) }
      throw error
    }
  }

  func checkWritable() throws(FSError) {
    if shutDown { throw .shutDown }
    if writeFailure != nil || options.readOnly { throw .readOnly }
  }

  /// The volume met an error it cannot undo. Under the tree lock.
  func fail(_ error: FSError) {
    guard writeFailure == nil else { return }
    writeFailure = error
    if options.onError == .shutdown { shutDown = true }
    unreportedFailure = error
    background?.wake()
  }

  // MARK: Mutations

  /// Puts a record: in the tree, in the next journal record, in the counters.
  func put(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    mutations += 1
    try apply(key, value)
    pending.put(key, value)
  }

  func delete(_ key: Key) throws(FSError) {
    mutations += 1
    try apply(key, nil)
    pending.delete(key)
  }

  /// The part of a mutation that replay repeats: tree and counters.
  func apply(_ key: Key, _ value: UnsafeRawBufferPointer?) throws(FSError) {
    switch key.space {
    case .free:
      let count = { (bytes: UnsafeRawBufferPointer) in LengthRecord.decode(bytes) ?? 0 }
      volume.freeBlocks = try volume.freeBlocks &- (tree.lookup(key).map(count) ?? 0) &+ (value.map(count) ?? 0)
    case .quarantine:
      let count = { (bytes: UnsafeRawBufferPointer) in QuarantineRecord(decoding: bytes)?.count ?? 0 }
      volume.quarantinedBlocks =
        try volume.quarantinedBlocks &- (tree.lookup(key).map(count) ?? 0) &+ (value.map(count) ?? 0)
    default: break
    }
    if let value {
      let isNew = try tree.put(key, value)
      if isNew, key.space == .file, key.type == .inode {
        volume.inodeCount += 1
        // The last number of all is never given out; only a damaged journal brings an inode of it.
        volume.nextInode = max(volume.nextInode, min(key.object + 1, Key.maximumObject))
      }
    } else {
      let existed = try tree.delete(key)
      if existed, key.space == .file, key.type == .inode { volume.inodeCount &-= 1 }
    }
  }

  // MARK: Admission

  /// Bytes of pending mutations that make an operation commit before it adds more: a tenth of the smallest journal.
  static let batchBytes = 400 << 10

  /// Before a change, holding no store lock: keeps journal, pending mutations and dirty nodes within bounds.
  func admit() throws(FSError) {
    treeLock.lock()
    do throws(FSError) {
      try checkWritable()
    } catch {
      treeLock.unlock()
      throw error
    }
    let overBatch = pending.payloadBytes > Store.batchBytes
    let overDirty = tree.dirtyCount > tree.cacheFrameLimit * 3 / 4
    let wantsWork = tree.dirtyCount > tree.cacheFrameLimit / 2 || pending.payloadBytes > Store.batchBytes / 2
    let current = ticket
    treeLock.unlock()
    if overDirty {
      try checkpoint()
    } else if overBatch {
      try commit(upTo: current)
    } else if wantsWork {
      background?.wake()
    }
  }

  /// Most keys a shrinking transaction names: a step of a truncation.
  private static let shrinkingKeys = removalStep * keysPerExtentEdit + 5

  /// Metadata blocks a growing transaction leaves alone: what any shrinking one may need, so that it always finds them.
  private var deletionRoom: Int { metadataNeed(keys: Store.shrinkingKeys, .shrinking) }

  func metadataNeed(keys: Int, _ purpose: Purpose) -> Int {
    // Each key may copy its path up to the root and split its leaf; a checkpoint's chunk map needs blocks as well, and
    // replay wants a few more than it uses (see `replay`).
    keys * (tree.rootLevel + 2) / 2 + keys + 8 + chunks.mapBlockCount + Tree.nodesPerChange(level: tree.rootLevel)
      + (purpose == .growing ? deletionRoom : 0)
  }

  private func hasMetadataRoom(keys: Int, _ purpose: Purpose) -> Bool {
    chunks.freeBlocks >= metadataNeed(keys: keys, purpose)
  }

  /// Finds metadata blocks: a checkpoint gives back replaced ones, a new chunk brings more.
  private func makeMetadataRoom(keys: Int, _ purpose: Purpose) throws(FSError) {
    treeLock.lock()
    let awaiting = chunks.releasedBlocks
    let worthCheckpoint = awaiting > 0 && UInt64(awaiting) >= chunks.totalBlocks / 4
    do throws(FSError) {
      if !worthCheckpoint, try takeChunk(purpose, atLeast: Store.smallestChunkBlocks) { return treeLock.unlock() }
      // On a full volume every refusal comes this way: no checkpoint that cannot help.
      let canHelp = chunks.freeBlocks + awaiting >= metadataNeed(keys: keys, purpose)
      // The last resort: single blocks, where the free space is in splinters.
      if !canHelp, try takeChunk(purpose, atLeast: 1) { return treeLock.unlock() }
      guard canHelp else { throw .noSpace }
    } catch {
      treeLock.unlock()
      throw error
    }
    treeLock.unlock()
    try checkpoint()
  }

  /// Adds a chunk of at least so many blocks, if there is one for this purpose. Under the tree lock.
  private func takeChunk(_ purpose: Purpose, atLeast count: UInt64) throws(FSError) -> Bool {
    guard volume.freeBlocks >= count, purpose != .growing || volume.freeBlocks > metadataReserve else { return false }
    // The chunk's own records need a few nodes.
    guard chunks.freeBlocks >= 6 * (tree.rootLevel + 2) else { return false }
    let before = mutations
    do throws(FSError) {
      guard try addChunk(atLeast: count) else { return false }
      ticket += 1
      return true
    } catch {
      if mutations != before || error.isDamage { fail(error) }
      throw error
    }
  }
}
