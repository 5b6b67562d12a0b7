/// What an issue says to a person: its severity and one line. One switch, so that no case is forgotten.

import HoldfastBase
import HoldfastFormat

extension CheckIssue {
  public var severity: Severity { told.0 }

  /// One line without a full stop.
  public var message: String { told.1 }

  /// The case's name: the issue's kind in JSON and in tests.
  public var kind: String { Mirror(reflecting: self).children.first?.label ?? "\(self)" }

  private var told: (Severity, String) {
    switch self {
    case .imageTruncated(let expected, let actual): (.error, "the image holds \(actual) blocks of \(expected)")
    case .unreadable(let offset, let code): (.error, "cannot read at byte \(offset) (errno \(code))")
    case .superblockInvalid(let copy, let block): (.error, "superblock copy \(copy) at block \(block) is damaged")
    case .superblockInconsistent(let copy, let block):
      (.error, "superblock copy \(copy) at block \(block) describes an impossible volume")
    case .superblocksDisagree(let field): (.error, "the superblock copies differ in \(field.rawValue)")
    case .superblockStale(let copy, let generation, let newest):
      (.error, "superblock copy \(copy) is of checkpoint \(generation), the newest is \(newest)")
    case .cleanWithJournal(let records): (.error, "marked clean, but the journal holds \(records) records")
    case .cleanWithOrphans(let orphans): (.error, "marked clean, but \(orphans) orphans remain")
    default: metadataTold ?? recordTold ?? spaceTold
    }
  }

  private var metadataTold: (Severity, String)? {
    switch self {
    case .chunkMapInvalid(let block): (.error, "chunk map block \(block) is damaged")
    case .chunkMapOutOfBounds(let block): (.error, "the chunk map points to block \(block), outside the volume")
    case .chunkMapCycle(let block): (.error, "the chunk map comes back to block \(block)")
    case .chunkMapLength(let recorded, let found):
      (.error, "the chunk map is \(found) blocks long, the superblock says \(recorded)")
    case .chunkInvalid(let start, let count):
      (.error, "metadata chunk at block \(start), \(count) blocks, is impossible")
    case .chunksOverlap(let start, let other): (.error, "metadata chunks at blocks \(other) and \(start) overlap")
    case .chunkBitsBeyondEnd(let start): (.error, "metadata chunk at block \(start) marks blocks behind its end")
    case .chunkUnrecorded(let start): (.error, "metadata chunk at block \(start) has no chunk record")
    case .chunkUnmapped(let start, let count):
      (.error, "chunk record at block \(start), \(count) blocks, is not in the chunk map")
    case .metadataOutsideChunks(let block): (.error, "metadata block \(block) lies in no metadata chunk")
    case .metadataNotMarked(let block): (.error, "metadata block \(block) is in use and not marked so")
    case .metadataLeaked(let start, let count):
      (.warning, "\(count) metadata blocks from \(start) are marked used and used by nothing")
    case .nodeOutOfBounds(let block): (.error, "the tree points to block \(block), outside the volume")
    case .nodeInvalid(let block): (.error, "tree node at block \(block) is damaged")
    case .nodeGeneration(let block, let expected, let found):
      (.error, "tree node at block \(block) is of checkpoint \(found), its parent names \(expected)")
    case .nodeLevel(let block, let expected, let found):
      (.error, "tree node at block \(block) has level \(found) in place of \(expected)")
    case .nodeUnsound(let block): (.error, "tree node at block \(block) is malformed")
    case .nodeKeysOutOfBounds(let block): (.error, "tree node at block \(block) holds keys outside its parent's bounds")
    case .nodeVisitedTwice(let block): (.error, "metadata block \(block) is reached twice")
    case .journalRecordMalformed(let sequence, let position):
      (.error, "journal record \(sequence) at block \(position) of the ring does not parse")
    case .journalRecordBehindEnd(let sequence, let position, let expected):
      (
        .error,
        "journal record \(expected) is missing, but record \(sequence) stands at block \(position) of the ring"
      )
    default: nil
    }
  }

  private var recordTold: (Severity, String)? {
    switch self {
    case .unknownSpace(let key): (.error, "record \(key.told) is in an unknown space")
    case .unknownRecordType(let key): (.error, "record \(key.told) is of an unknown type")
    case .strayKey(let key): (.error, "record \(key.told) has an impossible key")
    case .undecodable(let key): (.error, "record \(key.told) is malformed")
    case .rootMissing: (.error, "the root directory is missing")
    case .reservedInode(let inode): (.error, "inode \(inode) has a reserved number")
    case .inodeBeyondNext(let inode, let next): (.error, "inode \(inode) is not below the next number, \(next)")
    case .inodeMissing(let inode): (.error, "records of inode \(inode) exist, the inode does not")
    case .inodeField(let inode, let field): (.error, "inode \(inode) has an impossible \(field.rawValue)")
    case .linkCount(let inode, let recorded, let found):
      (.error, "inode \(inode) says \(recorded) links and has \(found)")
    case .blockCount(let inode, let recorded, let found):
      (.warning, "inode \(inode) says \(recorded) blocks and has \(found)")
    case .misplacedRecord(let inode, let type): (.error, "inode \(inode) cannot have records of type \(type)")
    case .inodeUnreferenced(let inode): (.error, "inode \(inode) has neither a name nor an orphan record")
    case .extentsOverlap(let inode, let block): (.error, "inode \(inode) maps file block \(block) twice")
    case .extentTooFar(let inode, let block):
      (.error, "inode \(inode) maps file block \(block), beyond the largest file")
    case .extentOutOfBounds(let inode, let block, let physical, let count):
      (.error, "inode \(inode) maps file block \(block) to \(count) blocks at \(physical), outside the volume")
    case .extentBeyondEnd(let inode, let block):
      (.error, "inode \(inode) has written blocks behind its end, at file block \(block)")
    case .xattrName(let inode, let offset): (.error, "attribute \(offset) of inode \(inode) has an impossible name")
    case .xattrHash(let inode, let offset):
      (.error, "attribute \(offset) of inode \(inode) is filed under a wrong hash")
    case .xattrDuplicate(let inode, let offset): (.error, "attribute \(offset) of inode \(inode) repeats a name")
    case .xattrIncomplete(let inode, let offset): (.error, "attribute \(offset) of inode \(inode) is incomplete")
    case .xattrStray(let inode, let offset):
      (.error, "piece \(offset) of inode \(inode)'s attributes belongs to no attribute")
    case .symlinkLength(let inode, let recorded, let found):
      (.error, "symbolic link \(inode) says \(recorded) bytes and has \(found)")
    case .symlinkIncomplete(let inode, let piece): (.error, "symbolic link \(inode) lacks part of piece \(piece)")
    case .symlinkTarget(let inode): (.error, "symbolic link \(inode) has an impossible target")
    case .directorySize(let inode, let recorded, let found):
      (.error, "directory \(inode) says \(recorded) entries and has \(found)")
    case .entryName(let directory, let offset):
      (.error, "entry \(offset) of directory \(directory) has an impossible name")
    case .entryHash(let directory, let offset):
      (.error, "entry \(offset) of directory \(directory) is filed under a wrong hash")
    case .entryDuplicate(let directory, let offset):
      (.error, "entry \(offset) of directory \(directory) repeats a name")
    case .entryDangling(let directory, let offset, let inode):
      (.error, "entry \(offset) of directory \(directory) names inode \(inode), which does not exist")
    case .entryType(let directory, let offset, let inode):
      (.error, "entry \(offset) of directory \(directory) gives inode \(inode) a wrong type")
    case .directoryNamedTwice(let inode, let names): (.error, "directory \(inode) has \(names) names")
    case .directoryParent(let inode, let recorded, let found):
      (.error, "directory \(inode) says its parent is \(recorded), it is named in \(found)")
    case .directoryCycle(let inode): (.error, "directory \(inode) is its own ancestor and out of the root's reach")
    case .orphanDangling(let inode): (.error, "the orphan record of inode \(inode) has no inode")
    case .orphanNamed(let inode, let names): (.error, "inode \(inode) is an orphan and has \(names) names")
    case .orphanMisplaced(let inode): (.error, "inode \(inode) is being truncated and is no regular file")
    case .sealDangling(let inode): (.error, "a persistent seal of inode \(inode) has no inode")
    default: nil
    }
  }

  private var spaceTold: (Severity, String) {
    switch self {
    case .spaceOverlap(let start, let count, let first, let second):
      (.error, "\(count) blocks from \(start) belong to \(first) and to \(second)")
    case .spaceLeaked(let start, let count): (.warning, "\(count) blocks from \(start) belong to nothing")
    case .spaceOutOfBounds(let start, let count, let owner):
      (.error, "\(owner): \(count) blocks from \(start) reach outside the volume")
    case .freeNotIndexed(let start, let count):
      (.error, "\(count) free blocks from \(start) are not in the index by length")
    case .freeIndexStray(let start, let count):
      (.error, "the index by length names \(count) free blocks from \(start), which no record frees")
    case .unmergedFree(let start): (.notice, "free extents touch at block \(start)")
    case .freeTotal(let recorded, let found):
      (.warning, "the superblock says \(recorded) free blocks, the tree \(found)")
    case .quarantineTotal(let recorded, let found):
      (.warning, "the superblock says \(recorded) quarantined blocks, the tree \(found)")
    case .inodeTotal(let recorded, let found): (.warning, "the superblock says \(recorded) inodes, the tree \(found)")
    default: (.error, kind)
    }
  }
}

extension Key {
  /// Space, object and low half, for messages.
  var told: String { "\(spaceBits):\(object):\(low)" }
}
