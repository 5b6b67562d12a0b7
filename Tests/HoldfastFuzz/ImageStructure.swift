/// Where an image keeps its metadata, and its records: read leniently, without the engine and without the check, so
/// that what both overlook is still seen here.

import HoldfastBase
import HoldfastFormat

struct TreeRecord {
  var key: Key
  var value: [UInt8]
}

struct JournalRecordAt {
  var position: UInt64
  var sequence: UInt64
  /// nil value: deleted.
  var mutations: [(key: Key, value: [UInt8]?)]
  var blocks: UInt64
}

struct ImageStructure {
  var superblock: Superblock
  var leaves: [BlockNumber] = []
  var internals: [BlockNumber] = []
  var chain: [BlockNumber] = []
  var chunks: [BlockRange] = []
  var journal: [JournalRecordAt] = []

  /// What can be reached from the newest valid superblock; nil without one, or when `byteCount` cuts it off.
  init?(_ memory: ImageMemory, byteCount: UInt64) {
    let blocks = min(memory.blocks, byteCount >> UInt64(Block.shift))
    let copies = Geometry.superblocks.compactMap { address in
      address < blocks ? Superblock(decoding: memory.block(address), address: address) : nil
    }
    guard let newest = copies.max(by: { $0.generation < $1.generation }), newest.isConsistent,
      newest.totalBlocks <= blocks
    else { return nil }
    superblock = newest
    walkTree(memory)
    walkChain(memory)
    walkJournal(memory)
  }

  /// A node at `block`, when it is valid and sound.
  private func node(_ memory: ImageMemory, _ block: BlockNumber) -> UnsafeRawPointer? {
    guard block >= superblock.dataStart, block < superblock.totalBlocks else { return nil }
    let node = memory.block(block)
    guard BlockHeader.isValid(node, type: .node, id: superblock.id, address: block), TreeNode.isSound(node) else {
      return nil
    }
    return node
  }

  private mutating func walkTree(_ memory: ImageMemory) {
    var seen: Set<BlockNumber> = []
    var open = [superblock.root.block]
    while let block = open.popLast() {
      guard seen.insert(block).inserted, let node = node(memory, block) else { continue }
      if BlockHeader.level(node) == 0 {
        leaves.append(block)
      } else {
        internals.append(block)
        for index in 0..<BlockHeader.count(node) { open.append(TreeNode.child(node, index).block) }
      }
    }
  }

  private mutating func walkChain(_ memory: ImageMemory) {
    var block = superblock.chunkMap
    while block >= superblock.dataStart, block < superblock.totalBlocks, !chain.contains(block) {
      let map = memory.block(block)
      guard BlockHeader.isValid(map, type: .chunkMap, id: superblock.id, address: block),
        BlockHeader.count(map) <= ChunkMap.entriesPerBlock
      else { return }
      chain.append(block)
      for index in 0..<BlockHeader.count(map) { chunks.append(ChunkMap.entry(map, index).blocks) }
      block = ChunkMap.next(map)
    }
  }

  /// The bytes of the ring from `position` on, `count` of them.
  static func ringBytes(
    _ memory: ImageMemory, _ superblock: Superblock, at position: UInt64, _ count: Int
  ) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + Block.size)
    var block = position
    while bytes.count < count {
      let from = memory.block(superblock.journalStart + block % superblock.journalBlocks)
      bytes.append(contentsOf: UnsafeRawBufferPointer(start: from, count: min(Block.size, count - bytes.count)))
      block += 1
    }
    return bytes
  }

  private mutating func walkJournal(_ memory: ImageMemory) {
    var position = superblock.journalPosition
    var sequence = superblock.journalSequence
    var used: UInt64 = 0
    while used < superblock.journalBlocks {
      let head = memory.block(superblock.journalStart + position)
      let payloadBytes = JournalRecord.payloadBytes(head)
      guard BlockHeader.generation(head) == sequence,
        JournalRecord.blocks(payloadBytes: payloadBytes) <= superblock.journalBlocks - used
      else { return }
      let length = JournalRecord.headerBytes + payloadBytes
      let bytes = Self.ringBytes(memory, superblock, at: position, length)
      let id = superblock.id
      let mutations = bytes.withUnsafeBytes { raw -> [(key: Key, value: [UInt8]?)]? in
        let record = raw.baseAddress!
        guard BlockHeader.isValid(record, type: .journal, id: id, address: position, byteCount: length) else {
          return nil
        }
        var found: [(key: Key, value: [UInt8]?)] = []
        _ = JournalRecord.forEachMutation(UnsafeRawBufferPointer(rebasing: raw[JournalRecord.headerBytes...])) {
          found.append(($0, $1.map { Array($0) }))
        }
        return found
      }
      guard let mutations else { return }
      let blocks = JournalRecord.blocks(payloadBytes: payloadBytes)
      journal.append(
        JournalRecordAt(position: position, sequence: sequence, mutations: mutations, blocks: blocks))
      position = (position + blocks) % superblock.journalBlocks
      used += blocks
      sequence += 1
    }
  }

  /// Where the next record would go.
  var journalEnd: (position: UInt64, sequence: UInt64) {
    guard let last = journal.last else { return (superblock.journalPosition, superblock.journalSequence) }
    return ((last.position + last.blocks) % superblock.journalBlocks, last.sequence + 1)
  }

  /// The records of a leaf.
  static func records(_ leaf: UnsafeRawPointer) -> [TreeRecord] {
    guard TreeNode.isSound(leaf) else { return [] }
    return (0..<BlockHeader.count(leaf)).map {
      TreeRecord(key: TreeNode.slotKey(leaf, $0), value: Array(TreeNode.value(leaf, $0)))
    }
  }

  /// Every record anything names: of all leaves, and everything the journal ever puts.
  func allRecords(_ memory: ImageMemory) -> [TreeRecord] {
    var all = leaves.flatMap { Self.records(memory.block($0)) }
    for record in journal {
      for (key, value) in record.mutations { if let value { all.append(TreeRecord(key: key, value: value)) } }
    }
    return all
  }
}
