/// The records of one inode while they pass: its inode record first, then attributes, entries, extents and
/// pieces of a link's target. `finish` compares them with the inode record.

import HoldfastBase
import HoldfastFormat

struct InodeGroup {
  private(set) var inode: InodeNumber = 0
  private(set) var isOpen = false
  /// The inode record; nil while none came or when it does not decode.
  private(set) var record: InodeRecord?
  /// An inode record came, be it readable or not.
  private var hasRecord = false
  var xattrs = XattrCheck()
  var entries = EntryCheck()
  var extents = ExtentCheck()
  var symlink = SymlinkCheck()
  /// Bit t: a record of type t came though the inode cannot have any.
  private var misplaced: UInt16 = 0

  mutating func open(_ inode: InodeNumber) {
    self.inode = inode
    isOpen = true
    record = nil
    hasRecord = false
    misplaced = 0
    xattrs.reset()
    entries.reset()
    extents.reset()
    symlink.reset()
  }

  mutating func take(_ record: InodeRecord?) {
    self.record = record
    hasRecord = true
    if let record, record.isRegular { extents.fileEnd = Block.count(covering: record.size) }
  }

  mutating func close() { isOpen = false }

  /// Checks that the inode may have records of `type`; one issue for each type.
  mutating func note(_ type: Key.RecordType, _ log: IssueLog) {
    guard let owner = record?.fileType else { return }
    let fits: Bool
    switch type {
    case .inode, .xattr: fits = true
    case .dirent: fits = owner == .directory
    case .extent: fits = owner == .regular
    case .symlink: fits = owner == .symlink
    }
    if !fits, misplaced & 1 << UInt16(type.rawValue) == 0 {
      misplaced |= 1 << UInt16(type.rawValue)
      log.report(.misplacedRecord(inode: inode, type: type))
    }
  }

  /// After the inode's last record. Without `isWhole` some of its records could not be read.
  mutating func finish(isWhole: Bool, _ log: IssueLog) {
    xattrs.finish(isWhole: isWhole, log)
    guard isWhole else { return }
    guard hasRecord else { return log.report(.inodeMissing(inode: inode)) }
    guard let record, let type = record.fileType else { return }
    if inode != RootDirectory.inode && inode < RootDirectory.firstOrdinaryInode {
      log.report(.reservedInode(inode: inode))
    }
    if record.mode >> 16 != 0 { log.report(.inodeField(inode: inode, field: .mode)) }
    if !hasPossibleTimes(record) { log.report(.inodeField(inode: inode, field: .time)) }
    if record.blocks != extents.blocks {
      log.report(.blockCount(inode: inode, recorded: record.blocks, found: extents.blocks))
    }
    if type == .directory && record.size != entries.count {
      log.report(.directorySize(inode: inode, recorded: record.size, found: entries.count))
    }
    if type == .symlink { symlink.finish(inode, record.size, log) }
  }

  private func hasPossibleTimes(_ record: InodeRecord) -> Bool {
    max(
      max(record.accessed.nanoseconds, record.modified.nanoseconds),
      max(record.changed.nanoseconds, record.born.nanoseconds)) < 1_000_000_000
  }
}
