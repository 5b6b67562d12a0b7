/// The copy-on-write B+tree of records.
///
/// Guarded by the store's tree lock. Every node carries the generation (checkpoint number) it was made for. A change
/// copies each node on its path that is of an older generation to a new block, so the tree of the last checkpoint
/// stays whole on disk, and a checkpoint being written is untouched by later changes: `freeze` merely begins a new
/// generation. Blocks of replaced nodes go back through `MetadataChunks`, after the checkpoint that replaces them.
///
/// Every node met lies within the keys its parents leave it (`KeyBounds`), so that what is found ascends and a split
/// goes where the key belongs, whatever an image says.
///
/// Pointers returned are good until the next call.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

/// The keys a node may hold: `lower` and above, below `upper`.
struct KeyBounds {
  var lower: Key
  var upper: Key

  /// The root's. The greatest key of all is of no space there is.
  static let all = KeyBounds(lower: .minimum, upper: .maximum)

  /// Those of child `index` of an internal node that has these.
  func ofChild(_ node: UnsafeRawPointer, _ index: Int) -> KeyBounds {
    KeyBounds(
      lower: index == 0 ? lower : TreeNode.entryKey(node, index),
      upper: index + 1 < BlockHeader.count(node) ? TreeNode.entryKey(node, index + 1) : upper)
  }

  /// Whether a sound node's keys lie within.
  func hold(_ node: UnsafeRawPointer) -> Bool {
    let count = BlockHeader.count(node)
    guard count > 0 else { return true }
    return BlockHeader.level(node) == 0
      ? lower <= TreeNode.slotKey(node, 0) && TreeNode.slotKey(node, count - 1) < upper
      : lower <= TreeNode.entryKey(node, 0) && TreeNode.entryKey(node, count - 1) < upper
  }
}

final class Tree {
  private let device: BlockDevice
  private let id: FilesystemID
  private let chunks: MetadataChunks
  private var cache: NodeCache
  private(set) var root: NodeReference
  private(set) var rootLevel: Int
  /// Generation of nodes made now: the number of the checkpoint that will hold them.
  private(set) var generation: UInt64
  /// Frames made in this generation (some may have been removed since).
  private var dirty: [Int] = []
  private(set) var dirtyCount = 0

  /// The path of the running operation: frame, the node's keys and the index of the child taken, by level.
  private struct Step {
    var frame: Int
    var bounds: KeyBounds
    var index: Int
  }
  private var path = [Step](
    repeating: Step(frame: 0, bounds: .all, index: 0), count: Int(TreeNode.maximumLevel) + 1)

  /// Most nodes one change makes: on every level a copy and a split, a second split of the leaf, a new root.
  static func nodesPerChange(level: Int) -> Int { 2 * (level + 3) }

  /// A leaf below this many used bytes looks for a neighbour to merge with.
  private static let mergeBelow = (Block.size - TreeNode.headerBytes) / 4
  /// … and merges when both fit in this many.
  private static let mergeInto = (Block.size - TreeNode.headerBytes) * 3 / 4

  /// The tree of an existing checkpoint; changes belong to `generation`.
  init(
    device: BlockDevice, id: FilesystemID, chunks: MetadataChunks, root: NodeReference, level: Int, generation: UInt64,
    cacheFrames: Int
  ) {
    self.device = device
    self.id = id
    self.chunks = chunks
    cache = NodeCache(capacity: cacheFrames)
    self.root = root
    rootLevel = level
    self.generation = generation
  }

  /// An empty tree, in memory until the first checkpoint.
  func makeEmptyRoot() {
    let frame = newNode(level: 0)
    LeafNode.initialize(cache.frames[frame].bytes)
    root = reference(frame)
    rootLevel = 0
  }

  var cacheFrameLimit: Int { cache.frameLimit }
  var cacheResidentBytes: Int { cache.residentBytes }
  var cacheHits: UInt64 { cache.hits }
  var cacheMisses: UInt64 { cache.misses }

  // MARK: Reading

  /// The value of `key`, or nil.
  func lookup(_ key: Key) throws(FSError) -> UnsafeRawBufferPointer? {
    cache.beginOperation()
    let node = try leaf(for: key)
    let (index, found) = LeafNode.search(node, key)
    return found ? TreeNode.value(node, index) : nil
  }

  /// The first record whose key is not less than `key`.
  func first(from key: Key) throws(FSError) -> (key: Key, value: UnsafeRawBufferPointer)? {
    cache.beginOperation()
    var node = try leafRemembering(key)
    var index = LeafNode.search(node, key).index
    while index >= BlockHeader.count(node) {
      guard let next = try step(forward: true) else { return nil }
      node = next
      index = 0
    }
    return (TreeNode.slotKey(node, index), TreeNode.value(node, index))
  }

  /// The last record whose key is not greater than `key`.
  func last(upTo key: Key) throws(FSError) -> (key: Key, value: UnsafeRawBufferPointer)? {
    cache.beginOperation()
    var node = try leafRemembering(key)
    let (position, found) = LeafNode.search(node, key)
    var index = found ? position : position - 1
    while index < 0 {
      guard let previous = try step(forward: false) else { return nil }
      node = previous
      index = BlockHeader.count(node) - 1
    }
    return (TreeNode.slotKey(node, index), TreeNode.value(node, index))
  }

  private func leaf(for key: Key) throws(FSError) -> UnsafeRawPointer {
    var bounds = KeyBounds.all
    var node = bytes(try load(root, level: rootLevel, bounds))
    var level = rootLevel
    while level > 0 {
      level -= 1
      let index = InternalNode.childIndex(node, key)
      bounds = bounds.ofChild(node, index)
      node = bytes(try load(TreeNode.child(node, index), level: level, bounds))
    }
    return UnsafeRawPointer(node)
  }

  private func leafRemembering(_ key: Key) throws(FSError) -> UnsafeRawPointer {
    var bounds = KeyBounds.all
    var frame = try load(root, level: rootLevel, bounds)
    var level = rootLevel
    while level > 0 {
      let index = InternalNode.childIndex(bytes(frame), key)
      path[level] = Step(frame: frame, bounds: bounds, index: index)
      level -= 1
      bounds = bounds.ofChild(bytes(frame), index)
      frame = try load(TreeNode.child(bytes(frame), index), level: level, bounds)
    }
    return UnsafeRawPointer(bytes(frame))
  }

  /// The leaf next to the one `path` leads to, and `path` leading there; nil at the tree's end.
  private func step(forward: Bool) throws(FSError) -> UnsafeRawPointer? {
    var level = 1
    while level <= rootLevel {
      let count = BlockHeader.count(bytes(path[level].frame))
      if forward ? path[level].index + 1 < count : path[level].index > 0 { break }
      level += 1
    }
    guard level <= rootLevel else { return nil }
    path[level].index += forward ? 1 : -1
    var node = bytes(path[level].frame)
    var index = path[level].index
    var bounds = path[level].bounds
    while true {
      level -= 1
      bounds = bounds.ofChild(node, index)
      let frame = try load(TreeNode.child(node, index), level: level, bounds)
      node = bytes(frame)
      if level == 0 { return UnsafeRawPointer(node) }
      index = forward ? 0 : BlockHeader.count(node) - 1
      path[level] = Step(frame: frame, bounds: bounds, index: index)
    }
  }

  // MARK: Changing

  /// Inserts or replaces; true when the key is new. `value` must not point into the tree.
  @discardableResult
  func put(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) -> Bool {
    precondition(value.count <= TreeNode.maximumValueBytes)
    cache.beginOperation()
    try checkRoom()
    try descendForUpdate(key)
    var node = bytes(path[0].frame)
    var (index, found) = LeafNode.search(node, key)
    if found {
      if LeafNode.replaceInPlace(node, index, value) { return false }
      LeafNode.remove(node, index)
    }
    let need = TreeNode.slotBytes + value.count
    if LeafNode.gap(node) < need, LeafNode.gap(node) + TreeNode.garbage(node) >= need { LeafNode.compact(node) }
    // Long values: one split may leave the side the key falls on too full still.
    while LeafNode.gap(node) < need {
      splitLeaf(before: index)
      try descendForUpdate(key)
      node = bytes(path[0].frame)
      index = LeafNode.search(node, key).index
      if LeafNode.gap(node) < need, LeafNode.gap(node) + TreeNode.garbage(node) >= need { LeafNode.compact(node) }
    }
    LeafNode.insert(node, index, key, value)
    return !found
  }

  /// Removes; false when there was no such key.
  @discardableResult
  func delete(_ key: Key) throws(FSError) -> Bool {
    cache.beginOperation()
    guard LeafNode.search(try leaf(for: key), key).found else { return false }
    try checkRoom()
    try descendForUpdate(key)
    let node = bytes(path[0].frame)
    LeafNode.remove(node, LeafNode.search(node, key).index)
    try rebalance(level: 0)
    while rootLevel > 0, BlockHeader.count(bytes(path[rootLevel].frame)) == 1 {
      let old = path[rootLevel].frame
      root = TreeNode.child(bytes(old), 0)
      discard(old)
      rootLevel -= 1
      if rootLevel > 0 { path[rootLevel].frame = try load(root, level: rootLevel, .all) }
    }
    return true
  }

  /// Copies every node of an older generation: all of them move to where free blocks are lowest. What the tree says
  /// stays as it is, and so does each node's checkpointed copy.
  func rewrite() throws(FSError) {
    var key = Key.minimum
    while true {
      cache.beginOperation()
      try descendForUpdate(key)
      guard let next = keyBehindPath else { return }
      key = next
    }
  }

  /// Goes over leaves from `key` on, at most `limit` of them, and copies those paths of an older generation on which
  /// `isLeaving` says of a node that its block is to be left.
  /// - Returns: where to go on, nil when that was all; and how many paths were copied.
  func evacuate(
    from key: Key, limit: Int, _ isLeaving: (BlockNumber) -> Bool
  ) throws(FSError) -> (next: Key?, copied: Int) {
    var key = key
    var copied = 0
    for _ in 0..<limit {
      cache.beginOperation()
      if try pathIsLeaving(key, isLeaving) {
        copied += 1
        try descendForUpdate(key)
      }
      guard let next = keyBehindPath else { return (nil, copied) }
      key = next
    }
    return (key, copied)
  }

  /// Fills `path` down to level 1: leaves need not be read.
  private func pathIsLeaving(_ key: Key, _ isLeaving: (BlockNumber) -> Bool) throws(FSError) -> Bool {
    var bounds = KeyBounds.all
    var reference = root
    var isLeft = isLeaving(root.block)
    for level in stride(from: rootLevel, to: 0, by: -1) {
      let frame = try load(reference, level: level, bounds)
      let index = InternalNode.childIndex(bytes(frame), key)
      path[level] = Step(frame: frame, bounds: bounds, index: index)
      bounds = bounds.ofChild(bytes(frame), index)
      reference = TreeNode.child(bytes(frame), index)
      isLeft = isLeft || isLeaving(reference.block)
    }
    return isLeft
  }

  /// The first key behind the leaf that `path` leads to; nil at the tree's end.
  private var keyBehindPath: Key? {
    var level = 1
    while level <= rootLevel, path[level].index + 1 >= BlockHeader.count(bytes(path[level].frame)) { level += 1 }
    guard level <= rootLevel else { return nil }
    return TreeNode.entryKey(bytes(path[level].frame), path[level].index + 1)
  }

  /// Transactions see to room for all they do. An image that has more of something than any volume comes to have
  /// (pieces of an attribute, say) gets an error here, before anything of the change is made.
  private func checkRoom() throws(FSError) {
    guard chunks.freeBlocks >= Tree.nodesPerChange(level: rootLevel) else { throw .noSpace }
  }

  /// Fills `path` for `key`, every node on it of this generation.
  private func descendForUpdate(_ key: Key) throws(FSError) {
    var bounds = KeyBounds.all
    var frame = try load(root, level: rootLevel, bounds)
    if root.generation != generation {
      frame = copy(frame)
      root = reference(frame)
    }
    var level = rootLevel
    while level > 0 {
      let node = bytes(frame)
      let index = InternalNode.childIndex(node, key)
      path[level] = Step(frame: frame, bounds: bounds, index: index)
      level -= 1
      let child = TreeNode.child(node, index)
      bounds = bounds.ofChild(node, index)
      frame = try load(child, level: level, bounds)
      if child.generation != generation {
        frame = copy(frame)
        InternalNode.setChild(node, index, reference(frame))
      }
    }
    path[0] = Step(frame: frame, bounds: bounds, index: 0)
  }

  /// Splits the leaf of `path` so that a key at slot `position` finds room, now or after another split.
  private func splitLeaf(before position: Int) {
    let left = bytes(path[0].frame)
    let right = newNode(level: 0)
    LeafNode.initialize(bytes(right))
    let count = BlockHeader.count(left)
    // Keys in ascending or descending order leave full leaves behind them.
    let cut = position == count ? count : (position == 0 ? 0 : LeafNode.middle(left))
    let separator = cut == count ? TreeNode.slotKey(left, count - 1).successor : TreeNode.slotKey(left, cut)
    LeafNode.moveTail(left, from: cut, to: bytes(right))
    insertEntry(level: 1, after: path[0].frame, child: right, key: separator)
  }

  /// Puts `child` behind `sibling` in the parent on `path` at `level`, splitting upwards as needed. `path` is stale then.
  private func insertEntry(level: Int, after sibling: Int, child: Int, key: Key) {
    if level > rootLevel {
      let newRoot = newNode(level: level)
      LeafNode.setCount(bytes(newRoot), 0)
      InternalNode.insert(bytes(newRoot), 0, .minimum, reference(sibling))
      InternalNode.insert(bytes(newRoot), 1, key, reference(child))
      root = reference(newRoot)
      rootLevel = level
      path[level] = Step(frame: newRoot, bounds: .all, index: 0)
      return
    }
    let parent = path[level].frame
    let position = path[level].index + 1
    if BlockHeader.count(bytes(parent)) < TreeNode.maximumEntries {
      InternalNode.insert(bytes(parent), position, key, reference(child))
      return
    }
    let right = newNode(level: level)
    LeafNode.setCount(bytes(right), 0)
    let count = BlockHeader.count(bytes(parent))
    let cut = position == count ? count - 1 : count / 2
    let separator = TreeNode.entryKey(bytes(parent), cut)
    InternalNode.moveTail(bytes(parent), from: cut, to: bytes(right))
    insertEntry(level: level + 1, after: parent, child: right, key: separator)
    if position > cut {
      InternalNode.insert(bytes(right), position - cut, key, reference(child))
    } else {
      InternalNode.insert(bytes(parent), position, key, reference(child))
    }
  }

  /// After a removal from the node of `path` at `level`: drops it when empty, merges it when small.
  private func rebalance(level: Int) throws(FSError) {
    guard level < rootLevel else { return }
    let frame = path[level].frame
    let parent = bytes(path[level + 1].frame)
    let index = path[level + 1].index
    let siblings = BlockHeader.count(parent)
    if BlockHeader.count(bytes(frame)) == 0, siblings > 1 {
      InternalNode.remove(parent, index)
      discard(frame)
      return try rebalance(level: level + 1)
    }
    guard siblings > 1, isSmall(bytes(frame), level) else { return }
    // Merge with the right neighbour, or into the left one.
    let leftIndex = index + 1 < siblings ? index : index - 1
    let bounds = path[level + 1].bounds
    let right = try load(TreeNode.child(parent, leftIndex + 1), level: level, bounds.ofChild(parent, leftIndex + 1))
    let leftBounds = bounds.ofChild(parent, leftIndex)
    guard fits(bytes(try load(TreeNode.child(parent, leftIndex), level: level, leftBounds)), bytes(right), level)
    else { return }
    let left = try loadForUpdate(parent, leftIndex, level: level, leftBounds)
    if level == 0 {
      LeafNode.compact(bytes(left))
      for slot in 0..<BlockHeader.count(bytes(right)) {
        LeafNode.insert(
          bytes(left), BlockHeader.count(bytes(left)), TreeNode.slotKey(bytes(right), slot),
          TreeNode.value(bytes(right), slot))
      }
    } else {
      let count = BlockHeader.count(bytes(left))
      memcpy(
        bytes(left) + TreeNode.headerBytes + count * TreeNode.entryBytes, bytes(right) + TreeNode.headerBytes,
        BlockHeader.count(bytes(right)) * TreeNode.entryBytes)
      LeafNode.setCount(bytes(left), count + BlockHeader.count(bytes(right)))
      InternalNode.setKey(bytes(left), count, TreeNode.entryKey(parent, leftIndex + 1))
    }
    InternalNode.remove(parent, leftIndex + 1)
    discard(right)
    try rebalance(level: level + 1)
  }

  private func isSmall(_ node: UnsafeRawPointer, _ level: Int) -> Bool {
    level == 0
      ? LeafNode.usedBytes(node) < Self.mergeBelow : BlockHeader.count(node) < TreeNode.maximumEntries / 4
  }

  private func fits(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer, _ level: Int) -> Bool {
    level == 0
      ? LeafNode.usedBytes(left) + LeafNode.usedBytes(right) <= Self.mergeInto
      : BlockHeader.count(left) + BlockHeader.count(right) <= TreeNode.maximumEntries * 3 / 4
  }

  private func loadForUpdate(
    _ parent: UnsafeMutableRawPointer, _ index: Int, level: Int, _ bounds: KeyBounds
  ) throws(FSError) -> Int {
    let child = TreeNode.child(parent, index)
    let frame = try load(child, level: level, bounds)
    guard child.generation != generation else { return frame }
    let copied = copy(frame)
    InternalNode.setChild(parent, index, reference(copied))
    return copied
  }

  // MARK: Nodes

  private func bytes(_ frame: Int) -> UnsafeMutableRawPointer { cache.frames[frame].bytes }

  private func reference(_ frame: Int) -> NodeReference {
    NodeReference(block: cache.frames[frame].block, generation: BlockHeader.generation(bytes(frame)))
  }

  /// The frame of a node, read and checked when it is not in memory. Its keys are looked at each time: a damaged image
  /// may name one node in two places.
  private func load(_ reference: NodeReference, level: Int, _ bounds: KeyBounds) throws(FSError) -> Int {
    if let frame = cache.find(reference.block) {
      guard BlockHeader.generation(bytes(frame)) == reference.generation,
        Int(BlockHeader.level(bytes(frame))) == level, bounds.hold(bytes(frame))
      else { throw .corrupt(structure: .treeNode, block: reference.block) }
      return frame
    }
    // Of this generation only memory has nodes: one on the disk would pass for copied already.
    guard chunks.isUsed(reference.block), reference.generation < generation else {
      throw .corrupt(structure: .treeNode, block: reference.block)
    }
    let frame = cache.insert(reference.block, state: .clean)
    do throws(FSError) {
      let buffer = UnsafeMutableRawBufferPointer(start: bytes(frame), count: Block.size)
      try device.read(into: buffer, at: reference.block << UInt64(Block.shift))
      let node = UnsafeRawPointer(bytes(frame))
      guard BlockHeader.isValid(node, type: .node, id: id, address: reference.block),
        BlockHeader.generation(node) == reference.generation, Int(BlockHeader.level(node)) == level,
        TreeNode.isSound(node), level == 0 || BlockHeader.count(node) > 0, bounds.hold(node)
      else { throw .corrupt(structure: .treeNode, block: reference.block) }
    } catch {
      cache.remove(frame)
      throw error
    }
    return frame
  }

  private func newNode(level: Int) -> Int {
    let block = chunks.allocate()
    let frame = cache.insert(block, state: .dirty)
    memset(bytes(frame), 0, Block.size)
    BlockHeader.write(
      to: bytes(frame), type: .node, level: UInt16(level), count: 0, id: id, address: block, generation: generation)
    dirty.append(frame)
    dirtyCount += 1
    return frame
  }

  /// A copy of an older node for this generation.
  private func copy(_ old: Int) -> Int {
    let frame = newNode(level: 0)
    let block = cache.frames[frame].block
    memcpy(bytes(frame), bytes(old), Block.size)
    bytes(frame).put(block, 32)
    bytes(frame).put(generation, 40)
    discard(old)
    return frame
  }

  /// A node is no longer part of the tree.
  private func discard(_ frame: Int) {
    let block = cache.frames[frame].block
    switch cache.frames[frame].state {
    case .dirty:
      chunks.release(block)
      cache.remove(frame)
      dirtyCount -= 1
    case .frozen:
      chunks.releaseAfterCheckpoint(block)
      cache.makeObsolete(frame)
    case .clean, .free, .frozenObsolete:
      chunks.releaseAfterCheckpoint(block)
      cache.remove(frame)
    }
  }

  // MARK: Checkpoints

  /// A node of a checkpoint being written. Its bytes change no more (the writer adds the checksum).
  struct FrozenNode: @unchecked Sendable {
    let frame: Int
    let block: BlockNumber
    let bytes: UnsafeMutableRawPointer
  }

  /// Ends this generation: its nodes are from now on read only, and returned to be written.
  func freeze() -> [FrozenNode] {
    var frozen: [FrozenNode] = []
    frozen.reserveCapacity(dirtyCount)
    // A frame that was dropped and taken again stands in the list twice, but is dirty once.
    for frame in dirty where cache.frames[frame].state == .dirty {
      cache.setState(frame, .frozen)
      frozen.append(FrozenNode(frame: frame, block: cache.frames[frame].block, bytes: bytes(frame)))
    }
    dirty.removeAll(keepingCapacity: true)
    dirtyCount = 0
    generation += 1
    return frozen
  }

  /// The frozen nodes are on disk: they may leave memory.
  func thaw(_ frozen: [FrozenNode]) {
    for node in frozen {
      if cache.frames[node.frame].state == .frozenObsolete {
        cache.remove(node.frame)
      } else {
        cache.setState(node.frame, .clean)
      }
    }
  }
}
