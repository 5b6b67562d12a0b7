/// The second pass: the old records once more, changed as planned, into a new tree; free space and chunks from the plan.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct Rebuild {
  private let survey: Survey
  private let retargeted: [Key: UInt64]
  private let space: SpacePlan
  private let mountCount: UInt64
  private var loader: TreeLoader
  private var nextDrop = 0
  private var nextPut = 0
  private var spaceIsWritten = false
  private var mapChanges: UInt64 = 0
  /// Inode of the record before, and whether it is kept.
  private var current: (number: InodeNumber, isKept: Bool)?
  private let scratch = AlignedBuffer(byteCount: TreeNode.maximumValueBytes)

  private(set) var inodes: UInt64 = 0
  private(set) var orphans: UInt64 = 0

  /// `mountCount` is the repaired volume's: maps that change get a generation of it.
  init(
    _ device: BlockDevice, _ survey: Survey, retargeted: [Key: UInt64], _ space: SpacePlan, generation: UInt64,
    mountCount: UInt64
  ) {
    self.survey = survey
    self.retargeted = retargeted
    self.space = space
    self.mountCount = mountCount
    loader = TreeLoader(device, id: survey.superblock.id, generation: generation, space: space.metadata)
  }

  /// Writes the tree and its chunk map; the root's block and level, and the first block of the map.
  mutating func run(
    progress: (UInt64) -> Void
  ) throws(FSError) -> (root: BlockNumber, level: UInt32, map: [BlockNumber]) {
    try survey.old.visit(progress: progress) { (key, value) throws(FSError) in try takeOld(key, value) }
    while nextPut < survey.edits.puts.count { try takePut() }
    try writeSpace()
    let tree = try loader.finish()
    return (tree.root, tree.level, loader.space.mapBlocks)
  }

  private mutating func takeOld(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    while nextPut < survey.edits.puts.count, survey.edits.puts[nextPut].key < key { try takePut() }
    let dropped = survey.edits.dropped
    while nextDrop < dropped.count, dropped[nextDrop] < key { nextDrop += 1 }
    if nextDrop < dropped.count, dropped[nextDrop] == key { return }
    if nextPut < survey.edits.puts.count, survey.edits.puts[nextPut].key == key { return }
    switch key.space {
    case .file, .orphan, .persistentSeal: try take(key, value)
    default: break
    }
  }

  private mutating func takePut() throws(FSError) {
    let put = survey.edits.puts[nextPut]
    nextPut += 1
    let result = survey.edits.bytes.withUnsafeBytes { bytes -> Result<Void, FSError> in
      do throws(FSError) {
        return .success(try take(put.key, UnsafeRawBufferPointer(rebasing: bytes[put.start..<put.start + put.count])))
      } catch { return .failure(error) }
    }
    try result.get()
  }

  /// A record that stays.
  private mutating func take(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    guard key.space == .file else {
      if key.space == .orphan { orphans += 1 } else { try writeSpace() }
      return try loader.append(key, value)
    }
    guard isKept(key.object) else { return }
    switch key.type {
    case .inode: try appendInode(key, value)
    case .dirent: try appendEntry(key, value)
    default: try loader.append(key, value)
    }
  }

  private mutating func isKept(_ number: InodeNumber) -> Bool {
    if let current, current.number == number { return current.isKept }
    let isKept = survey.inodes.index(of: number).map { !survey.inodes.entries[$0].isDropped } ?? false
    current = (number, isKept)
    return isKept
  }

  /// The record with counts, size and parent as they are now.
  private mutating func appendInode(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    guard var record = InodeRecord(decoding: value), let index = survey.inodes.index(of: key.object),
      let bytes = scratch.bytes.baseAddress
    else { throw .corrupt(structure: .inodeRecord, block: 0) }
    let entry = survey.inodes.entries[index]
    InodeMender.mend(&record)
    record.links = entry.links
    record.size = entry.size
    record.blocks = entry.blocks
    if entry.directory >= 0 {
      let parent =
        entry.number == RootDirectory.inode ? entry.number : survey.inodes.directories[entry.directory].namedIn
      if parent != 0 { record.parent = parent }
    }
    if entry.hasNewMap {
      mapChanges += 1
      record.mapGeneration = mountCount << 32 | mapChanges & 0xffff_ffff
    }
    record.encode(to: bytes)
    inodes += 1
    try loader.append(key, UnsafeRawBufferPointer(rebasing: scratch.bytes[..<InodeRecord.size]))
  }

  private mutating func appendEntry(_ key: Key, _ value: UnsafeRawBufferPointer) throws(FSError) {
    guard let target = retargeted[key], let bytes = scratch.bytes.baseAddress else {
      return try loader.append(key, value)
    }
    scratch.bytes.copyBytes(from: value)
    bytes.put(target & Key.maximumObject, 0)
    bytes.put(UInt8(truncatingIfNeeded: target >> 56), 8)
    try loader.append(key, UnsafeRawBufferPointer(rebasing: scratch.bytes[..<value.count]))
  }

  /// Free space by place and by length, and the chunks; between orphans and seals.
  private mutating func writeSpace() throws(FSError) {
    guard !spaceIsWritten else { return }
    spaceIsWritten = true
    for run in space.free { try appendLength(.free(run.start), run.count) }
    for key in space.free.map(Key.freeByLength).sorted() {
      try loader.append(key, UnsafeRawBufferPointer(start: nil, count: 0))
    }
    for chunk in space.metadata.ranges { try appendLength(.chunk(chunk.start), chunk.count) }
  }

  private mutating func appendLength(_ key: Key, _ count: UInt64) throws(FSError) {
    guard let bytes = scratch.bytes.baseAddress else { return }
    bytes.put(count, 0)
    try loader.append(key, UnsafeRawBufferPointer(rebasing: scratch.bytes[..<LengthRecord.size]))
  }
}
