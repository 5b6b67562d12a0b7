/// Builds a tree from records in key order, from the left: leaves as they fill, then the nodes above them. Every node is
/// written once, to a block of `space`.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct TreeLoader {
  /// Entries of an internal node: an eighth stays free for what comes later.
  private static let fanout = TreeNode.maximumEntries * 7 / 8

  private struct Level {
    let node = AlignedBuffer(byteCount: Block.size)
    var count = 0
    var firstKey = Key.minimum
    var nodesWritten = 0
  }

  private(set) var space: MetadataSpace
  private let writer: BlockWriter
  private let id: FilesystemID
  private let generation: UInt64
  private let leaf = AlignedBuffer(byteCount: Block.size)
  private var leafCount = 0
  private var leafUsed = 0
  private var heap = Block.size
  private var leafKey = Key.minimum
  private var leavesWritten = 0
  /// Internal levels, lowest first.
  private var levels: [Level] = []

  init(_ device: BlockDevice, id: FilesystemID, generation: UInt64, space: MetadataSpace) {
    writer = BlockWriter(device)
    self.id = id
    self.generation = generation
    self.space = space
  }

  /// Nodes above and with `leaves` leaves.
  static func nodes(leaves: UInt64) -> UInt64 {
    var total = leaves
    var level = leaves
    while level > 1 {
      level = (level + UInt64(fanout) - 1) / UInt64(fanout)
      total += level
    }
    return total
  }

  /// Appends the next record; keys ascend.
  /// - Throws: `.noSpace` when the reservation was too small, device errors.
  mutating func append(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    let need = LeafPacking.need(value.count)
    if leafCount > 0, leafUsed + need > LeafPacking.fillBytes { try finishLeaf() }
    guard let node = leaf.bytes.baseAddress else { return }
    if leafCount == 0 { leafKey = leavesWritten == 0 ? .minimum : key }
    heap -= value.count
    if let bytes = value.baseAddress, value.count > 0 {
      (node + heap).copyMemory(from: bytes, byteCount: value.count)
    }
    let at = TreeNode.headerBytes + leafCount * TreeNode.slotBytes
    node.put(key.high, at)
    node.put(key.low, at + 8)
    node.put(UInt16(heap), at + 16)
    node.put(UInt16(value.count), at + 18)
    leafCount += 1
    leafUsed += need
  }

  private mutating func finishLeaf() throws(FSError) {
    guard let node = leaf.bytes.baseAddress else { return }
    node.put(UInt16(heap), 48)
    let block = try write(leaf, level: 0, count: leafCount)
    leaf.bytes.initializeMemory(as: UInt8.self, repeating: 0)
    leafCount = 0
    leafUsed = 0
    heap = Block.size
    leavesWritten += 1
    try push(leafKey, block, level: 0)
  }

  /// Hands a finished node to the level above it.
  private mutating func push(_ key: Key, _ child: BlockNumber, level: Int) throws(FSError) {
    if level == levels.count { levels.append(Level()) }
    if levels[level].count == Self.fanout { try finish(level) }
    guard let node = levels[level].node.bytes.baseAddress else { return }
    if levels[level].count == 0 { levels[level].firstKey = key }
    let at = TreeNode.headerBytes + levels[level].count * TreeNode.entryBytes
    node.put(key.high, at)
    node.put(key.low, at + 8)
    node.put(child, at + 16)
    node.put(generation, at + 24)
    levels[level].count += 1
  }

  private mutating func finish(_ level: Int) throws(FSError) {
    let block = try write(levels[level].node, level: level + 1, count: levels[level].count)
    levels[level].node.bytes.initializeMemory(as: UInt8.self, repeating: 0)
    levels[level].count = 0
    levels[level].nodesWritten += 1
    try push(levels[level].firstKey, block, level: level + 1)
  }

  private mutating func write(_ node: AlignedBuffer, level: Int, count: Int) throws(FSError) -> BlockNumber {
    guard let block = space.allocate(), let bytes = node.bytes.baseAddress else { throw .noSpace }
    BlockHeader.write(
      to: bytes, type: .node, level: UInt16(level), count: UInt32(count), id: id, address: block,
      generation: generation)
    BlockHeader.seal(bytes)
    try writer.write(UnsafeRawBufferPointer(node.bytes), to: block)
    return block
  }

  /// Writes what is left, and the chunk map; the root's block and level. Nothing is durable before a barrier.
  mutating func finish() throws(FSError) -> (root: BlockNumber, level: UInt32) {
    try finishLeaf()
    var level = 0
    // The level with one child and nothing written is above the root.
    while levels[level].nodesWritten > 0 || levels[level].count > 1 {
      try finish(level)
      level += 1
    }
    for (block, bytes) in space.encodeMap(id: id, generation: generation) {
      let result = bytes.withUnsafeBytes { raw -> Result<Void, FSError> in
        do throws(FSError) { return .success(try writer.write(raw, to: block)) } catch { return .failure(error) }
      }
      try result.get()
    }
    try writer.flush()
    guard let top = levels[level].node.bytes.baseAddress else { throw .noSpace }
    return (TreeNode.child(UnsafeRawPointer(top), 0).block, UInt32(level))
  }
}

/// Gathers blocks that follow each other into long writes.
final class BlockWriter {
  /// 1 MiB.
  private static let maximumBlocks = 256

  private let device: BlockDevice
  private let buffer = AlignedBuffer(byteCount: maximumBlocks * Block.size)
  private var first: BlockNumber = 0
  private var count = 0

  init(_ device: BlockDevice) { self.device = device }

  func write(_ bytes: UnsafeRawBufferPointer, to block: BlockNumber) throws(FSError) {
    if count == Self.maximumBlocks || (count > 0 && block != first + UInt64(count)) { try flush() }
    if count == 0 { first = block }
    guard let base = buffer.bytes.baseAddress, let source = bytes.baseAddress else { return }
    (base + count * Block.size).copyMemory(from: source, byteCount: Block.size)
    count += 1
  }

  func flush() throws(FSError) {
    guard count > 0 else { return }
    try device.write(
      UnsafeRawBufferPointer(rebasing: buffer.bytes[..<(count * Block.size)]), at: first << UInt64(Block.shift))
    count = 0
  }
}
