/// The leaves of the checkpoint that is being repaired, in key order: those the walk reaches, and those that only
/// lost their parent.
///
/// A block the chunk map marks used is reachable, by the format. So when a node on the way is damaged, a marked leaf
/// that is valid, of this checkpoint or an older one and with keys in the gap belongs there. What no leaf fills is lost.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct OldTree {
  struct Leaf {
    var block: BlockNumber
    var generation: UInt64
    var first: Key
    var last: Key
  }

  /// Without empty leaves; ascending and disjoint.
  private(set) var leaves: [Leaf] = []
  private(set) var chunks: MetadataChunks
  /// Nodes that hid records nobody could find again.
  private(set) var losses: [TreeWalk.Defect] = []
  /// Leaves whose parent was damaged: their blocks.
  private(set) var salvaged: Set<BlockNumber> = []
  /// Nodes that were damaged, of any level.
  private(set) var damagedNodes = 0
  /// Blocks met whose content is not what was written there.
  private(set) var condemned: Set<BlockNumber> = []

  init(_ reader: ImageReader, _ superblock: Superblock, progress: (UInt64, UInt64) -> Void) {
    var walk = TreeWalk(reader, superblock, MetadataChunks(reader, superblock))
    let total = walk.chunks.markedBlocks
    while let leaf = walk.nextLeaf() {
      if walk.visited % 512 == 0 { progress(walk.visited, total) }
      if let found = Self.leaf(leaf, at: walk.leafBlock) { leaves.append(found) }
    }
    chunks = walk.chunks
    damagedNodes = walk.defects.count
    guard damagedNodes > 0 else { return }
    condemned = Set(walk.defects.filter(\.isCondemned).map(\.block))
    salvage(walk, reader, superblock)
  }

  /// Whether `block` holds a node or a chunk-map block of this checkpoint.
  func isLive(_ block: BlockNumber) -> Bool {
    (chunks.state(of: block).isMet || salvaged.contains(block)) && !condemned.contains(block)
  }

  private static func leaf(_ node: UnsafeRawPointer, at block: BlockNumber) -> Leaf? {
    let count = BlockHeader.count(node)
    guard count > 0 else { return nil }
    return Leaf(
      block: block, generation: BlockHeader.generation(node), first: TreeNode.slotKey(node, 0),
      last: TreeNode.slotKey(node, count - 1))
  }

  private mutating func salvage(_ walk: TreeWalk, _ reader: ImageReader, _ superblock: Superblock) {
    var scan = MarkedNodes(reader, superblock)
    let reached = Set(leaves.map(\.block))
    for block in chunks.markedBlockNumbers where !reached.contains(block) && !condemned.contains(block) {
      scan.look(at: block, isMet: chunks.state(of: block).isMet)
    }
    let found = Self.disjoint(scan.leaves.filter { isInGap($0, walk.lost) })
    salvaged = Set(found.map(\.block))
    for defect in walk.defects {
      let filled = found.contains { leaf in leaf.first >= defect.lower && defect.upper.map { leaf.last < $0 } ?? true }
      // One child is one leaf. Below an internal node any number was: all are found when no marked block is left over.
      let isWhole = defect.level == 0 ? filled : scan.unusable == 0 && chunks.isComplete
      if !isWhole { losses.append(defect) }
    }
    leaves = (leaves + found).sorted { $0.first < $1.first }
  }

  /// Whether `leaf` fits between two leaves the walk reached, where something was lost.
  private func isInGap(_ leaf: Leaf, _ lost: LostRanges) -> Bool {
    let next = leaves.partitioningIndex { $0.first > leaf.first }
    if next > 0, leaves[next - 1].last >= leaf.first { return false }
    if next < leaves.count, leaves[next].first <= leaf.last { return false }
    let lower = next > 0 ? leaves[next - 1].last.successor : .minimum
    return lost.touches(lower, next < leaves.count ? leaves[next].first : .maximum)
  }

  /// In key order; of two that overlap the newer.
  private static func disjoint(_ found: [Leaf]) -> [Leaf] {
    var kept: [Leaf] = []
    for leaf in found.sorted(by: { ($0.first, $0.block) < ($1.first, $1.block) }) {
      if let last = kept.last, last.last >= leaf.first {
        if last.generation < leaf.generation { kept[kept.count - 1] = leaf }
      } else {
        kept.append(leaf)
      }
    }
    return kept
  }

  /// Looks at marked blocks the walk did not use.
  private struct MarkedNodes {
    private let reader: ImageReader
    private let superblock: Superblock
    private let buffer = AlignedBuffer(byteCount: Block.size)
    private(set) var leaves: [Leaf] = []
    /// Marked, met by nothing, and no node.
    private(set) var unusable = 0

    init(_ reader: ImageReader, _ superblock: Superblock) {
      self.reader = reader
      self.superblock = superblock
    }

    mutating func look(at block: BlockNumber, isMet: Bool) {
      guard reader.canRead(into: buffer.bytes, from: block), let base = buffer.bytes.baseAddress,
        BlockHeader.isValid(base, type: .node, id: superblock.id, address: block),
        BlockHeader.generation(base) <= superblock.generation, TreeNode.isSound(base)
      else {
        if !isMet { unusable += 1 }
        return
      }
      if BlockHeader.level(base) == 0, let leaf = OldTree.leaf(base, at: block) { leaves.append(leaf) }
    }
  }
}

extension TreeWalk.Defect {
  /// Only records a repair makes anew can have been there: free space, its index, quarantine, chunks.
  var holdsSpaceOnly: Bool {
    guard let upper else { return false }
    return Key(space: .free, object: 0, low: 0) <= lower && upper <= Key(space: .persistentSeal, object: 0, low: 0)
  }
}
