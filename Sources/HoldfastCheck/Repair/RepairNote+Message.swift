/// What a note says to a person. One switch, so that no case is forgotten.

import HoldfastBase
import HoldfastFormat

extension RepairNote {
  public var grade: Grade { told.0 }

  /// One line without a full stop.
  public var message: String { told.1 }

  /// The case's name: the note's kind in JSON and in tests.
  public var kind: String { Mirror(reflecting: self).children.first?.label ?? "\(self)" }

  private var told: (Grade, String) {
    switch self {
    case .superblocksWritten: (.harmless, "both superblock copies written anew")
    case .errorsForgotten: (.harmless, "the mark of an earlier error is taken off")
    case .superblockChosen(let copy): (.change, "the volume of superblock copy \(copy) is kept: its tree is there")
    case .treeRebuilt(let generation):
      (.harmless, "metadata written anew as checkpoint \(generation): counts and free space follow from the files")
    case .leavesSalvaged(let count): (.change, "\(count) leaves of damaged nodes found again")
    case .recordsLost(let block, let lower, let upper):
      (.loss, "the node at block \(block) is lost, with records \(Self.range(lower, upper))")
    case .journalCut(let sequence, let position):
      (.loss, "the journal is used up to record \(sequence) at block \(position) of the ring; what follows is lost")
    case .recordDropped(let key): (.loss, "record \(key.told) is left out")
    default: inodeTold ?? nameTold ?? mapTold
    }
  }

  private var inodeTold: (Grade, String)? {
    switch self {
    case .rootRecreated: (.change, "the root directory is made anew")
    case .inodeRecreated(let inode, let type):
      (.loss, "inode \(inode) lost its inode record: owner, mode and times of this \(type) are made up, root's alone")
    case .inodeRenumbered(let inode, let number): (.change, "inode \(inode) gets number \(number)")
    case .inodeDropped(let inode): (.loss, "inode \(inode) is left out: no inode has such a number")
    case .inodeFieldMended(let inode, let field):
      (.change, "inode \(inode) gets a possible \(field.rawValue)")
    case .misplacedDropped(let inode, let type, let records):
      (.loss, "inode \(inode) loses \(records) records of type \(type), which it cannot have")
    case .attributeMoved(let inode, let name): (.change, "attribute \(name) of inode \(inode) filed anew")
    case .attributeDropped(let inode, let name): (.loss, "attribute \(name) of inode \(inode) is lost")
    case .targetLost(let inode): (.loss, "symbolic link \(inode) is lost: its target is damaged")
    case .targetLength(let inode, let recorded, let found):
      (.change, "symbolic link \(inode) gets the length of its target, \(found) in place of \(recorded)")
    case .orphanDropped(let inode): (.harmless, "the orphan record of inode \(inode) is left out")
    case .sealMoved(let inode): (.change, "a persistent seal of inode \(inode) filed anew")
    case .sealDropped(let inode): (.loss, "a persistent seal of inode \(inode) is left out")
    default: nil
    }
  }

  private var nameTold: (Grade, String)? {
    switch self {
    case .entryUnreadable(let directory, let offset):
      (.loss, "entry \(offset) of directory \(directory) cannot be read and is left out")
    case .entryDropped(let directory, let name, let inode):
      (.loss, "directory \(directory) loses the name \(name): inode \(inode) does not exist")
    case .entryRenamed(let directory, let name, let newName):
      (
        .change,
        name == newName
          ? "directory \(directory): the name \(name) filed anew"
          : "directory \(directory): the name \(name) becomes \(newName)"
      )
    case .entryRetyped(let directory, let name):
      (.change, "directory \(directory): the name \(name) gets its inode's type")
    case .secondNameDropped(let directory, let name, let inode):
      (.change, "directory \(directory) loses the name \(name): directory \(inode) has another")
    case .cycleBroken(let directory, let name, let inode):
      (.change, "directory \(directory) loses the name \(name): directory \(inode) was its own ancestor")
    case .lostAndFoundMade(let inode): (.change, "lost+found is made as inode \(inode)")
    case .reconnected(let inode, let name): (.change, "inode \(inode) had no name and gets lost+found/\(name)")
    default: nil
    }
  }

  private var mapTold: (Grade, String) {
    switch self {
    case .extentDropped(let inode, let fileBlock, let count):
      (.loss, "inode \(inode) loses \(count) blocks from file block \(fileBlock): a hole now")
    case .blocksCloned(let inode, let fileBlock, let count):
      (.change, "inode \(inode) gets a copy of the \(count) blocks from file block \(fileBlock) another file has too")
    case .sizeRaised(let inode, let from, let to):
      (.change, "inode \(inode) grows from \(from) to \(to) bytes, over the blocks behind its end")
    default: (.loss, kind)
    }
  }

  private static func range(_ lower: Key, _ upper: Key?) -> String {
    func told(_ key: Key) -> String {
      key.space == .file ? "inode \(key.object)" : key.space.map { "\($0) records" } ?? "the end"
    }
    return "from \(told(lower)) to \(upper.map(told) ?? "the end")"
  }
}
