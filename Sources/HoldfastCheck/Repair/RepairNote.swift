/// What a repair does beyond making counts and space records anew, and what it cannot keep. The list is closed: a new
/// kind adds a case here and its line in RepairNote+Message.swift.

import HoldfastBase
import HoldfastFormat

public enum RepairNote: Equatable, Sendable {
  // The superblocks.
  /// Both copies are written anew; nothing else is.
  case superblocksWritten
  case errorsForgotten
  /// The copies are of two volumes or two sizes: this one leads to a tree.
  case superblockChosen(copy: Int)

  // The tree and the journal.
  case treeRebuilt(generation: UInt64)
  case leavesSalvaged(count: UInt64)
  case recordsLost(block: BlockNumber, lower: Key, upper: Key?)
  case journalCut(sequence: UInt64, position: UInt64)
  case recordDropped(Key)

  // Inodes.
  case rootRecreated
  case inodeRecreated(inode: InodeNumber, type: FileType)
  case inodeRenumbered(inode: InodeNumber, number: InodeNumber)
  case inodeDropped(inode: InodeNumber)
  case inodeFieldMended(inode: InodeNumber, field: CheckIssue.InodeField)
  case misplacedDropped(inode: InodeNumber, type: Key.RecordType, records: UInt64)
  case attributeMoved(inode: InodeNumber, name: String)
  case attributeDropped(inode: InodeNumber, name: String)
  case targetLost(inode: InodeNumber)
  case targetLength(inode: InodeNumber, recorded: UInt64, found: UInt64)

  // Names. `directory` holds the entry.
  case entryUnreadable(directory: InodeNumber, offset: UInt64)
  case entryDropped(directory: InodeNumber, name: String, inode: InodeNumber)
  case entryRenamed(directory: InodeNumber, name: String, newName: String)
  case entryRetyped(directory: InodeNumber, name: String)
  case secondNameDropped(directory: InodeNumber, name: String, inode: InodeNumber)
  case cycleBroken(directory: InodeNumber, name: String, inode: InodeNumber)
  case lostAndFoundMade(inode: InodeNumber)
  case reconnected(inode: InodeNumber, name: String)

  // Maps of files. File blocks and blocks of the image.
  case extentDropped(inode: InodeNumber, fileBlock: FileBlock, count: UInt64)
  case blocksCloned(inode: InodeNumber, fileBlock: FileBlock, count: UInt64)
  case sizeRaised(inode: InodeNumber, from: UInt64, to: UInt64)

  // Intents and seals.
  case orphanDropped(inode: InodeNumber)
  case sealMoved(inode: InodeNumber)
  case sealDropped(inode: InodeNumber)
}

extension RepairNote {
  public enum Grade: String, Sendable {
    /// Nobody could want it otherwise: done by `-p` too.
    case harmless
    /// Nothing is lost, but somebody should know.
    case change
    /// Something that was there, or was named, is not there any more.
    case loss
  }

  /// The inode a note is about, whose path helps to find it; nil when none is or the note says it.
  var subject: InodeNumber? {
    switch self {
    case .inodeRecreated(let inode, _), .inodeFieldMended(let inode, _), .misplacedDropped(let inode, _, _),
      .attributeMoved(let inode, _), .attributeDropped(let inode, _), .targetLength(let inode, _, _),
      .extentDropped(let inode, _, _), .blocksCloned(let inode, _, _), .sizeRaised(let inode, _, _),
      .sealMoved(let inode), .sealDropped(let inode), .orphanDropped(let inode), .inodeRenumbered(_, let inode):
      inode
    case .entryUnreadable(let directory, _), .entryDropped(let directory, _, _), .entryRenamed(let directory, _, _),
      .entryRetyped(let directory, _), .secondNameDropped(let directory, _, _), .cycleBroken(let directory, _, _):
      directory
    default: nil
    }
  }
}
