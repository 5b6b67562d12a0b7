/// Blocks for the new tree: those of the old chunks the old checkpoint does not use, and new chunks out of space that
/// is nobody's. What the old checkpoint uses comes free by the superblocks alone.

import HoldfastBase
import HoldfastFormat

struct MetadataSpace {
  private struct Chunk {
    var blocks: BlockRange
    /// Not to be written to before the superblocks are.
    var busy: [UInt64]
    var used = [UInt64](repeating: 0, count: ChunkMap.bitmapBytes / 8)
  }

  /// Blocks the volume should find free afterwards, beside a quarter of those used: its next mount copies nodes
  /// before it can ask for chunks.
  private static let headroom: UInt64 = 128
  private static let smallestChunk: UInt64 = 64
  private static let leastUsualChunk: UInt64 = 256

  private var chunks: [Chunk] = []
  private(set) var freeBlocks: UInt64 = 0
  private var cursor = (chunk: 0, bit: 0 as UInt64)
  /// Chain blocks, kept for the map.
  private(set) var mapBlocks: [BlockNumber] = []

  /// The chunks that stay, ascending.
  var ranges: [BlockRange] { chunks.map(\.blocks) }

  /// Keeps the old chunks that no file has blocks in.
  init(_ old: MetadataChunks, besides owned: [BlockRange]) {
    for chunk in old.chunks {
      let blocks = BlockRange(start: chunk.start, count: chunk.count)
      if !owned.overlap(blocks) { add(blocks, busy: old.busyWords(of: chunk)) }
    }
  }

  private mutating func add(_ blocks: BlockRange, busy: [UInt64]) {
    let used = busy.reduce(0) { $0 + UInt64($1.nonzeroBitCount) }
    chunks.append(Chunk(blocks: blocks, busy: busy))
    freeBlocks += blocks.count - used
  }

  /// Chunk-map blocks for the chunks there are.
  private static func mapBlocks(_ chunks: Int) -> UInt64 {
    UInt64((chunks + ChunkMap.entriesPerBlock - 1) / ChunkMap.entriesPerBlock)
  }

  /// Makes sure of `nodes` blocks and the chunk map, taking chunks out of `available`; false when there is no room.
  mutating func reserve(nodes: UInt64, volumeBlocks: UInt64, from available: inout [BlockRange]) -> Bool {
    let usual = min(max(volumeBlocks / 64 / 64 * 64, Self.leastUsualChunk), Geometry.chunkBlocks)
    let wanted = nodes + nodes / 4 + Self.headroom
    var runs = available.sorted { ($1.count, $0.start) < ($0.count, $1.start) }
    var index = 0
    while index < runs.count {
      let map = Self.mapBlocks(chunks.count + 1)
      let isUrgent = freeBlocks < nodes + map
      if freeBlocks >= wanted + map { break }
      let usable = runs[index].count >= Self.smallestChunk ? runs[index].count / 64 * 64 : runs[index].count
      if runs[index].isEmpty || (!isUrgent && usable < Self.smallestChunk) {
        index += 1
        continue
      }
      let chunk = BlockRange(start: runs[index].start, count: min(usable, usual))
      runs[index] = BlockRange(from: chunk.end, to: runs[index].end)
      add(chunk, busy: [UInt64](repeating: 0, count: ChunkMap.bitmapBytes / 8))
    }
    let map = Self.mapBlocks(chunks.count)
    guard freeBlocks >= nodes + map else { return false }
    available = runs.filter { !$0.isEmpty }.sorted { $0.start < $1.start }
    chunks.sort { $0.blocks.start < $1.blocks.start }
    for _ in 0..<map { if let block = allocate() { mapBlocks.append(block) } }
    return true
  }

  /// A block for a node; nil when none is left.
  mutating func allocate() -> BlockNumber? {
    while cursor.chunk < chunks.count {
      let blocks = chunks[cursor.chunk].blocks
      while cursor.bit < blocks.count {
        let bit = cursor.bit
        cursor.bit += 1
        let word = Int(bit >> 6)
        let mask: UInt64 = 1 << (bit & 63)
        if chunks[cursor.chunk].busy[word] & mask != 0 { continue }
        chunks[cursor.chunk].used[word] |= mask
        freeBlocks -= 1
        return blocks.start + bit
      }
      cursor = (cursor.chunk + 1, 0)
    }
    return nil
  }

  /// The chunk map of checkpoint `generation`: its blocks in chain order.
  func encodeMap(id: FilesystemID, generation: UInt64) -> [(block: BlockNumber, bytes: [UInt8])] {
    mapBlocks.enumerated().map { number, place in
      let first = number * ChunkMap.entriesPerBlock
      let entries = chunks[min(first, chunks.count)..<min(first + ChunkMap.entriesPerBlock, chunks.count)]
      var bytes = [UInt8](repeating: 0, count: Block.size)
      bytes.withUnsafeMutableBytes { buffer in
        guard let p = buffer.baseAddress else { return }
        BlockHeader.write(
          to: p, type: .chunkMap, level: 0, count: UInt32(entries.count), id: id, address: place,
          generation: generation)
        p.put(number + 1 < mapBlocks.count ? mapBlocks[number + 1] : 0, 48)
        for (slot, chunk) in entries.enumerated() {
          let at = ChunkMap.headerBytes + slot * ChunkMap.entryBytes
          p.put(chunk.blocks.start, at)
          p.put(UInt32(chunk.blocks.count), at + 8)
          for (index, word) in chunk.used.enumerated() { p.put(word, at + 16 + index * 8) }
        }
        BlockHeader.seal(p)
      }
      return (place, bytes)
    }
  }
}
