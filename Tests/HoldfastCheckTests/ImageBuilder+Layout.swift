import HoldfastBase
import HoldfastFormat

/// From records to blocks: nodes, chunk map, journal, superblocks.
extension ImageBuilder {
  func build() -> MemoryDevice {
    let device = MemoryDevice(blocks: totalBlocks, id: id)
    var next = chunk.start
    device.chain = [next]
    next += 1
    let root = layTree(device, &next)
    layChunkMap(device, used: next - chunk.start)
    layJournal(device)
    let superblock = superblock(root)
    for address in Geometry.superblocks { superblock.encode(to: device.block(address), address: address) }
    return device
  }

  private func superblock(_ root: (reference: NodeReference, level: UInt32)) -> Superblock {
    var superblock = Superblock(
      id: id, totalBlocks: totalBlocks, journalBlocks: journalBlocks, hashSeed: seed, label: "built", now: 1_700_000_000
    )
    superblock.generation = generation
    superblock.state = state
    superblock.root = root.reference
    superblock.rootLevel = root.level
    superblock.journalSequence = journalSequence
    superblock.journalPosition = journalPosition
    superblock.chunkMap = chunk.start
    superblock.chunkMapBlocks = 1
    superblock.nextInode = nextInode
    for (key, value) in records {
      value.withUnsafeBytes { value in
        switch key.space {
        case .free: superblock.freeBlocks &+= LengthRecord.decode(value) ?? 0
        case .quarantine: superblock.quarantinedBlocks += QuarantineRecord(decoding: value)?.count ?? 0
        case .file: if key.type == .inode { superblock.inodeCount += 1 }
        default: break
        }
      }
    }
    return superblock
  }

  /// Writes leaves and the levels above them.
  private func layTree(
    _ device: MemoryDevice, _ next: inout BlockNumber
  ) -> (reference: NodeReference, level: UInt32) {
    var children: [(key: Key, reference: NodeReference)] = []
    for group in leafGroups() {
      device.leaves.append(next)
      children.append((group.first?.key ?? .minimum, writeLeaf(group, device, next)))
      next += 1
    }
    // The first key of a level bounds everything from below.
    children[0].key = .minimum
    var level: UInt32 = 0
    while children.count > 1 {
      level += 1
      var parents: [(key: Key, reference: NodeReference)] = []
      for start in stride(from: 0, to: children.count, by: fanout) {
        let group = children[start..<min(start + fanout, children.count)]
        device.internals.append(next)
        parents.append((group.first!.key, writeInternal(Array(group), level, device, next)))
        next += 1
      }
      children = parents
    }
    return (children[0].reference, level)
  }

  /// Records in key order, cut where a leaf is full.
  private func leafGroups() -> [[Mutation]] {
    var groups: [[Mutation]] = [[]]
    var bytes = TreeNode.headerBytes
    for key in records.keys.sorted() {
      let value = records[key]!
      let need = TreeNode.slotBytes + value.count
      if groups[groups.count - 1].count == leafLimit || bytes + need > Block.size {
        groups.append([])
        bytes = TreeNode.headerBytes
      }
      bytes += need
      groups[groups.count - 1].append(Mutation(key: key, value: value))
    }
    return groups
  }

  private func writeLeaf(_ records: [Mutation], _ device: MemoryDevice, _ address: BlockNumber) -> NodeReference {
    let node = device.block(address)
    BlockHeader.write(
      to: node, type: .node, level: 0, count: UInt32(records.count), id: id, address: address,
      generation: nodeGeneration)
    var heap = Block.size
    for (index, record) in records.enumerated() {
      let value = record.value ?? []
      heap -= value.count
      value.withUnsafeBytes { if $0.count > 0 { (node + heap).copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
      let at = TreeNode.headerBytes + index * TreeNode.slotBytes
      node.put(record.key.high, at)
      node.put(record.key.low, at + 8)
      node.put(UInt16(heap), at + 16)
      node.put(UInt16(value.count), at + 18)
    }
    node.put(UInt16(heap), 48)
    BlockHeader.seal(node)
    return NodeReference(block: address, generation: nodeGeneration)
  }

  private func writeInternal(
    _ children: [(key: Key, reference: NodeReference)], _ level: UInt32, _ device: MemoryDevice, _ address: BlockNumber
  ) -> NodeReference {
    let node = device.block(address)
    BlockHeader.write(
      to: node, type: .node, level: UInt16(level), count: UInt32(children.count), id: id, address: address,
      generation: nodeGeneration)
    for (index, child) in children.enumerated() {
      let at = TreeNode.headerBytes + index * TreeNode.entryBytes
      node.put(child.key.high, at)
      node.put(child.key.low, at + 8)
      node.put(child.reference.block, at + 16)
      node.put(child.reference.generation, at + 24)
    }
    BlockHeader.seal(node)
    return NodeReference(block: address, generation: nodeGeneration)
  }

  private func layChunkMap(_ device: MemoryDevice, used: UInt64) {
    let map = device.block(chunk.start)
    BlockHeader.write(
      to: map, type: .chunkMap, level: 0, count: 1, id: id, address: chunk.start, generation: generation)
    map.put(chunk.start, 64)
    map.put(UInt32(chunk.count), 72)
    for bit in 0..<Int(used) { map.put(UnsafeRawPointer(map).u8(80 + bit / 8) | 1 << UInt8(bit % 8), 80 + bit / 8) }
    BlockHeader.seal(map)
  }

  private func layJournal(_ device: MemoryDevice) {
    var position = journalPosition
    for (index, mutations) in journal.enumerated() {
      position = Self.write(
        record: mutations, sequence: journalSequence + UInt64(index), at: position, of: journalBlocks, device)
    }
  }

  /// Writes one journal record into the ring; returns the position behind it.
  @discardableResult
  static func write(
    record mutations: [Mutation], sequence: UInt64, at position: UInt64, of journalBlocks: UInt64,
    _ device: MemoryDevice, count: UInt32? = nil
  ) -> UInt64 {
    var payload: Bytes = []
    for mutation in mutations {
      payload += encoded(JournalRecord.mutationHeaderBytes) { p in
        p.put(mutation.key.high, 0)
        p.put(mutation.key.low, 8)
        p.put(mutation.value.map { UInt16($0.count) } ?? JournalRecord.deletion, 16)
      }
      payload += mutation.value ?? []
    }
    return write(
      payload: payload, count: count ?? UInt32(mutations.count), sequence: sequence, at: position, of: journalBlocks,
      device)
  }

  @discardableResult
  static func write(
    payload: Bytes, count: UInt32, sequence: UInt64, at position: UInt64, of journalBlocks: UInt64,
    _ device: MemoryDevice
  ) -> UInt64 {
    let blocks = JournalRecord.blocks(payloadBytes: payload.count)
    let bytes = encoded(Int(blocks) << 12) { p in
      BlockHeader.write(
        to: p, type: .journal, level: 0, count: count, id: device.id, address: position, generation: sequence)
      p.put(UInt32(payload.count), 48)
      payload.withUnsafeBytes {
        if $0.count > 0 { (p + JournalRecord.headerBytes).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
      }
      BlockHeader.seal(p, byteCount: JournalRecord.headerBytes + payload.count)
    }
    for block in 0..<blocks {
      let target = Geometry.journalStart + (position + block) % journalBlocks
      bytes.withUnsafeBytes {
        device.block(target).copyMemory(from: $0.baseAddress! + Int(block) << 12, byteCount: Block.size)
      }
    }
    return (position + blocks) % journalBlocks
  }
}
