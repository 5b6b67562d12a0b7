/// Damage with structure: fields, keys, records, nodes, journal records and superblocks changed to values that lie on
/// edges, several at once, under checksums that are right again; and raw noise. Everything follows from the seed.
///
/// The parts of the tree are Mutator+Tree.swift, of the journal Mutator+Journal.swift.

import HoldfastBase
import HoldfastFormat
import HoldfastSimulation

struct Mutator {
  let memory: ImageMemory
  /// Of the golden image: earlier mutations may have changed what lies there.
  let structure: ImageStructure
  var random: SeededRandom
  /// One line a mutation.
  var notes: [String] = []
  /// The image's length after cutting.
  private(set) var byteCount: UInt64
  /// Numbers of the volume that lie on edges.
  private let landmarks: [UInt64]

  /// `bystander`: blocks that damage is to aim at.
  init(_ memory: ImageMemory, _ structure: ImageStructure, bystander: BlockRange, seed: UInt64) {
    self.memory = memory
    self.structure = structure
    random = SeededRandom(seed: seed)
    byteCount = memory.blocks << UInt64(Block.shift)
    let superblock = structure.superblock
    var landmarks: [UInt64] = [
      superblock.totalBlocks, superblock.dataStart, superblock.journalStart, superblock.journalBlocks,
      superblock.generation, superblock.nextInode, superblock.root.block, superblock.chunkMap,
      superblock.freeBlocks, superblock.journalSequence, RootDirectory.inode, Key.maximumObject, Key.maximumOffset,
      Limits.fileBytes, 1 << 51, UInt64(Limits.xattrValueBytes), UInt64(Limits.symlinkBytes), UInt64(Limits.links),
      bystander.start, bystander.start, bystander.start + 1, bystander.end,
    ]
    for chunk in structure.chunks { landmarks += [chunk.start, chunk.start + chunk.count] }
    landmarks += structure.leaves.prefix(4) + structure.internals.prefix(4)
    self.landmarks = landmarks
  }

  /// One to ten mutations.
  mutating func run() {
    let count = random.pick([1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 6, 10])
    for _ in 0..<count { mutate() }
  }

  private mutating func mutate() {
    switch random.below(100) {
    case 0..<10: superblockField()
    case 10..<17: chunkMapField()
    case 17..<24: nodeField()
    case 24..<32: childReference()
    case 32..<62: record()
    case 62..<70: moveRecord()
    case 70..<88: journal()
    case 88..<92: copyBlock()
    case 92..<98: noise()
    default: cut()
    }
  }

  // MARK: Values

  /// A number on an edge, near one, near `current`, or any.
  mutating func number(near current: UInt64) -> UInt64 {
    switch random.below(10) {
    case 0: return random.pick([0, 1, .max, .max - 1, UInt64(Int64.max), UInt64(Int64.max) + 1, 0xffff_ffff, 0xffff])
    case 1, 2: return random.pick(landmarks)
    case 3: return random.pick(landmarks) &+ UInt64(random.below(5)) &- 2
    case 4: return structure.superblock.dataStart + UInt64(random.below(Int(clampedVolume)))
    case 5: return current &+ UInt64(random.below(9)) &- 4
    case 6: return current ^ 1 << UInt64(random.below(64))
    case 7: return 1 << UInt64(random.below(64)) &- UInt64(random.below(2))
    case 8: return random.next()
    default: return random.next() >> UInt64(random.below(64))
    }
  }

  private var clampedVolume: UInt64 { structure.superblock.totalBlocks - structure.superblock.dataStart }

  /// Overwrites `width` bytes at `offset` with a number.
  mutating func change(_ p: UnsafeMutableRawPointer, _ offset: Int, _ width: Int) -> String {
    let old: UInt64
    switch width {
    case 1: old = UInt64(UnsafeRawPointer(p).u8(offset))
    case 2: old = UInt64(UnsafeRawPointer(p).u16(offset))
    case 4: old = UInt64(UnsafeRawPointer(p).u32(offset))
    default: old = UnsafeRawPointer(p).u64(offset)
    }
    let new = number(near: old)
    switch width {
    case 1: p.put(UInt8(truncatingIfNeeded: new), offset)
    case 2: p.put(UInt16(truncatingIfNeeded: new), offset)
    case 4: p.put(UInt32(truncatingIfNeeded: new), offset)
    default: p.put(new, offset)
    }
    return "+\(offset)/\(width): \(String(old, radix: 16)) -> \(String(new, radix: 16))"
  }

  // MARK: Head

  private static let superblockFields: [(offset: Int, width: Int)] =
    [(10, 2), (12, 4), (16, 8), (40, 8), (128, 4), (132, 4), (240, 8)]
    + stride(from: 56, to: 128, by: 8).map { ($0, 8) } + stride(from: 136, to: 240, by: 8).map { ($0, 8) }

  /// Both copies alike, or one of them.
  private mutating func superblockField() {
    let (offset, width) = random.pick(Self.superblockFields)
    let kept = random
    let copies = random.oneIn(3) ? [random.pick(Geometry.superblocks)] : Geometry.superblocks
    var after = random
    for address in copies {
      // The same value for both.
      random = kept
      let block = memory.changing(address)
      notes.append("superblock \(address) \(change(block, offset, width))")
      BlockHeader.seal(block)
      after = random
    }
    random = after
    _ = random.next()
  }

  /// Both superblock copies say that there is a journal to replay.
  mutating func clearClean() {
    for address in Geometry.superblocks {
      let block = memory.changing(address)
      block.put(UnsafeRawPointer(block).u32(132) & ~Superblock.State.clean.rawValue, 132)
      BlockHeader.seal(block)
    }
  }

  private mutating func chunkMapField() {
    guard !structure.chain.isEmpty else { return }
    let address = random.pick(structure.chain)
    let map = memory.changing(address)
    let entries = min(max(BlockHeader.count(map), 1), ChunkMap.entriesPerBlock)
    let entry = ChunkMap.headerBytes + random.below(entries) * ChunkMap.entryBytes
    switch random.below(8) {
    case 0: notes.append("chunk map \(address) count \(change(map, 12, 4))")
    case 1: notes.append("chunk map \(address) next \(change(map, 48, 8))")
    case 2: notes.append("chunk map \(address) generation \(change(map, 40, 8))")
    case 3: notes.append("chunk map \(address) start \(change(map, entry, 8))")
    case 4: notes.append("chunk map \(address) blocks \(change(map, entry + 8, 4))")
    case 5:
      // One more entry, like the first or overlapping it.
      let to = map + ChunkMap.headerBytes + min(entries, ChunkMap.entriesPerBlock - 1) * ChunkMap.entryBytes
      to.copyMemory(from: map + entry, byteCount: ChunkMap.entryBytes)
      map.put(UInt32(min(entries + 1, ChunkMap.entriesPerBlock)), 12)
      notes.append("chunk map \(address) entry again \(random.oneIn(2) ? change(to, 0, 8) : "")")
    case 6:
      for _ in 0...random.below(20) {
        let at = entry + 16 + random.below(ChunkMap.bitmapBytes)
        map.put(UnsafeRawPointer(map).u8(at) ^ 1 << UInt8(random.below(8)), at)
      }
      notes.append("chunk map \(address) bits flipped")
    default:
      let fill = UInt8(random.oneIn(2) ? 0xff : 0)
      for at in 0..<ChunkMap.bitmapBytes { map.put(fill, entry + 16 + at) }
      notes.append("chunk map \(address) bitmap all \(fill)")
    }
    BlockHeader.seal(map)
  }

  // MARK: Without structure

  private var metadata: [BlockNumber] {
    Geometry.superblocks + structure.chain + structure.leaves + structure.internals
      + structure.journal.map { structure.superblock.journalStart + $0.position }
  }

  /// A metadata block in another's place, with or without the right address, or zeros.
  private mutating func copyBlock() {
    let target = random.pick(metadata)
    let source = random.pick(metadata)
    let block = memory.changing(target)
    if random.oneIn(4) {
      block.initializeMemory(as: UInt8.self, repeating: 0, count: Block.size)
      notes.append("block \(target) zeroed")
      return
    }
    if source != target { block.copyMemory(from: memory.block(source), byteCount: Block.size) }
    if random.oneIn(2) { block.put(target, 32) }
    BlockHeader.seal(block)
    notes.append("block \(target) is a copy of \(source)")
  }

  /// Bits and bytes anywhere in the metadata; half of the time under a right checksum.
  private mutating func noise() {
    let target = random.pick(metadata)
    let block = memory.changing(target)
    let sealed = random.oneIn(2)
    if random.oneIn(2) {
      let at = random.below(Block.size)
      block.put(UnsafeRawPointer(block).u8(at) ^ 1 << UInt8(random.below(8)), at)
      notes.append("block \(target) bit flipped in byte \(at), sealed \(sealed)")
    } else {
      let from = random.below(Block.size)
      let count = 1 + random.below(min(Block.size - from, random.pick([4, 64, 512, 4096])))
      for at in from..<from + count { block.put(UInt8(truncatingIfNeeded: random.next()), at) }
      notes.append("block \(target) noise in \(from)..<\(from + count), sealed \(sealed)")
    }
    if sealed { BlockHeader.seal(block) }
  }

  private mutating func cut() {
    let whole = memory.blocks << UInt64(Block.shift)
    let blocks = UInt64(random.below(Int(memory.blocks)))
    byteCount = random.oneIn(3) ? UInt64(random.below(Int(whole))) : blocks << UInt64(Block.shift)
    notes.append("cut to \(byteCount) bytes")
  }
}
