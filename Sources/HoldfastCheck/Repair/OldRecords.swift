/// The records of the volume as the next mount would see them: the old tree's, changed as the journal says.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct OldRecords {
  private let device: BlockDevice
  private let id: FilesystemID
  private let leaves: [OldTree.Leaf]
  private let overlay: Overlay
  private let buffer = AlignedBuffer(byteCount: Block.size)
  /// Of `value(of:)`, which may be called while `visit` runs.
  private let lookupBuffer = AlignedBuffer(byteCount: Block.size)

  init(_ device: BlockDevice, _ superblock: Superblock, _ tree: OldTree, _ overlay: Overlay) {
    self.device = device
    id = superblock.id
    leaves = tree.leaves
    self.overlay = overlay
  }

  /// Leaves there are, for progress.
  var leafCount: UInt64 { UInt64(leaves.count) }

  /// Every record in key order. `value` is good for the call. `progress` hears of every leaf.
  /// - Throws: device errors, and `.corrupt` when a leaf is no longer what it was.
  func visit(
    progress: (UInt64) -> Void = { _ in },
    _ body: (_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) -> Void
  ) throws(FSError) {
    var merge = overlay.merge()
    for (index, leaf) in leaves.enumerated() {
      progress(UInt64(index))
      try merge.take(try load(leaf, into: buffer), body)
    }
    try merge.finish(body)
  }

  /// The value of `key`; nil when there is no such record.
  func value(of key: Key) throws(FSError) -> [UInt8]? {
    let changes = overlay.mutations
    let index = changes.partitioningIndex { $0.key >= key }
    if index < changes.count, changes[index].key == key { return changes[index].value.map { [UInt8]($0) } }
    guard let leaf = leaf(for: key) else { return nil }
    let node = try load(leaf, into: lookupBuffer)
    for slot in 0..<BlockHeader.count(node) where TreeNode.slotKey(node, slot) == key {
      return [UInt8](TreeNode.value(node, slot))
    }
    return nil
  }

  /// The greatest inode number below `limit` that any record of a file bears, 0 when there is none.
  func greatestInode(below limit: InodeNumber) throws(FSError) -> InodeNumber {
    let end = Key(high: limit, low: 0)
    var greatest = overlay.mutations.last { $0.value != nil && $0.key < end }?.key.high ?? 0
    for leaf in leaves.reversed() where leaf.first < end {
      let node = try load(leaf, into: lookupBuffer)
      for slot in 0..<BlockHeader.count(node) where TreeNode.slotKey(node, slot) < end {
        greatest = max(greatest, TreeNode.slotKey(node, slot).high)
      }
      break
    }
    return greatest
  }

  private func leaf(for key: Key) -> OldTree.Leaf? {
    let index = leaves.partitioningIndex { $0.last >= key }
    return index < leaves.count && leaves[index].first <= key ? leaves[index] : nil
  }

  private func load(_ leaf: OldTree.Leaf, into buffer: AlignedBuffer) throws(FSError) -> UnsafeRawPointer {
    try device.read(into: buffer.bytes, at: leaf.block << UInt64(Block.shift))
    guard let base = buffer.bytes.baseAddress,
      BlockHeader.isValid(base, type: .node, id: id, address: leaf.block),
      BlockHeader.generation(base) == leaf.generation, BlockHeader.level(base) == 0, TreeNode.isSound(base)
    else { throw .corrupt(structure: .treeNode, block: leaf.block) }
    return UnsafeRawPointer(base)
  }
}
