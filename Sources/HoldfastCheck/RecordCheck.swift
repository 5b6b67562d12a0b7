/// Takes the merged records of the volume in key order, checks each by itself and against its inode, and
/// keeps what the checks across inodes need: the inodes, the names, who owns which blocks.

import HoldfastBase
import HoldfastFormat

struct RecordCheck {
  /// A file with written blocks behind its end: allowed only behind an orphan record, and those come later.
  private struct Overhang {
    var inode: InodeNumber
    var fileBlock: FileBlock
    var isExplained = false
  }

  let superblock: Superblock
  let log: IssueLog
  /// What the walk could not read so far; all of it that lies below the record being taken.
  var lost = LostRanges()

  private(set) var totals = CheckReport.Totals()
  private(set) var inodes = InodeTable()
  private(set) var names: [NameCheck.Name] = []
  private(set) var space: SpaceCheck
  private var group = InodeGroup()
  private var overhangs: [Overhang] = []
  private var filesAreDone = false

  init(_ superblock: Superblock, _ log: IssueLog) {
    self.superblock = superblock
    self.log = log
    space = SpaceCheck(superblock, log)
  }

  /// Takes the next record.
  mutating func take(_ key: Key, _ value: UnsafeRawBufferPointer) {
    if key.spaceBits == Key.Space.file.rawValue {
      if !group.isOpen || key.high != group.inode {
        finishGroup()
        group.open(key.high)
      }
      takeFile(key, value)
      return
    }
    finishFiles()
    guard let which = key.space else { return log.report(.unknownSpace(key)) }
    if which != .freeByLength && which != .persistentSeal && key.low != 0 { return log.report(.strayKey(key)) }
    switch which {
    case .file: break
    case .orphan: takeOrphan(key, value)
    case .free, .chunk:
      guard let count = LengthRecord.decode(value) else { return log.report(.undecodable(key)) }
      space.take(which == .free ? .free : .metadataChunk, key.object, count)
    case .quarantine:
      guard let record = QuarantineRecord(decoding: value) else { return log.report(.undecodable(key)) }
      space.take(.quarantine, key.object, record.count)
    case .freeByLength:
      guard value.isEmpty else { return log.report(.undecodable(key)) }
      space.takeIndex(start: key.low, count: key.object)
    case .persistentSeal:
      guard let hash = SealRecordCheck.keyHash(of: value, seed: superblock.hashSeed) else {
        return log.report(.undecodable(key))
      }
      if hash != key.low { log.report(.strayKey(key)) }
      if inodes.index(of: key.object) == nil, !lost.touches(inode: key.object) {
        log.report(.sealDangling(inode: key.object))
      }
    }
  }

  /// After the last record, and with `lost` complete.
  mutating func finish() {
    finishFiles()
    for overhang in overhangs where !overhang.isExplained {
      let orphan = Key.orphan(overhang.inode)
      if lost.touches(orphan, orphan.successor) { continue }
      log.report(.extentBeyondEnd(inode: overhang.inode, fileBlock: overhang.fileBlock))
    }
    overhangs = []
  }

  /// Hands inodes and names over to the check of names, which owns them from here on.
  mutating func takeNames() -> (InodeTable, [NameCheck.Name]) {
    defer {
      inodes = InodeTable()
      names = []
    }
    return (inodes, names)
  }

  mutating func finishSpace(isWhole: Bool) { space.finish(isWhole: isWhole) }

  private mutating func finishFiles() {
    guard !filesAreDone else { return }
    finishGroup()
    filesAreDone = true
    inodes.settle()
  }

  private mutating func finishGroup() {
    guard group.isOpen else { return }
    group.finish(isWhole: !lost.touches(inode: group.inode), log)
    inodes.append(group.inode, group.record)
    totals.inodes += 1
    switch group.record?.fileType {
    case .regular: totals.files += 1
    case .directory: totals.directories += 1
    case .symlink: totals.symlinks += 1
    case nil: break
    default: totals.specials += 1
    }
    totals.extents += group.extents.count
    if let block = group.extents.overhang { overhangs.append(Overhang(inode: group.inode, fileBlock: block)) }
    group.close()
  }

  private mutating func takeFile(_ key: Key, _ value: UnsafeRawBufferPointer) {
    guard let type = key.type else { return log.report(.unknownRecordType(key)) }
    if type == .inode {
      guard key.offset == 0 else { return log.report(.strayKey(key)) }
      group.take(InodeRecord(decoding: value))
      if group.record == nil { log.report(.undecodable(key)) }
      return
    }
    group.note(type, log)
    switch type {
    case .inode: break
    case .xattr: group.xattrs.take(key, value, superblock.hashSeed, log)
    case .dirent:
      if let name = group.entries.take(key, value, superblock.hashSeed, log) { names.append(name) }
    case .extent:
      guard let extent = ExtentRecord(decoding: value) else { return log.report(.undecodable(key)) }
      group.extents.take(key, extent, log)
      space.take(extent, key)
    case .symlink: group.symlink.take(key, value, log)
    }
  }

  private mutating func takeOrphan(_ key: Key, _ value: UnsafeRawBufferPointer) {
    guard let orphan = OrphanRecord(decoding: value) else { return log.report(.undecodable(key)) }
    totals.orphans += 1
    guard let index = inodes.index(of: key.object) else {
      if !lost.touches(inode: key.object) { log.report(.orphanDangling(inode: key.object)) }
      return
    }
    let type = inodes.entries[index].type
    if orphan.kind == .unlinked {
      inodes.entries[index].isOrphan = true
    } else if type != .regular && type != nil {
      log.report(.orphanMisplaced(inode: key.object))
    }
    explainOverhang(of: key.object, orphan)
  }

  private mutating func explainOverhang(of inode: InodeNumber, _ orphan: OrphanRecord) {
    let index = overhangs.partitioningIndex { $0.inode >= inode }
    if index < overhangs.count, overhangs[index].inode == inode,
      orphan.kind == .unlinked || overhangs[index].fileBlock >= orphan.firstBlock
    {
      overhangs[index].isExplained = true
    }
  }
}
