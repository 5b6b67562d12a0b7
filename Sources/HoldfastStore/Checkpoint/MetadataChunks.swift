/// Blocks for tree nodes: runs of blocks ("chunks") taken from free space, each with a bitmap.
///
/// Guarded by the store's tree lock. A block that the last durable checkpoint uses is reused only after the next one
/// is durable (`releaseAfterCheckpoint`); one that no checkpoint ever named is free at once (`release`). The bitmaps
/// a checkpoint writes (the chunk map) show what that checkpoint uses, not what memory still keeps for the older one.

import HoldfastBase
import HoldfastFormat

final class MetadataChunks {
  private struct Chunk {
    var blocks: BlockRange
    var words: [UInt64]
    var free: Int
    /// Takes nothing more: it is to be given back. Its free blocks are not counted.
    var isRetiring = false
  }

  private var chunks: [Chunk] = []
  private var cursor = 0
  private var released: [BlockNumber] = []
  /// Blocks of the chunk map of the last checkpoint.
  private var mapBlocks: [BlockNumber] = []

  /// Blocks that can be allocated now.
  private(set) var freeBlocks = 0
  /// Blocks of all chunks.
  private(set) var totalBlocks: UInt64 = 0
  /// Blocks that come free with the next checkpoint.
  var releasedBlocks: Int { released.count }

  /// Adds an empty chunk.
  func add(_ blocks: BlockRange) {
    let words = Int(blocks.count + 63) / 64
    let chunk = Chunk(blocks: blocks, words: [UInt64](repeating: 0, count: words), free: Int(blocks.count))
    chunks.insert(chunk, at: chunks.firstIndex { $0.blocks.start > blocks.start } ?? chunks.count)
    freeBlocks += chunk.free
    totalBlocks += blocks.count
    cursor = 0
  }

  func isChunk(startingAt block: BlockNumber) -> Bool {
    guard let index = index(of: block) else { return false }
    return chunks[index].blocks.start == block
  }

  func overlaps(_ range: BlockRange) -> Bool {
    var low = 0
    var high = chunks.count
    while low < high {
      let middle = (low + high) >> 1
      if chunks[middle].blocks.end <= range.start { low = middle + 1 } else { high = middle }
    }
    return low < chunks.count && chunks[low].blocks.overlaps(range)
  }

  private func index(of block: BlockNumber) -> Int? {
    var low = 0
    var high = chunks.count
    while low < high {
      let middle = (low + high) >> 1
      if chunks[middle].blocks.end <= block { low = middle + 1 } else { high = middle }
    }
    return low < chunks.count && chunks[low].blocks.contains(block) ? low : nil
  }

  /// A free block, in the lowest chunk that has one, so that the others empty and can be given back. The transaction's
  /// reservation promised that there is one.
  func allocate() -> BlockNumber {
    precondition(freeBlocks > 0, "metadata reservation was too small")
    while chunks[cursor].free == 0 || chunks[cursor].isRetiring { cursor += 1 }
    for word in chunks[cursor].words.indices where chunks[cursor].words[word] != .max {
      let bit = (~chunks[cursor].words[word]).trailingZeroBitCount
      let offset = word * 64 + bit
      guard offset < Int(chunks[cursor].blocks.count) else { break }
      chunks[cursor].words[word] |= 1 << UInt64(bit)
      chunks[cursor].free -= 1
      freeBlocks -= 1
      return chunks[cursor].blocks.start + UInt64(offset)
    }
    preconditionFailure("metadata chunk's free count is wrong")
  }

  /// A block was released twice: the tree names a node twice, which only a damaged image can.
  private(set) var inconsistentBlock: BlockNumber?

  /// True when `block` lies in a chunk and is marked used: every node the tree names must be.
  func isUsed(_ block: BlockNumber) -> Bool {
    guard let index = index(of: block) else { return false }
    let offset = Int(block - chunks[index].blocks.start)
    return chunks[index].words[offset / 64] & 1 << UInt64(offset % 64) != 0
  }

  /// Frees a block that no durable checkpoint uses.
  func release(_ block: BlockNumber) {
    guard let index = index(of: block), isUsed(block) else {
      inconsistentBlock = block
      return
    }
    let offset = Int(block - chunks[index].blocks.start)
    chunks[index].words[offset / 64] &= ~(1 << UInt64(offset % 64))
    chunks[index].free += 1
    if chunks[index].isRetiring { return }
    freeBlocks += 1
    cursor = min(cursor, index)
  }

  // MARK: Giving back

  /// Chunks in which neither this tree nor the last durable checkpoint has a block, the highest first: those that retire,
  /// and others as long as so many free blocks stay.
  func spareChunks(keeping kept: Int) -> [BlockRange] {
    var left = freeBlocks
    var spare: [BlockRange] = []
    for chunk in chunks.reversed() where chunk.free == Int(chunk.blocks.count) {
      if !chunk.isRetiring {
        guard left - chunk.free >= kept else { continue }
        left -= chunk.free
      }
      spare.append(chunk.blocks)
    }
    return spare
  }

  /// Forgets a chunk that is empty.
  func remove(_ blocks: BlockRange) {
    guard let index = index(of: blocks.start), chunks[index].blocks == blocks,
      chunks[index].free == Int(blocks.count)
    else { return }
    let removed = chunks.remove(at: index)
    if !removed.isRetiring { freeBlocks -= Int(blocks.count) }
    totalBlocks -= blocks.count
    cursor = 0
  }

  /// Frees a block when the checkpoint now being built is durable.
  func releaseAfterCheckpoint(_ block: BlockNumber) { released.append(block) }

  // MARK: Retiring

  /// Whether any chunk has blocks from `start` on.
  func reach(beyond start: BlockNumber) -> Bool { chunks.last.map { $0.blocks.end > start } ?? false }

  /// Blocks that can be allocated in chunks that end at `start` or before.
  func freeBlocks(below start: BlockNumber) -> Int {
    chunks.reduce(0) { $1.isRetiring || $1.blocks.end > start ? $0 : $0 + $1.free }
  }

  /// Blocks in use, by this tree or the last durable checkpoint, of chunks that reach beyond `start`.
  func usedBlocks(from start: BlockNumber) -> UInt64 {
    chunks.reduce(0) { $1.blocks.end > start ? $0 + $1.blocks.count - UInt64($1.free) : $0 }
  }

  /// Chunks that reach beyond `start` take nothing more.
  func retire(from start: BlockNumber) {
    for index in chunks.indices where chunks[index].blocks.end > start && !chunks[index].isRetiring {
      chunks[index].isRetiring = true
      freeBlocks -= chunks[index].free
    }
  }

  func isRetiring(_ block: BlockNumber) -> Bool { index(of: block).map { chunks[$0].isRetiring } ?? false }

  /// None retires any more.
  func reinstate() {
    for index in chunks.indices where chunks[index].isRetiring {
      chunks[index].isRetiring = false
      freeBlocks += chunks[index].free
    }
    cursor = 0
  }

  // MARK: The chunk map

  /// The chain's own blocks are marked used by it.
  var mapBlocksAreUsed: Bool { mapBlocks.allSatisfy { isUsed($0) } }

  /// Blocks a chunk map takes now.
  var mapBlockCount: Int { (chunks.count + ChunkMap.entriesPerBlock - 1) / ChunkMap.entriesPerBlock }

  struct FrozenMap: @unchecked Sendable {
    var blocks: [(block: BlockNumber, bytes: [UInt8])]
    /// What comes free when the checkpoint is durable.
    var released: [BlockNumber]
  }

  /// The chunk map of the checkpoint being frozen, of this generation.
  func freeze(id: FilesystemID, generation: UInt64) -> FrozenMap {
    let places = (0..<mapBlockCount).map { _ in allocate() }
    let freed = released + mapBlocks
    released.removeAll(keepingCapacity: true)
    mapBlocks = places
    // Show this checkpoint's view: without what only the older one uses.
    var view = chunks
    for block in freed {
      guard let index = index(of: block) else { continue }
      let offset = Int(block - view[index].blocks.start)
      view[index].words[offset / 64] &= ~(1 << UInt64(offset % 64))
    }
    var blocks: [(block: BlockNumber, bytes: [UInt8])] = []
    for (number, place) in places.enumerated() {
      let first = number * ChunkMap.entriesPerBlock
      let entries = view[first..<min(first + ChunkMap.entriesPerBlock, view.count)]
      var bytes = [UInt8](repeating: 0, count: Block.size)
      bytes.withUnsafeMutableBytes { buffer in
        let p = buffer.baseAddress!
        BlockHeader.write(
          to: p, type: .chunkMap, level: 0, count: UInt32(entries.count), id: id, address: place,
          generation: generation)
        p.put(number + 1 < places.count ? places[number + 1] : 0, 48)
        for (slot, chunk) in entries.enumerated() {
          let at = ChunkMap.headerBytes + slot * ChunkMap.entryBytes
          p.put(chunk.blocks.start, at)
          p.put(UInt32(chunk.blocks.count), at + 8)
          for (index, word) in chunk.words.enumerated() { p.put(word, at + 16 + index * 8) }
        }
        BlockHeader.seal(p)
      }
      blocks.append((place, bytes))
    }
    return FrozenMap(blocks: blocks, released: freed)
  }

  /// The checkpoint of `map` is durable.
  func thaw(_ map: FrozenMap) { for block in map.released { release(block) } }

  /// Reads a chunk-map block found at `block`; returns the next one's address, 0 at the end.
  /// - Throws: `.corrupt(.chunkMap…)` for entries outside `volume` or overlapping.
  func load(_ bytes: UnsafeRawPointer, at block: BlockNumber, volume: BlockRange) throws(FSError) -> BlockNumber {
    let count = BlockHeader.count(bytes)
    // A block without entries could be its own successor for ever.
    guard count > 0, count <= ChunkMap.entriesPerBlock else { throw .corrupt(structure: .chunkMap, block: block) }
    for slot in 0..<count {
      let (range, bitmap) = ChunkMap.entry(bytes, slot)
      guard range.count > 0, range.count <= UInt64(ChunkMap.bitmapBytes * 8), range.start >= volume.start,
        range.start < volume.end, range.end <= volume.end, !overlaps(range)
      else { throw .corrupt(structure: .chunkMap, block: block) }
      add(range)
      guard let index = index(of: range.start) else { throw .corrupt(structure: .chunkMap, block: block) }
      for word in chunks[index].words.indices {
        chunks[index].words[word] = bitmap.baseAddress!.u64(word * 8)
      }
      let tail = Int(range.count % 64)
      if tail != 0, chunks[index].words[chunks[index].words.count - 1] >> UInt64(tail) != 0 {
        throw .corrupt(structure: .chunkMap, block: block)
      }
      let used = chunks[index].words.reduce(0) { $0 + $1.nonzeroBitCount }
      chunks[index].free -= used
      freeBlocks -= used
    }
    mapBlocks.append(block)
    return ChunkMap.next(bytes)
  }
}
