/// One inode's records: which of them it may have, what it is when its own record is gone.

import HoldfastBase
import HoldfastFormat

extension Survey {
  /// The inode whose records are passing.
  struct OpenInode {
    var isOpen = false
    /// As in the old keys.
    var number: InodeNumber = 0
    /// As in the new ones.
    var kept: InodeNumber = 0
    var isImpossible = false
    /// Its inode record came and says nothing.
    var isUnreadable = false
    /// The inode record; nil while none came that can be read.
    var record: InodeRecord?
    /// What it is, by its record or else by the first record that tells.
    var type: FileType?
    var hasAttributes = false
    var entries: UInt64 = 0
    var blocks: UInt64 = 0
    /// First file block no extent has taken.
    var mappedEnd: FileBlock = 0
    var writtenEnd: FileBlock = 0
    /// First block behind the file's end that is written.
    var overhang: FileBlock?
    var misplaced: [Key.RecordType: UInt64] = [:]

    var fileEnd: FileBlock { record.map { Block.count(covering: $0.size) } ?? .max }
  }

  mutating func takeFile(_ key: Key, _ value: UnsafeRawBufferPointer) {
    if !inode.isOpen || key.high != inode.number {
      finishInode()
      open(key.high)
    }
    if inode.isImpossible { return edits.drop(key) }
    guard let type = key.type else { return leaveOut(key) }
    if type == .inode { return takeInode(key, value) }
    if type != .xattr { closeAttribute() }
    if inode.type == nil { inode.type = implied(by: type) }
    guard fits(type) else {
      edits.drop(key)
      inode.misplaced[type, default: 0] += 1
      return
    }
    switch type {
    case .inode: break
    case .xattr: takeAttribute(key, value)
    case .dirent: takeEntry(key, value)
    case .extent: takeExtent(key, value)
    case .symlink: takePiece(key, value)
    }
  }

  private mutating func open(_ number: InodeNumber) {
    inode = OpenInode()
    inode.isOpen = true
    inode.number = number
    inode.kept = number
    attribute = OpenAttribute()
    entryNames.reset()
    target.reset()
    if number >= InodeNumbers.limit {
      inode.isImpossible = true
      notes.add(.inodeDropped(inode: number))
    } else if number != RootDirectory.inode && number < RootDirectory.firstOrdinaryInode {
      renumber()
    }
  }

  private mutating func renumber() {
    inode.kept = numbers.take()
    renumbered[inode.number] = inode.kept
    notes.add(.inodeRenumbered(inode: inode.number, number: inode.kept))
  }

  private mutating func takeInode(_ key: Key, _ value: UnsafeRawBufferPointer) {
    guard key.offset == 0 else { return leaveOut(key) }
    guard let record = InodeRecord(decoding: value) else {
      inode.isUnreadable = true
      return edits.drop(key)
    }
    inode.record = record
    inode.type = record.fileType
    // The root's number is for a directory.
    if inode.number == RootDirectory.inode && !record.isDirectory { renumber() }
    keep(key, value)
  }

  private func implied(by type: Key.RecordType) -> FileType? {
    if inode.number == RootDirectory.inode { return .directory }
    switch type {
    case .inode, .xattr: return nil
    case .dirent: return .directory
    case .extent: return .regular
    case .symlink: return .symlink
    }
  }

  private func fits(_ type: Key.RecordType) -> Bool {
    switch type {
    case .inode, .xattr: true
    case .dirent: inode.type == .directory
    case .extent: inode.type == .regular
    case .symlink: inode.type == .symlink
    }
  }

  private mutating func takePiece(_ key: Key, _ value: UnsafeRawBufferPointer) {
    guard value.count >= 1, value.count <= Key.pieceBytes else { return leaveOut(key) }
    target.take(key, value, deafLog)
    keep(key, value)
  }

  /// After the inode's last record.
  mutating func finishInode() {
    guard inode.isOpen else { return }
    inode.isOpen = false
    if inode.isImpossible { return }
    finishAttribute()
    for (type, records) in inode.misplaced.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      notes.add(.misplacedDropped(inode: inode.kept, type: type, records: records))
    }
    guard let record = inode.record ?? recreated() else {
      if inode.isUnreadable { notes.add(.recordDropped(.inode(inode.number))) }
      return
    }
    var entry = InodeTable.Entry(number: inode.kept, links: 0, type: record.fileType)
    entry.size = record.size
    entry.blocks = inode.blocks
    switch record.fileType {
    case .symlink:
      if let bytes = target.targetBytes {
        if bytes != record.size && inode.record != nil {
          notes.add(.targetLength(inode: inode.kept, recorded: record.size, found: bytes))
        }
        entry.size = bytes
      } else {
        entry.isDropped = true
        notes.add(.targetLost(inode: inode.kept))
      }
    case .regular:
      if let first = inode.overhang, inode.record != nil {
        overhangs.append(Overhang(inode: inode.kept, first: first, end: inode.writtenEnd))
      }
    default: break
    }
    if !entry.isDropped, let field = InodeMender.field(of: record) {
      notes.add(.inodeFieldMended(inode: inode.kept, field: field))
    }
    if inode.kept == inode.number { append(entry, record) } else { lateInodes.append((entry, record)) }
  }

  /// A record for an inode that has others but lost its own; nil when there is nothing to keep.
  private mutating func recreated() -> InodeRecord? {
    guard let type = inode.type ?? (inode.hasAttributes ? implied(by: .xattr) ?? .regular : nil),
      inode.entries > 0 || inode.blocks > 0 || inode.hasAttributes || target.targetBytes != nil
    else { return nil }
    var record = InodeMender.fresh(type, isRoot: inode.kept == RootDirectory.inode)
    if type == .regular { record.size = min(inode.writtenEnd << UInt64(Block.shift), Limits.fileBytes) }
    edits.put(.inode(inode.kept), byteCount: InodeRecord.size) { record.encode(to: $0) }
    notes.add(inode.kept == RootDirectory.inode ? .rootRecreated : .inodeRecreated(inode: inode.kept, type: type))
    return record
  }

  mutating func append(_ entry: InodeTable.Entry, _ record: InodeRecord) {
    inodes.append(entry.number, entry.isDropped ? nil : record)
    var kept = entry
    kept.directory = inodes.entries[inodes.entries.count - 1].directory
    // The directory's entries are counted when it is known which stay.
    if kept.directory >= 0 { kept.size = 0 }
    inodes.entries[inodes.entries.count - 1] = kept
  }
}
