/// Every kind of damage the check can tell apart, with the numbers that locate it. The list is closed:
/// a new check adds a case here, its message in CheckIssue+Message.swift and a test that makes exactly it.

import HoldfastBase
import HoldfastFormat

public enum CheckIssue: Equatable, Sendable {
  // The image and its superblocks. `copy` is 0 or 1.
  case imageTruncated(expectedBlocks: UInt64, actualBlocks: UInt64)
  case unreadable(byteOffset: UInt64, errno: Int32)
  case superblockInvalid(copy: Int, block: BlockNumber)
  case superblockInconsistent(copy: Int, block: BlockNumber)
  case superblocksDisagree(field: SuperblockField)
  case superblockStale(copy: Int, generation: UInt64, newest: UInt64)
  case cleanWithJournal(records: UInt64)
  case cleanWithOrphans(orphans: UInt64)

  // The chunk map and the metadata chunks.
  case chunkMapInvalid(block: BlockNumber)
  case chunkMapOutOfBounds(block: BlockNumber)
  case chunkMapCycle(block: BlockNumber)
  case chunkMapLength(recorded: UInt64, found: UInt64)
  case chunkInvalid(start: BlockNumber, count: UInt64)
  case chunksOverlap(start: BlockNumber, other: BlockNumber)
  case chunkBitsBeyondEnd(start: BlockNumber)
  /// In the chunk map, but no record of the tree says that the chunk is metadata.
  case chunkUnrecorded(start: BlockNumber)
  /// A chunk record of the checkpoint that its chunk map does not know.
  case chunkUnmapped(start: BlockNumber, count: UInt64)
  case metadataOutsideChunks(block: BlockNumber)
  case metadataNotMarked(block: BlockNumber)
  case metadataLeaked(start: BlockNumber, count: UInt64)

  // The tree.
  case nodeOutOfBounds(block: BlockNumber)
  case nodeInvalid(block: BlockNumber)
  case nodeGeneration(block: BlockNumber, expected: UInt64, found: UInt64)
  case nodeLevel(block: BlockNumber, expected: UInt32, found: UInt32)
  case nodeUnsound(block: BlockNumber)
  case nodeKeysOutOfBounds(block: BlockNumber)
  case nodeVisitedTwice(block: BlockNumber)

  // The journal. `position` is the record's first block within the ring.
  case journalRecordMalformed(sequence: UInt64, position: UInt64)
  case journalRecordBehindEnd(sequence: UInt64, position: UInt64, expected: UInt64)

  // Records that are nothing we know.
  case unknownSpace(Key)
  case unknownRecordType(Key)
  case strayKey(Key)
  case undecodable(Key)

  // Inodes.
  case rootMissing
  case reservedInode(inode: InodeNumber)
  case inodeBeyondNext(inode: InodeNumber, next: InodeNumber)
  case inodeMissing(inode: InodeNumber)
  case inodeField(inode: InodeNumber, field: InodeField)
  case linkCount(inode: InodeNumber, recorded: UInt32, found: UInt32)
  case blockCount(inode: InodeNumber, recorded: UInt64, found: UInt64)
  case misplacedRecord(inode: InodeNumber, type: Key.RecordType)
  case inodeUnreferenced(inode: InodeNumber)

  // Maps of files.
  case extentsOverlap(inode: InodeNumber, fileBlock: FileBlock)
  case extentTooFar(inode: InodeNumber, fileBlock: FileBlock)
  case extentOutOfBounds(inode: InodeNumber, fileBlock: FileBlock, physical: BlockNumber, count: UInt64)
  case extentBeyondEnd(inode: InodeNumber, fileBlock: FileBlock)

  // Attributes and symbolic links. `offset` is the key's.
  case xattrName(inode: InodeNumber, offset: UInt64)
  case xattrHash(inode: InodeNumber, offset: UInt64)
  case xattrDuplicate(inode: InodeNumber, offset: UInt64)
  case xattrIncomplete(inode: InodeNumber, offset: UInt64)
  case xattrStray(inode: InodeNumber, offset: UInt64)
  case symlinkLength(inode: InodeNumber, recorded: UInt64, found: UInt64)
  case symlinkIncomplete(inode: InodeNumber, piece: UInt64)
  case symlinkTarget(inode: InodeNumber)

  // Directories. `offset` is the entry's key and readdir offset.
  case directorySize(inode: InodeNumber, recorded: UInt64, found: UInt64)
  case entryName(directory: InodeNumber, offset: UInt64)
  case entryHash(directory: InodeNumber, offset: UInt64)
  case entryDuplicate(directory: InodeNumber, offset: UInt64)
  case entryDangling(directory: InodeNumber, offset: UInt64, inode: InodeNumber)
  case entryType(directory: InodeNumber, offset: UInt64, inode: InodeNumber)
  case directoryNamedTwice(inode: InodeNumber, names: UInt32)
  case directoryParent(inode: InodeNumber, recorded: InodeNumber, found: InodeNumber)
  case directoryCycle(inode: InodeNumber)

  // Intents and seals.
  case orphanDangling(inode: InodeNumber)
  case orphanNamed(inode: InodeNumber, names: UInt32)
  case orphanMisplaced(inode: InodeNumber)
  case sealDangling(inode: InodeNumber)

  // Space. Every block of the volume belongs to exactly one owner.
  case spaceOverlap(start: BlockNumber, count: UInt64, first: SpaceOwner, second: SpaceOwner)
  case spaceLeaked(start: BlockNumber, count: UInt64)
  case spaceOutOfBounds(start: BlockNumber, count: UInt64, owner: SpaceOwner)
  case freeNotIndexed(start: BlockNumber, count: UInt64)
  case freeIndexStray(start: BlockNumber, count: UInt64)
  case unmergedFree(start: BlockNumber)
  case freeTotal(recorded: UInt64, found: UInt64)
  case quarantineTotal(recorded: UInt64, found: UInt64)
  case inodeTotal(recorded: UInt64, found: UInt64)
}

extension CheckIssue {
  /// Fields in which the two superblock copies must agree.
  public enum SuperblockField: String, Sendable { case uuid, geometry, contents }

  /// Fields of an inode record with values no operation writes.
  public enum InodeField: String, Sendable { case mode, time }

  public enum SpaceOwner: Equatable, Sendable {
    /// Superblocks, the reserved head and the journal.
    case head
    case metadataChunk
    case file(InodeNumber)
    case free
    case quarantine
  }

  public enum Severity: String, Sendable {
    /// Untidy; nothing is wrong for any reader.
    case notice
    /// Space or counters are off; every file is intact.
    case warning
    /// A structure or a file is damaged, or will be when the volume is written.
    case error
  }
}

extension CheckIssue.SpaceOwner: CustomStringConvertible {
  public var description: String {
    switch self {
    case .head: "head and journal"
    case .metadataChunk: "metadata chunk"
    case .file(let inode): "inode \(inode)"
    case .free: "free space"
    case .quarantine: "quarantine"
    }
  }
}
