/// Walks the checkpoint's tree in key order with an explicit stack, one node buffer a level, and hands out
/// its leaves. Every node handed out or descended into is valid, of the generation its parent names, sound,
/// within its parent's keys and met for the first time. What is not is an issue; the keys it may hold are `lost`.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct TreeWalk {
  private struct Frame {
    var level: Int
    var count: Int
    var next: Int
    var upper: Key?
  }

  /// A child that cannot be used, and the keys it would have held.
  struct Defect {
    var block: BlockNumber
    /// 0: a leaf was wanted.
    var level: Int
    var lower: Key
    /// nil: to the end.
    var upper: Key?
    /// What stands in the block is not what was written there: nothing of it may be believed.
    var isCondemned: Bool
  }

  private(set) var lost = LostRanges()
  private(set) var defects: [Defect] = []
  /// Where the leaf handed out last stands.
  private(set) var leafBlock: BlockNumber = 0
  private(set) var visited: UInt64 = 0
  /// Metadata blocks the checkpoint uses, and which of them were met.
  var chunks: MetadataChunks

  private let reader: ImageReader
  private let superblock: Superblock
  private let nodes: AlignedBuffer
  private var frames: [Frame] = []
  private var started = false

  init(_ reader: ImageReader, _ superblock: Superblock, _ chunks: MetadataChunks) {
    self.reader = reader
    self.superblock = superblock
    self.chunks = chunks
    nodes = AlignedBuffer(byteCount: (Int(TreeNode.maximumLevel) + 1) * Block.size)
  }

  /// The buffer of the node being visited at `level`, 0...maximumLevel.
  private func node(_ level: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: nodes.bytes[level * Block.size..<(level + 1) * Block.size])
  }

  /// The next leaf in key order, valid until the next call; nil at the end.
  mutating func nextLeaf() -> UnsafeRawPointer? {
    if !started {
      started = true
      // isConsistent bounds rootLevel.
      if let leaf = enter(superblock.root, level: Int(superblock.rootLevel), lower: .minimum, upper: nil) {
        return leaf
      }
    }
    while let frame = frames.last {
      guard frame.next < frame.count, let base = node(frame.level).baseAddress else {
        frames.removeLast()
        continue
      }
      frames[frames.count - 1].next += 1
      let upper = frame.next + 1 < frame.count ? TreeNode.entryKey(base, frame.next + 1) : frame.upper
      let child = TreeNode.child(base, frame.next)
      if let leaf = enter(child, level: frame.level - 1, lower: TreeNode.entryKey(base, frame.next), upper: upper) {
        return leaf
      }
    }
    return nil
  }

  /// Reads and checks a node: returns a leaf, pushes an internal node, or gives up its keys.
  private mutating func enter(_ child: NodeReference, level: Int, lower: Key, upper: Key?) -> UnsafeRawPointer? {
    let buffer = node(level)
    guard let base = buffer.baseAddress else { return nil }
    if let issue = defect(of: child, level: level, lower: lower, upper: upper, buffer) {
      lost.append(lower: lower, upper: upper)
      defects.append(
        Defect(block: child.block, level: level, lower: lower, upper: upper, isCondemned: issue.condemnsContent))
      reader.log.report(issue)
      return nil
    }
    visited += 1
    if level == 0 {
      leafBlock = child.block
      return UnsafeRawPointer(base)
    }
    frames.append(Frame(level: level, count: BlockHeader.count(base), next: 0, upper: upper))
    return nil
  }

  private mutating func defect(
    of child: NodeReference, level: Int, lower: Key, upper: Key?, _ buffer: UnsafeMutableRawBufferPointer
  ) -> CheckIssue? {
    let block = child.block
    guard block >= superblock.dataStart, block < superblock.totalBlocks else { return .nodeOutOfBounds(block: block) }
    guard chunks.visit(block, reader.log) == .first else { return .nodeVisitedTwice(block: block) }
    guard reader.read(into: buffer, from: block), let base = buffer.baseAddress,
      BlockHeader.isValid(base, type: .node, id: superblock.id, address: block)
    else { return .nodeInvalid(block: block) }
    let node = UnsafeRawPointer(base)
    let generation = BlockHeader.generation(node)
    guard generation == child.generation, generation <= superblock.generation else {
      return .nodeGeneration(block: block, expected: min(child.generation, superblock.generation), found: generation)
    }
    guard Int(BlockHeader.level(node)) == level else {
      return .nodeLevel(block: block, expected: UInt32(level), found: UInt32(BlockHeader.level(node)))
    }
    guard TreeNode.isSound(node) else { return .nodeUnsound(block: block) }
    let count = BlockHeader.count(node)
    guard count > 0 else { return nil }
    let first = level == 0 ? TreeNode.slotKey(node, 0) : TreeNode.entryKey(node, 0)
    let last = level == 0 ? TreeNode.slotKey(node, count - 1) : TreeNode.entryKey(node, count - 1)
    if first < lower { return .nodeKeysOutOfBounds(block: block) }
    if let upper, !(last < upper) { return .nodeKeysOutOfBounds(block: block) }
    return nil
  }
}

extension CheckIssue {
  /// A node that is sound but not where its parent wants it may still be another parent's.
  fileprivate var condemnsContent: Bool {
    switch self {
    case .nodeKeysOutOfBounds, .nodeVisitedTwice: false
    default: true
    }
  }
}
