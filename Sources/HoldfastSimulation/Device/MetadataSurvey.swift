/// Where the durable checkpoint of a volume keeps its metadata, read off the medium by the format alone. Faults strike
/// there and nowhere else: file contents carry no checksums, so nobody could tell.

import HoldfastBase
import HoldfastFormat

struct MetadataSurvey {
  /// Tree nodes and chunk-map blocks in use.
  private(set) var used: [BlockNumber] = []
  private(set) var chunks: [BlockRange] = []

  /// Nil when the volume's superblock or chunk map is not what it must be.
  init?(_ device: SimulatedDevice) {
    func block<Result>(_ number: BlockNumber, _ body: (UnsafeRawPointer) -> Result) -> Result {
      device.peek(at: number << UInt64(Block.shift), count: Block.size) { body($0.baseAddress!) }
    }
    let copies = Geometry.superblocks.compactMap { address in
      block(address) { Superblock(decoding: $0, address: address) }
    }
    guard let superblock = copies.max(by: { $0.generation < $1.generation }) else { return nil }
    var next = superblock.chunkMap
    for _ in 0..<superblock.chunkMapBlocks {
      let address = next
      guard address > 0, address < superblock.totalBlocks else { return nil }
      let isSound = block(address) { map in
        guard BlockHeader.isValid(map, type: .chunkMap, id: superblock.id, address: address) else { return false }
        for index in 0..<min(BlockHeader.count(map), ChunkMap.entriesPerBlock) {
          let (blocks, bitmap) = ChunkMap.entry(map, index)
          chunks.append(blocks)
          for bit in 0..<Int(blocks.count) where bitmap[bit / 8] >> (bit % 8) & 1 == 1 {
            used.append(blocks.start + UInt64(bit))
          }
        }
        next = ChunkMap.next(map)
        return true
      }
      guard isSound else { return nil }
    }
  }
}
