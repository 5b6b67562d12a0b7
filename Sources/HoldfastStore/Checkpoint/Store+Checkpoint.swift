/// Checkpoints: the tree as it is becomes the tree on disk, and the journal before it is no longer needed.
///
///   1. as commit leader, under the tree lock: take the pending mutations, freeze tree and chunk map
///   2. commit what was taken (or, when the journal is full, let the checkpoint itself make it durable)
///   3. write nodes and chunk map to free places; barrier
///   4. first superblock copy; barrier; second copy; barrier
///   5. blocks only the older checkpoint used come free, the journal's tail moves
///
/// Other operations go on from step 2 on: they copy frozen nodes before changing them.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

extension Store {
  /// Writes a checkpoint of everything so far. With `closing`, marks the volume clean; with `givingBack`, drops chunks
  /// that are empty, which a checkpoint made to find room must not. With `resizingTo`, the volume has so many blocks from
  /// this checkpoint on (`applySize`).
  func checkpoint(
    closing: Bool = false, givingBack: Bool = false, resizingTo blocks: UInt64? = nil
  ) throws(FSError) {
    checkpointLock.lock()
    defer { checkpointLock.unlock() }
    takeLeadership()
    var leading = true
    // The failure is known before anybody else may lead: see `commit`.
    defer { if leading { giveUpLeadership() } }
    do throws(FSError) {
      try writeCheckpoint(closing: closing, givingBack: givingBack, resizingTo: blocks, &leading)
    } catch {
      // For want of blocks nothing has begun.
      if error != .noSpace { treeLock.withLock { fail(error) } }
      throw error
    }
    if !closing { try? releaseDurableQuarantine() }
  }

  private func writeCheckpoint(
    closing: Bool, givingBack: Bool, resizingTo blocks: UInt64?, _ leading: inout Bool
  ) throws(FSError) {
    let data = dataWrites.load(ordering: .acquiring)
    treeLock.lock()
    if let failure = writeFailure {
      treeLock.unlock()
      throw failure
    }
    if let block = chunks.inconsistentBlock {
      treeLock.unlock()
      throw .corrupt(structure: .chunkMap, block: block)
    }
    guard chunks.freeBlocks >= chunks.mapBlockCount, blocks.map({ canResize(to: $0) }) ?? true else {
      treeLock.unlock()
      throw .noSpace
    }
    let batch = pending.take()
    let inJournal = journal.hasRoom(payloadBytes: batch.payload.count) && Journal.mayHold(batch.payload)
    let batchTicket = ticket
    var spare: [BlockRange] = []
    do throws(FSError) {
      if givingBack { spare = try dropSpareChunks() }
      if let blocks { try applySize(blocks) }
    } catch {
      fail(error)
      treeLock.unlock()
      throw error
    }
    let map = chunks.freeze(id: volume.id, generation: tree.generation)
    volume.generation = tree.generation
    volume.root = tree.root
    volume.rootLevel = UInt32(tree.rootLevel)
    let nodes = tree.freeze()
    volume.chunkMap = map.blocks[0].block
    volume.chunkMapBlocks = UInt64(map.blocks.count)
    volume.writtenSeconds = Timestamp.now.seconds
    volume.state = volume.state.intersection(.errors).union(closing && unlinked.isEmpty ? [.clean] : [])
    let head = journal.head
    let recordBlocks =
      inJournal && batch.count > 0 ? JournalRecord.blocks(payloadBytes: batch.payload.count) : 0
    volume.journalSequence = head.sequence + (recordBlocks > 0 ? 1 : 0)
    volume.journalPosition = (head.position + recordBlocks) % journal.capacityBlocks
    let superblock = volume
    treeLock.unlock()
    // Counters that a damaged image led astray would make a volume that nobody can open.
    guard superblock.isConsistent else { throw .corrupt(structure: .superblock, block: 0) }

    if inJournal {
      if case .failure(let error) = appendBatch(batch, ticket: batchTicket, data: data) { throw error }
      // Records of what comes after a change of size would lead the older checkpoint astray: they wait for this one.
      if blocks == nil {
        giveUpLeadership()
        leading = false
      }
    }
    try write(nodes, map)
    try barrier()
    try writeSuperblocks(superblock)

    treeLock.withLock {
      tree.thaw(nodes)
      chunks.thaw(map)
      journal.setTail(position: superblock.journalPosition)
      durableSuperblock = superblock
      for chunk in spare { releaseQueue.append(chunk, of: 0, ticket: 0) }
    }
    publishDurable(ticket: batchTicket, data: data)
  }

  /// There are nodes for the records that a change of size changes, and nothing is left of what goes.
  private func canResize(to blocks: UInt64) -> Bool {
    guard chunks.freeBlocks >= metadataNeed(keys: Store.keysPerAllocation, .shrinking) else { return false }
    return blocks > volume.totalBlocks
      || enclosure?.start == blocks && enclosure?.isWhole(upTo: volume.totalBlocks) == true
  }

  /// Free blocks that stay in chunks however empty they are: a chunk given back today is not taken again tomorrow.
  private var keptChunkBlocks: Int {
    max(Int(chunkBlocks) * 3 / 4, Int(chunks.totalBlocks) / 8, metadataNeed(keys: Store.keysPerMake, .growing))
  }

  /// Makes quarantine of chunks nobody needs. Under the tree lock, by the checkpoint that is about to be frozen, which
  /// alone carries these mutations: were they in the journal, replay would find nodes of its own where data is by then.
  /// The blocks become free once the checkpoint is durable, like all that is in quarantine.
  private func dropSpareChunks() throws(FSError) -> [BlockRange] {
    let spare = chunks.spareChunks(keeping: keptChunkBlocks)
    for chunk in spare {
      // What the edit needs is read first: a node that cannot be read now costs nothing but this.
      guard (try? tree.lookup(.chunk(chunk.start))) != nil, (try? tree.last(upTo: .quarantine(chunk.start))) != nil
      else { return [] }
    }
    for chunk in spare {
      chunks.remove(chunk)
      try delete(.chunk(chunk.start))
      let record = QuarantineRecord(count: chunk.count, inode: 0)
      try withEncoded(QuarantineRecord.size, record.encode) { bytes throws(FSError) in
        try put(.quarantine(chunk.start), bytes)
      }
    }
    _ = pending.take()
    return spare
  }

  /// Everything durable, everything freed given back as far as that is possible: what `holdfast sync` asks for.
  public func settle() throws(FSError) {
    if seals.hasWriteLayouts { holderMayHaveStored() }
    try syncAll()
    if isReadOnly { return }
    try housekeep()
    for round in 0..<Store.settlingRounds where try mayGiveBackChunks(isFirst: round == 0) {
      try checkpoint(givingBack: true)
    }
    try syncAll()
    try releaseDurableQuarantine()
  }

  /// Replaced nodes leave their chunks when a checkpoint is durable, empty chunks with the next one; and freeing what a
  /// round gave back replaces nodes once more.
  private static let settlingRounds = 5
  /// A tree of so many nodes, one mebibyte, is rewritten so that it lies together; a larger one is left where it is.
  private static let rewrittenNodes = 256

  private func mayGiveBackChunks(isFirst: Bool) throws(FSError) -> Bool {
    treeLock.lock()
    defer { treeLock.unlock() }
    guard writeFailure == nil, chunks.totalBlocks > chunkBlocks,
      chunks.freeBlocks + chunks.releasedBlocks >= keptChunkBlocks + Int(Store.smallestChunkBlocks)
    else { return false }
    if isFirst {
      let used = Int(chunks.totalBlocks) - chunks.freeBlocks
      // Copied nodes stay until the checkpoint is durable.
      if used <= Store.rewrittenNodes, chunks.freeBlocks >= 2 * used + Int(Store.smallestChunkBlocks) {
        do throws(FSError) {
          try tree.rewrite()
        } catch {
          if error.isDamage { fail(error) }
          throw error
        }
      }
      return true
    }
    return chunks.releasedBlocks > 0 || !chunks.spareChunks(keeping: keptChunkBlocks).isEmpty
  }

  /// The volume failed: its superblock says so, as far as it can still be written. Nothing else changes: this is the
  /// last durable checkpoint's, whose blocks and journal nobody has reused.
  func markErrors() {
    // A checkpoint under way when the volume failed ends first, or its superblock would come after this one.
    checkpointLock.lock()
    defer { checkpointLock.unlock() }
    guard var superblock = treeLock.withLock({ durableSuperblock }), !superblock.state.contains(.errors) else { return }
    superblock.state.insert(.errors)
    // Backwards, so that copy 0 is never the older one, not even where a failed checkpoint got as far as the copies; and
    // each whatever becomes of the other: what it may say now is too good. A device that refuses this as well has been
    // reported already; unmount tries again.
    var isWritten = true
    for address in Geometry.superblocks.reversed() {
      do throws(FSError) {
        try write(superblock, at: address)
        // Not `barrier`, which the failure has ended.
        try device.barrier()
      } catch {
        isWritten = false
      }
    }
    if isWritten { treeLock.withLock { durableSuperblock = superblock } }
  }

  /// Both copies, one after the other: at every moment one of them is whole.
  func writeSuperblocks(_ superblock: Superblock) throws(FSError) {
    for address in Geometry.superblocks {
      try write(superblock, at: address)
      try barrier()
    }
  }

  private func write(_ superblock: Superblock, at address: BlockNumber) throws(FSError) {
    let buffer = AlignedBuffer(byteCount: Block.size)
    superblock.encode(to: buffer.bytes.baseAddress!, address: address)
    try device.write(UnsafeRawBufferPointer(buffer.bytes), at: address << UInt64(Block.shift))
  }

  /// Most adjacent nodes written by one device call: 1 MiB.
  private static let runNodes = 256

  private func write(_ nodes: [Tree.FrozenNode], _ map: MetadataChunks.FrozenMap) throws(FSError) {
    let sorted = nodes.sorted { $0.block < $1.block }
    let buffer = AlignedBuffer(byteCount: Store.runNodes * Block.size)
    var first = 0
    while first < sorted.count {
      var count = 0
      while first + count < sorted.count, count < Store.runNodes,
        sorted[first + count].block == sorted[first].block + UInt64(count)
      {
        let node = sorted[first + count]
        BlockHeader.seal(node.bytes)
        (buffer.bytes.baseAddress! + count * Block.size).copyMemory(from: node.bytes, byteCount: Block.size)
        count += 1
      }
      try device.write(
        UnsafeRawBufferPointer(rebasing: buffer.bytes[..<(count * Block.size)]),
        at: sorted[first].block << UInt64(Block.shift))
      first += count
    }
    for (block, bytes) in map.blocks {
      buffer.bytes.copyBytes(from: bytes)
      try device.write(
        UnsafeRawBufferPointer(rebasing: buffer.bytes[..<Block.size]), at: block << UInt64(Block.shift))
    }
  }
}
