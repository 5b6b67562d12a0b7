/// Both superblock copies, and the one to go by: the valid one with the highest generation.
///
/// Copy 0 is written before copy 1 with a barrier between, so a crash can leave copy 0 exactly one generation
/// ahead and nothing else. All fields lie in the first 512 bytes: a device whose sectors are atomic never
/// leaves a torn copy, so an invalid copy is damage even after a crash.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct SuperblockCheck {
  var outcome = CheckReport.Outcome.complete
  var superblock: Superblock?

  init(_ reader: ImageReader) {
    var copies: [Superblock?] = []
    var marked = false
    let buffer = AlignedBuffer(byteCount: Block.size)
    for (copy, block) in Geometry.superblocks.enumerated() {
      guard reader.read(into: buffer.bytes, from: block), let bytes = buffer.bytes.baseAddress else {
        copies.append(nil)
        continue
      }
      if UnsafeRawPointer(bytes).u32(4) == BlockHeader.magic { marked = true }
      copies.append(Superblock(decoding: bytes, address: block))
      if let found = copies[copy], found.incompatible & ~Superblock.knownIncompatible != 0 {
        outcome = .incompatible(features: found.incompatible & ~Superblock.knownIncompatible)
      }
    }
    guard outcome == .complete else { return }
    guard marked else {
      outcome = .notAnImage
      return
    }
    for (copy, block) in Geometry.superblocks.enumerated() {
      guard let found = copies[copy] else {
        reader.log.report(.superblockInvalid(copy: copy, block: block))
        continue
      }
      if !found.isConsistent {
        reader.log.report(.superblockInconsistent(copy: copy, block: block))
        copies[copy] = nil
      }
    }
    compare(copies[0], copies[1], reader.log)
    superblock = Superblock.newest(of: [copies[0], copies[1]].compactMap { $0 })
    guard let superblock else {
      outcome = .unusable
      return
    }
    if reader.blocks < superblock.totalBlocks {
      reader.log.report(.imageTruncated(expectedBlocks: superblock.totalBlocks, actualBlocks: reader.blocks))
    }
  }

  private func compare(_ first: Superblock?, _ second: Superblock?, _ log: IssueLog) {
    guard let first, let second else { return }
    if first.id != second.id {
      log.report(.superblocksDisagree(field: .uuid))
    } else if first.totalBlocks != second.totalBlocks || first.journalBlocks != second.journalBlocks
      || first.hashSeed != second.hashSeed
    {
      log.report(.superblocksDisagree(field: .geometry))
    } else if first.generation == second.generation {
      // The errors bit is set in one copy after the other, and one of them may be past writing.
      var (first, second) = (first, second)
      first.state.remove(.errors)
      second.state.remove(.errors)
      if first != second { log.report(.superblocksDisagree(field: .contents)) }
    } else if first.generation < second.generation {
      log.report(.superblockStale(copy: 0, generation: first.generation, newest: second.generation))
    } else if first.generation - second.generation > 1 {
      log.report(.superblockStale(copy: 1, generation: second.generation, newest: first.generation))
    }
  }
}
