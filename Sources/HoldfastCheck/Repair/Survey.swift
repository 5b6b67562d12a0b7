/// The first pass over the old records: what each inode's records say by themselves is decided here (left out, put
/// elsewhere, kept), and what decisions across inodes need is remembered: inodes, names, extents.
///
/// The parts are in Survey+Inode, +Attributes, +Entries, +Extents and +Intents.

import HoldfastBase
import HoldfastFormat

struct Survey {
  /// A name that cannot stay where it is, or as it is.
  struct Rename {
    var directory: InodeNumber
    /// Inode and type, as in `NameCheck.Name`.
    var target: UInt64
    var old: [UInt8]
    var wish: [UInt8]
  }

  /// A file with written blocks behind its end.
  struct Overhang {
    var inode: InodeNumber
    /// The first such block, and the end of the last.
    var first: FileBlock
    var end: FileBlock
  }

  let superblock: Superblock
  let notes: RepairNotes
  let old: OldRecords

  var edits = Edits()
  var numbers: InodeNumbers
  /// Inodes, those that are left out too; `index(of:)` works after the first record of another space.
  var inodes = InodeTable()
  /// Entries that stay, by directory and offset.
  var names: [NameCheck.Name] = []
  var renames: [Rename] = []
  var extents: [MappedExtent] = []
  /// What chunk records name, as far as it lies in the volume.
  var chunkRecords: [BlockRange] = []
  var overhangs: [Overhang] = []
  /// Files being truncated: the first block that goes.
  var truncating: [InodeNumber: FileBlock] = [:]
  /// Inodes with a persistent seal.
  var sealed: Set<InodeNumber> = []
  /// Keys seals were moved to, as far as their inode keeps its number.
  var movedSeals: Set<Key> = []
  /// New numbers of inodes whose own is no good.
  var renumbered: [InodeNumber: InodeNumber] = [:]
  /// The name `lost+found` in the root: its index among `names`.
  var lostAndFoundName: Int?
  var packing = LeafPacking()

  var inode = OpenInode()
  var attribute = OpenAttribute()
  var entryNames = NameGroup()
  var target = SymlinkCheck()
  /// Entries of inodes with new numbers: they belong behind all others.
  var lateInodes: [(entry: InodeTable.Entry, record: InodeRecord)] = []
  var lateNames: [NameCheck.Name] = []
  var filesAreDone = false
  /// `SymlinkCheck` reports to somebody; here nobody listens.
  let deafLog = IssueLog()

  init(_ superblock: Superblock, _ old: OldRecords, _ notes: RepairNotes, progress: (UInt64) -> Void) throws(FSError) {
    self.superblock = superblock
    self.old = old
    self.notes = notes
    numbers = InodeNumbers(superblock, greatest: try old.greatestInode(below: InodeNumbers.limit))
    try old.visit(progress: progress) { (key, value) throws(FSError) in try take(key, value) }
    finishFiles()
  }

  private mutating func take(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    if key.spaceBits == Key.Space.file.rawValue { return takeFile(key, value) }
    finishFiles()
    switch key.space {
    case .orphan: takeOrphan(key, value)
    case .persistentSeal: try takeSeal(key, value)
    case .chunk:
      guard let count = LengthRecord.decode(value), key.object < superblock.totalBlocks else { return }
      chunkRecords.append(BlockRange(start: key.object, count: min(count, superblock.totalBlocks - key.object)))
    case nil: leaveOut(key)
    // Other space records are made anew.
    default: break
    }
  }

  /// Leaves a record out that is nothing we know.
  mutating func leaveOut(_ key: Key) {
    edits.drop(key)
    notes.add(.recordDropped(key))
  }

  /// Keeps a record of the open inode.
  mutating func keep(_ key: Key, _ value: UnsafeRawBufferPointer) {
    packing.add(valueBytes: value.count)
    guard inode.kept != inode.number else { return }
    edits.drop(key)
    edits.put(Key(high: inode.kept, low: key.low), value)
  }

  /// The number an inode has in the new tree.
  func newNumber(_ number: InodeNumber) -> InodeNumber { renumbered[number] ?? number }

  /// After the last record of space `file`.
  private mutating func finishFiles() {
    guard !filesAreDone else { return }
    finishInode()
    filesAreDone = true
    for (entry, record) in lateInodes { append(entry, record) }
    names += lateNames
    lateInodes = []
    lateNames = []
    inodes.settle()
  }
}
