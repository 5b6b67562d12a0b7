/// Growing and shrinking the volume under the stress. What the model knows does not change: files, seals, sealed maps.

import HoldfastBase
import HoldfastSeal
import HoldfastStore

extension StoreTarget {
  /// To this size or, where something is in the way, not at all.
  /// - Throws: what is neither done nor a reason that a volume may have.
  func resize(to byteCount: UInt64) throws(FSError) {
    let before = store.superblock.totalBlocks << UInt64(Block.shift)
    let report: ResizeReport
    do throws(FSError) {
      report =
        byteCount >= before
        // As background work, which recalls nobody: the model does not expect it to.
        ? try store.grow(to: byteCount) : try store.shrink(to: byteCount, by: .daemon)
    } catch {
      // Metadata blocks are short, or requests that give way only when asked.
      if error == .noSpace || error == .wouldBlock { return }
      throw error
    }
    let isAsSaid =
      report.outcome == .done
      ? report.byteCount == byteCount && device.byteCount >= byteCount
      : report.byteCount == before && report.smallestByteCount > byteCount
    guard isAsSaid, store.superblock.totalBlocks << UInt64(Block.shift) == report.byteCount else {
      throw .corrupt(structure: .superblock, block: 0)
    }
  }
}
