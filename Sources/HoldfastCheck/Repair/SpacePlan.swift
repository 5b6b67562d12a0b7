/// Where everything lies in the repaired volume: files' blocks, the new tree, copies, and free space for the rest.
/// Nothing of it is taken from the old records of free space, quarantine or chunks: quarantine is free at the next mount
/// anyway, since no holder outlives one.

import HoldfastBase
import HoldfastFormat

struct SpacePlan {
  /// Blocks for the new tree and the chunks that stay.
  private(set) var metadata: MetadataSpace
  private(set) var clones: Clones
  /// Free extents of the repaired volume, merged.
  private(set) var free: [BlockRange]

  /// Decides who owns which blocks; nil when there is no room for a second tree.
  init?(_ survey: inout Survey, _ tree: OldTree, _ reader: ImageReader) {
    let superblock = survey.superblock
    let extents = ExtentPlan(&survey, tree)
    let volume = BlockRange(from: superblock.dataStart, to: superblock.totalBlocks)
    let unowned = [volume].subtracting(extents.owned)
    var space = MetadataSpace(tree.chunks, besides: extents.owned)
    // Until the superblocks name the new tree, nothing of the old one's places is overwritten, whoever they go to.
    let old =
      tree.chunks.chunks.map { BlockRange(start: $0.start, count: $0.count) } + survey.chunkRecords
      + tree.chunks.strays.map { BlockRange(start: $0, count: 1) }
      + tree.leaves.map { BlockRange(start: $0.block, count: 1) }
    var available = unowned.subtracting(old.merged())
    let nodes = Self.nodes(survey, contested: extents.contested.count, runs: unowned.count, chunks: space.ranges.count)
    guard space.reserve(nodes: nodes, volumeBlocks: superblock.totalBlocks, from: &available) else { return nil }
    clones = Clones(extents.contested, from: available, &survey, reader)
    metadata = space
    free = unowned.subtracting((space.ranges + clones.taken).merged())
  }

  /// Tree nodes the repaired volume takes at most.
  private static func nodes(_ survey: Survey, contested: Int, runs: Int, chunks: Int) -> UInt64 {
    let copies = contested * Clones.maximumPieces
    let putBytes =
      survey.edits.bytes.count + survey.edits.puts.count * TreeNode.slotBytes
      + copies * LeafPacking.need(ExtentRecord.size)
    var leaves = survey.packing.bound(with: survey.edits.puts.count + copies, bytes: putBytes)
    // Free space: what is nobody's now, cut by chunks and copies; by place and by length.
    let mostRuns = runs + chunks + copies + Int(leaves / Self.leastChunk) + 2
    var records = LeafPacking()
    let spaceBytes = mostRuns * (LeafPacking.need(LengthRecord.size) + LeafPacking.need(0))
    let chunkBytes = (mostRuns + chunks) * LeafPacking.need(LengthRecord.size)
    records.add(valueBytes: 0)
    leaves += records.bound(with: 0, bytes: spaceBytes + chunkBytes)
    return TreeLoader.nodes(leaves: leaves)
  }

  /// A new chunk is rarely shorter: what it cuts is counted by it.
  private static let leastChunk: UInt64 = 64
}
