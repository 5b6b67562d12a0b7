/// The superblock a repair goes by. Where both copies are fit but of two volumes, or of two sizes, the one whose root
/// is there; else the one a mount would take.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct SuperblockChoice {
  let superblock: Superblock
  /// 0 or 1.
  let copy: Int
  /// The copies are not of one volume.
  let isDecision: Bool
  /// The highest checkpoint number of any fit copy: a new one must be higher.
  let highestGeneration: UInt64

  /// nil when neither copy is fit.
  init?(_ reader: ImageReader) {
    let buffer = AlignedBuffer(byteCount: Block.size)
    guard let bytes = buffer.bytes.baseAddress else { return nil }
    var fit: [(copy: Int, superblock: Superblock)] = []
    for (copy, block) in Geometry.superblocks.enumerated() where reader.canRead(into: buffer.bytes, from: block) {
      if let found = Superblock(decoding: bytes, address: block), found.isConsistent { fit.append((copy, found)) }
    }
    // The first of the newest, as a mount chooses.
    guard let newest = fit.max(by: { $0.superblock.generation < $1.superblock.generation }) else { return nil }
    highestGeneration = newest.superblock.generation
    isDecision = fit.count == 2 && !fit[0].superblock.isOfSameVolume(as: fit[1].superblock)
    var chosen = newest
    if isDecision, !Self.hasRoot(newest.superblock, reader),
      let other = fit.first(where: { $0.copy != newest.copy && Self.hasRoot($0.superblock, reader) })
    {
      chosen = other
    }
    superblock = isDecision ? chosen.superblock : Superblock.newest(of: fit.map(\.superblock)) ?? chosen.superblock
    copy = chosen.copy
  }

  private static func hasRoot(_ superblock: Superblock, _ reader: ImageReader) -> Bool {
    let buffer = AlignedBuffer(byteCount: Block.size)
    let root = superblock.root
    guard reader.canRead(into: buffer.bytes, from: root.block), let bytes = buffer.bytes.baseAddress else {
      return false
    }
    return BlockHeader.isValid(bytes, type: .node, id: superblock.id, address: root.block)
      && BlockHeader.generation(bytes) == root.generation
  }
}
