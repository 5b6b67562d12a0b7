/// The superblock: the root of a checkpoint. Two copies (`Geometry.superblocks`), written one after the
/// other with a barrier between; the valid one with the highest generation wins. Nothing of an older
/// checkpoint is reused before both copies name the newer one.
///
///     offset size field
///          0   48 block header (type 1; generation = checkpoint number)
///         48    8 reserved, zero
///         56    8 compatible features (unknown: ignore)
///         64    8 read-only-compatible features (unknown: mount read-only)
///         72    8 incompatible features (unknown: refuse)
///         80    8 total blocks
///         88    8 journal start, block
///         96    8 journal length, blocks
///        104    8 first block behind the journal
///        112    8 root node, block
///        120    8 root node's generation
///        128    4 root node's level
///        132    4 state: bit 0 clean (journal empty, no orphans), bit 1 errors seen
///        136    8 sequence of the first journal record not in this checkpoint
///        144    8 its position, block within the ring
///        152    8 first chunk-map block
///        160    8 chunk-map blocks
///        168    8 mount count
///        176    8 next inode number
///        184    8 free blocks (free records; quarantine not included)
///        192    8 quarantined blocks
///        200    8 inodes
///        208    8 seed of name hashes
///        216    8 creation time, seconds since 1970
///        224    8 last mount, 232 last checkpoint, likewise
///        240   64 label, UTF-8, NUL-padded
///        304      zero up to 4096

import HoldfastBase

public struct Superblock: Equatable, Sendable {
  public var id: FilesystemID
  public var generation: UInt64
  public var compatible: UInt64 = 0
  public var readOnlyCompatible: UInt64 = 0
  public var incompatible: UInt64 = 0
  public var totalBlocks: UInt64
  public var journalStart: BlockNumber
  public var journalBlocks: UInt64
  public var dataStart: BlockNumber
  public var root: NodeReference
  public var rootLevel: UInt32
  public var state: State
  public var journalSequence: UInt64
  public var journalPosition: UInt64
  public var chunkMap: BlockNumber
  public var chunkMapBlocks: UInt64
  public var mountCount: UInt64
  public var nextInode: InodeNumber
  public var freeBlocks: UInt64
  public var quarantinedBlocks: UInt64
  public var inodeCount: UInt64
  public var hashSeed: UInt64
  public var createdSeconds: Int64
  public var mountedSeconds: Int64
  public var writtenSeconds: Int64
  public var label: String

  public struct State: OptionSet, Equatable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let clean = State(rawValue: 1)
    public static let errors = State(rawValue: 2)
  }

  /// Incompatible features this code knows: none yet.
  public static let knownIncompatible: UInt64 = 0
  public static let knownReadOnlyCompatible: UInt64 = 0
  public static let labelBytes = 64
  /// A volume has fewer blocks: its bytes are numbered by 63 bits.
  public static let totalBlocksLimit: UInt64 = 1 << 51

  public init(id: FilesystemID, totalBlocks: UInt64, journalBlocks: UInt64, hashSeed: UInt64, label: String, now: Int64)
  {
    self.id = id
    generation = 0
    self.totalBlocks = totalBlocks
    journalStart = Geometry.journalStart
    self.journalBlocks = journalBlocks
    dataStart = Geometry.journalStart + journalBlocks
    root = NodeReference(block: 0, generation: 0)
    rootLevel = 0
    state = []
    journalSequence = 1
    journalPosition = 0
    chunkMap = 0
    chunkMapBlocks = 0
    mountCount = 0
    nextInode = RootDirectory.firstOrdinaryInode
    freeBlocks = 0
    quarantinedBlocks = 0
    inodeCount = 0
    self.hashSeed = hashSeed
    createdSeconds = now
    mountedSeconds = 0
    writtenSeconds = now
    self.label = label
  }

  /// Encodes the copy that lives at `address` into a zeroed block.
  public func encode(to block: UnsafeMutableRawPointer, address: BlockNumber) {
    BlockHeader.write(
      to: block, type: .superblock, level: 0, count: 0, id: id, address: address, generation: generation)
    block.put(compatible, 56)
    block.put(readOnlyCompatible, 64)
    block.put(incompatible, 72)
    block.put(totalBlocks, 80)
    block.put(journalStart, 88)
    block.put(journalBlocks, 96)
    block.put(dataStart, 104)
    block.put(root.block, 112)
    block.put(root.generation, 120)
    block.put(rootLevel, 128)
    block.put(state.rawValue, 132)
    block.put(journalSequence, 136)
    block.put(journalPosition, 144)
    block.put(chunkMap, 152)
    block.put(chunkMapBlocks, 160)
    block.put(mountCount, 168)
    block.put(nextInode, 176)
    block.put(freeBlocks, 184)
    block.put(quarantinedBlocks, 192)
    block.put(inodeCount, 200)
    block.put(hashSeed, 208)
    block.put(createdSeconds, 216)
    block.put(mountedSeconds, 224)
    block.put(writtenSeconds, 232)
    for (index, byte) in label.utf8.prefix(Self.labelBytes).enumerated() { block.put(byte, 240 + index) }
    BlockHeader.seal(block)
  }

  /// Decodes the copy at `address`; nil when it is no valid superblock. Geometry is checked by `isConsistent`.
  public init?(decoding block: UnsafeRawPointer, address: BlockNumber) {
    let id = FilesystemID(high: block.u64(16), low: block.u64(24))
    guard BlockHeader.isValid(block, type: .superblock, id: id, address: address) else { return nil }
    self.id = id
    generation = BlockHeader.generation(block)
    compatible = block.u64(56)
    readOnlyCompatible = block.u64(64)
    incompatible = block.u64(72)
    totalBlocks = block.u64(80)
    journalStart = block.u64(88)
    journalBlocks = block.u64(96)
    dataStart = block.u64(104)
    root = NodeReference(block: block.u64(112), generation: block.u64(120))
    rootLevel = block.u32(128)
    state = State(rawValue: block.u32(132))
    journalSequence = block.u64(136)
    journalPosition = block.u64(144)
    chunkMap = block.u64(152)
    chunkMapBlocks = block.u64(160)
    mountCount = block.u64(168)
    nextInode = block.u64(176)
    freeBlocks = block.u64(184)
    quarantinedBlocks = block.u64(192)
    inodeCount = block.u64(200)
    hashSeed = block.u64(208)
    createdSeconds = block.i64(216)
    mountedSeconds = block.i64(224)
    writtenSeconds = block.i64(232)
    let bytes = UnsafeRawBufferPointer(start: block + 240, count: Self.labelBytes)
    label = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// The copy that counts: the newest. When the volume fails, its errors bit is set in one copy after the other, so of
  /// two of one generation either's counts.
  public static func newest(of copies: [Superblock]) -> Superblock? {
    guard var newest = copies.max(by: { $0.generation < $1.generation }) else { return nil }
    for copy in copies where copy.generation == newest.generation {
      newest.state.formUnion(copy.state.intersection(.errors))
    }
    return newest
  }

  /// True when all that never changes is the same in both, and the size, which changes from one checkpoint to the next,
  /// is the same unless they are of two that follow each other.
  public func isOfSameVolume(as other: Superblock) -> Bool {
    let (older, newer) = (min(generation, other.generation), max(generation, other.generation))
    return id == other.id && journalBlocks == other.journalBlocks && hashSeed == other.hashSeed
      && createdSeconds == other.createdSeconds && (totalBlocks == other.totalBlocks || newer - older == 1)
  }

  /// The fewest blocks this volume can have: those every volume has, and twice its journal.
  public var leastTotalBlocks: UInt64 { max(Geometry.minimumBlocks, 2 * journalBlocks) }

  /// True when the geometry makes sense by itself: no field can lead a reader outside the volume.
  public var isConsistent: Bool {
    totalBlocks >= Geometry.minimumBlocks && totalBlocks < Self.totalBlocksLimit
      && journalStart == Geometry.journalStart
      && journalBlocks >= Geometry.minimumJournalBlocks && journalBlocks <= Geometry.maximumJournalBlocks
      && journalBlocks < totalBlocks
      && dataStart == journalStart + journalBlocks && dataStart < totalBlocks
      && root.block >= dataStart && root.block < totalBlocks
      && rootLevel <= TreeNode.maximumLevel
      && journalPosition < journalBlocks && journalSequence >= 1
      && chunkMap >= dataStart && chunkMap < totalBlocks && chunkMapBlocks <= totalBlocks
      && generation < 1 << 62 && root.generation <= generation && journalSequence < 1 << 62 && mountCount < 1 << 62
      && freeBlocks <= totalBlocks && quarantinedBlocks <= totalBlocks - freeBlocks
      && inodeCount <= Key.maximumObject
      && nextInode >= RootDirectory.firstOrdinaryInode && nextInode <= Key.maximumObject
  }
}
