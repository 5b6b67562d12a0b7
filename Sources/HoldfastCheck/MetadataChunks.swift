/// The metadata chunks of a checkpoint: its chunk map, and which of the marked blocks the check has met.
///
/// Chunks are kept sorted by first block in flat arrays; each has 1,024 bits "marked" and as many "met".

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct MetadataChunks {
  private static let words = ChunkMap.bitmapBytes / 8

  struct Chunk {
    var start: BlockNumber
    var count: UInt64
    /// Index of the first bitmap word.
    var words: Int
  }

  private(set) var chunks: [Chunk] = []
  private var marked: [UInt64] = []
  private var met: [UInt64] = []
  /// Every block of the chain could be read and every entry is sound: what is missing here is missing indeed.
  private(set) var isComplete = true

  enum Visit { case first, again }

  var blocks: UInt64 { chunks.reduce(0) { $0 + $1.count } }
  var markedBlocks: UInt64 { marked.reduce(0) { $0 + UInt64($1.nonzeroBitCount) } }

  init(_ reader: ImageReader, _ superblock: Superblock) {
    let chain = readChain(reader, superblock)
    sortChunks(reader.log)
    for block in chain { _ = visit(block, reader.log) }
  }

  /// Marks `block` as met; issues when it lies in no chunk or is not marked used.
  mutating func visit(_ block: BlockNumber, _ log: IssueLog) -> Visit {
    guard let chunk = find(block) else {
      if isComplete { log.report(.metadataOutsideChunks(block: block)) }
      return strays.insert(block).inserted ? .first : .again
    }
    let bit = Int(block - chunk.start)
    let word = chunk.words + bit >> 6
    let mask: UInt64 = 1 << UInt64(bit & 63)
    if met[word] & mask != 0 { return .again }
    met[word] |= mask
    if marked[word] & mask == 0 { log.report(.metadataNotMarked(block: block)) }
    return .first
  }

  /// Blocks met that lie in no chunk.
  private(set) var strays: Set<BlockNumber> = []

  /// What is known of a block: marked used by the chunk map, met by the check.
  func state(of block: BlockNumber) -> (isMarked: Bool, isMet: Bool) {
    guard let chunk = find(block) else { return (false, strays.contains(block)) }
    let bit = Int(block - chunk.start)
    let mask: UInt64 = 1 << UInt64(bit & 63)
    return (marked[chunk.words + bit >> 6] & mask != 0, met[chunk.words + bit >> 6] & mask != 0)
  }

  /// A chunk's bitmap, `ChunkMap.bitmapBytes / 8` words: what is marked or met.
  func busyWords(of chunk: Chunk) -> [UInt64] {
    (chunk.words..<chunk.words + Self.words).map { marked[$0] | met[$0] }
  }

  /// Every block marked used, ascending.
  var markedBlockNumbers: [BlockNumber] {
    var blocks: [BlockNumber] = []
    for chunk in chunks {
      for bit in 0..<chunk.count where marked[chunk.words + Int(bit >> 6)] >> (bit & 63) & 1 != 0 {
        blocks.append(chunk.start + bit)
      }
    }
    return blocks
  }

  /// Reports runs of marked blocks nothing met.
  func reportLeaks(_ log: IssueLog) {
    for chunk in chunks {
      var run: UInt64 = 0
      for bit in 0..<chunk.count + 1 {
        let leaked: Bool
        if bit < chunk.count {
          let word = chunk.words + Int(bit >> 6)
          leaked = (marked[word] & ~met[word]) >> (bit & 63) & 1 != 0
        } else {
          leaked = false
        }
        if leaked {
          run += 1
        } else if run > 0 {
          log.report(.metadataLeaked(start: chunk.start + bit - run, count: run))
          run = 0
        }
      }
    }
  }

  private func find(_ block: BlockNumber) -> Chunk? {
    let next = chunks.partitioningIndex { $0.start > block }
    guard next > 0, block - chunks[next - 1].start < chunks[next - 1].count else { return nil }
    return chunks[next - 1]
  }
}

extension MetadataChunks {
  /// Follows the chain and collects its chunks; returns the chain's own blocks.
  private mutating func readChain(_ reader: ImageReader, _ superblock: Superblock) -> [BlockNumber] {
    let buffer = AlignedBuffer(byteCount: Block.size)
    guard let base = buffer.bytes.baseAddress else { return [] }
    let node = UnsafeRawPointer(base)
    var chain: [BlockNumber] = []
    var seen: Set<BlockNumber> = []
    var block = superblock.chunkMap
    while block != 0 {
      guard block >= superblock.dataStart, block < superblock.totalBlocks else {
        return abandon(chain, .chunkMapOutOfBounds(block: block), reader.log)
      }
      guard seen.insert(block).inserted else { return abandon(chain, .chunkMapCycle(block: block), reader.log) }
      guard reader.read(into: buffer.bytes, from: block),
        BlockHeader.isValid(node, type: .chunkMap, id: superblock.id, address: block),
        BlockHeader.generation(node) == superblock.generation,
        (1...ChunkMap.entriesPerBlock).contains(BlockHeader.count(node))
      else { return abandon(chain, .chunkMapInvalid(block: block), reader.log) }
      chain.append(block)
      for index in 0..<BlockHeader.count(node) {
        let entry = ChunkMap.entry(node, index)
        take(entry.blocks, entry.bitmap, superblock, reader.log)
      }
      block = ChunkMap.next(node)
    }
    if UInt64(chain.count) != superblock.chunkMapBlocks {
      reader.log.report(.chunkMapLength(recorded: superblock.chunkMapBlocks, found: UInt64(chain.count)))
    }
    return chain
  }

  private mutating func abandon(_ chain: [BlockNumber], _ issue: CheckIssue, _ log: IssueLog) -> [BlockNumber] {
    isComplete = false
    log.report(issue)
    return chain
  }

  private mutating func take(
    _ blocks: BlockRange, _ bitmap: UnsafeRawBufferPointer, _ superblock: Superblock, _ log: IssueLog
  ) {
    guard blocks.count >= 1, blocks.count <= Geometry.chunkBlocks, blocks.start >= superblock.dataStart,
      blocks.start < superblock.totalBlocks, blocks.count <= superblock.totalBlocks - blocks.start
    else {
      isComplete = false
      log.report(.chunkInvalid(start: blocks.start, count: blocks.count))
      return
    }
    chunks.append(Chunk(start: blocks.start, count: blocks.count, words: marked.count))
    var excess = false
    for word in 0..<UInt64(Self.words) {
      let bits = UInt64(littleEndian: bitmap.loadUnaligned(fromByteOffset: Int(word) * 8, as: UInt64.self))
      let inside = blocks.count >= (word + 1) * 64 ? 64 : blocks.count > word * 64 ? blocks.count - word * 64 : 0
      let mask: UInt64 = inside == 64 ? .max : (1 << inside) - 1
      if bits & ~mask != 0 { excess = true }
      marked.append(bits & mask)
      met.append(0)
    }
    if excess { log.report(.chunkBitsBeyondEnd(start: blocks.start)) }
  }

  private mutating func sortChunks(_ log: IssueLog) {
    var sound: [Chunk] = []
    for chunk in chunks.sorted(by: { $0.start < $1.start }) {
      if let last = sound.last, chunk.start - last.start < last.count {
        isComplete = false
        log.report(.chunksOverlap(start: chunk.start, other: last.start))
      } else {
        sound.append(chunk)
      }
    }
    chunks = sound
  }
}
