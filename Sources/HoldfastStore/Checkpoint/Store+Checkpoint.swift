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
  /// Writes a checkpoint of everything so far. With `closing`, marks the volume clean.
  func checkpoint(closing: Bool = false) throws(FSError) {
    checkpointLock.lock()
    defer { checkpointLock.unlock() }
    takeLeadership()
    var leading = true
    // The failure is known before anybody else may lead: see `commit`.
    defer { if leading { giveUpLeadership() } }
    do throws(FSError) {
      try writeCheckpoint(closing: closing, &leading)
    } catch {
      treeLock.withLock { fail(error) }
      throw error
    }
    if !closing { try? releaseDurableQuarantine() }
  }

  private func writeCheckpoint(closing: Bool, _ leading: inout Bool) throws(FSError) {
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
    guard chunks.freeBlocks >= chunks.mapBlockCount else {
      treeLock.unlock()
      throw .noSpace
    }
    let inJournal = journal.hasRoom(payloadBytes: pending.payloadBytes)
    let batch = pending.take()
    let batchTicket = ticket
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
      giveUpLeadership()
      leading = false
    }
    try write(nodes, map)
    try device.barrier()
    try writeSuperblocks(superblock)

    treeLock.withLock {
      tree.thaw(nodes)
      chunks.thaw(map)
      journal.setTail(position: superblock.journalPosition)
      durableSuperblock = superblock
    }
    publishDurable(ticket: batchTicket, data: data)
  }

  /// The volume failed: its superblock says so, as far as it can still be written. Nothing else changes: this is the
  /// last durable checkpoint's, whose blocks and journal nobody has reused.
  func markErrors() {
    // A checkpoint under way when the volume failed ends first, or its superblock would come after this one.
    checkpointLock.lock()
    defer { checkpointLock.unlock() }
    guard var superblock = treeLock.withLock({ durableSuperblock }), !superblock.state.contains(.errors) else { return }
    superblock.state.insert(.errors)
    superblock.state.remove(.clean)
    // A device that refuses this as well has been reported already; unmount tries again.
    guard (try? writeSuperblocks(superblock)) != nil else { return }
    treeLock.withLock { durableSuperblock = superblock }
  }

  /// Both copies, one after the other: at every moment one of them is whole.
  func writeSuperblocks(_ superblock: Superblock) throws(FSError) {
    for address in Geometry.superblocks {
      let buffer = AlignedBuffer(byteCount: Block.size)
      superblock.encode(to: buffer.bytes.baseAddress!, address: address)
      try device.write(UnsafeRawBufferPointer(buffer.bytes), at: address << UInt64(Block.shift))
      try device.barrier()
    }
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
