/// Reading extent maps, and the only functions that edit them. Editing takes a `MapChangePermit`, which only the gate
/// (HoldfastSeal/MapChangeGate.swift) makes; it runs inside a transaction, under the inode's exclusive lock.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

/// An extent with the file block it begins at.
struct MappedExtent: Equatable {
  var start: FileBlock
  var record: ExtentRecord

  var count: UInt64 { UInt64(record.count) }
  var end: FileBlock { start + count }
  var isWritten: Bool { record.flags.isEmpty }
  func physical(_ block: FileBlock) -> BlockNumber { record.physical + (block - start) }
  func isContinued(by next: MappedExtent) -> Bool {
    end == next.start && record.physical + count == next.record.physical && record.flags == next.record.flags
  }
}

extension Store {
  // MARK: Reading

  /// The extent that holds `block`, else the next one behind it.
  func extent(of inode: InodeNumber, from block: FileBlock) throws(FSError) -> MappedExtent? {
    if let found = try decode(tree.last(upTo: .extent(inode, block)), inode), found.end > block { return found }
    return try decode(tree.first(from: .extent(inode, block)), inode)
  }

  /// The extent before or at `block`.
  func extent(of inode: InodeNumber, upTo block: FileBlock) throws(FSError) -> MappedExtent? {
    try decode(tree.last(upTo: .extent(inode, block)), inode)
  }

  /// File blocks lie below this: a file has at most 2^63 - 1 bytes.
  static let maximumFileBlocks: FileBlock = 1 << 51

  private func decode(
    _ record: (key: Key, value: UnsafeRawBufferPointer)?, _ inode: InodeNumber
  ) throws(FSError) -> MappedExtent? {
    guard let record, record.key.high == inode, record.key.type == .extent else { return nil }
    guard let extent = ExtentRecord(decoding: record.value), extent.physical >= volume.dataStart,
      extent.physical < volume.totalBlocks, record.key.offset + UInt64(extent.count) <= Store.maximumFileBlocks,
      UInt64(extent.count) <= volume.totalBlocks - extent.physical,
      !chunks.overlaps(BlockRange(start: extent.physical, count: UInt64(extent.count)))
    else { throw .corrupt(structure: .extentRecord, block: inode) }
    return MappedExtent(start: record.key.offset, record: extent)
  }

  /// What lies at `block`: an extent, or a hole up to the next one or `limit`.
  enum Piece {
    case mapped(MappedExtent)
    case hole(BlockRange)

    var isWritten: Bool { if case .mapped(let extent) = self { extent.isWritten } else { false } }

    var end: FileBlock {
      switch self {
      case .mapped(let extent): extent.end
      case .hole(let hole): hole.end
      }
    }
  }

  /// Pieces looked at under one hold of the tree lock.
  private static let walkStep = 1024

  /// Calls `body` with what lies in `blocks`, in order, until it returns false. The first and the last extent may reach
  /// beyond. A long map is not walked under one hold of the tree lock: the caller's lock of the inode keeps it still.
  func walk(
    _ inode: InodeNumber, _ blocks: BlockRange, _ body: (Piece) throws(FSError) -> Bool
  ) throws(FSError) {
    var block = blocks.start
    while block < blocks.end {
      try reading { () throws(FSError) in
        for _ in 0..<Store.walkStep where block < blocks.end {
          let piece = try piece(of: inode, at: block, limit: blocks.end)
          block = try body(piece) ? piece.end : blocks.end
        }
      }
    }
  }

  func piece(of inode: InodeNumber, at block: FileBlock, limit: FileBlock) throws(FSError) -> Piece {
    guard let extent = try extent(of: inode, from: block), extent.start < limit else {
      return .hole(BlockRange(from: block, to: limit))
    }
    return extent.start <= block ? .mapped(extent) : .hole(BlockRange(from: block, to: extent.start))
  }

  // MARK: Editing

  /// Keys one edit of a single extent may touch: its neighbours, its pieces, the inode.
  static let keysPerExtentEdit = 6

  /// Maps a hole. Merges with neighbours that continue it.
  func insertExtent(
    of inode: InodeNumber, _ extent: MappedExtent, _ permit: borrowing MapChangePermit
  ) throws(FSError) {
    precondition(permit.inode == inode && extent.end <= Store.maximumFileBlocks)
    try store(extent, of: inode)
  }

  private func store(_ extent: MappedExtent, of inode: InodeNumber) throws(FSError) {
    var merged = extent
    if extent.start > 0, let before = try self.extent(of: inode, upTo: extent.start - 1),
      before.isContinued(by: extent), before.count + extent.count <= ExtentRecord.maximumBlocks
    {
      try delete(.extent(inode, before.start))
      merged.start = before.start
      merged.record.physical = before.record.physical
      merged.record.count += before.record.count
    }
    if let after = try self.extent(of: inode, from: extent.end), extent.isContinued(by: after),
      merged.count + after.count <= ExtentRecord.maximumBlocks
    {
      try delete(.extent(inode, after.start))
      merged.record.count += after.record.count
    }
    try putExtent(inode, merged)
  }

  private func putExtent(_ inode: InodeNumber, _ extent: MappedExtent) throws(FSError) {
    try withEncoded(ExtentRecord.size, extent.record.encode) { bytes throws(FSError) in
      try put(.extent(inode, extent.start), bytes)
    }
  }

  /// Marks up to `limit` extents in `range` written or unwritten, splitting them at its borders.
  /// Returns where it stopped: `range.end` when all is done.
  func convert(
    of inode: InodeNumber, _ range: BlockRange, toWritten: Bool, limit: Int, _ permit: borrowing MapChangePermit
  ) throws(FSError) -> FileBlock {
    precondition(permit.inode == inode)
    var block = range.start
    var edits = 0
    while block < range.end, let extent = try extent(of: inode, from: block), extent.start < range.end {
      let overlap = BlockRange(from: max(block, extent.start), to: min(range.end, extent.end))
      if extent.isWritten != toWritten {
        guard edits < limit else { return block }
        edits += 1
        try split(inode, extent, at: overlap)
        try store(
          MappedExtent(
            start: overlap.start,
            record: ExtentRecord(
              physical: extent.physical(overlap.start), count: UInt32(overlap.count),
              flags: toWritten ? [] : [.unwritten])), of: inode)
      }
      block = overlap.end
    }
    return range.end
  }

  /// Replaces `extent` by what lies outside `hole`.
  private func split(_ inode: InodeNumber, _ extent: MappedExtent, at hole: BlockRange) throws(FSError) {
    if hole.start > extent.start {
      var head = extent
      head.record.count = UInt32(hole.start - extent.start)
      try putExtent(inode, head)
    } else {
      try delete(.extent(inode, extent.start))
    }
    if hole.end < extent.end {
      let tail = MappedExtent(
        start: hole.end,
        record: ExtentRecord(
          physical: extent.physical(hole.end), count: UInt32(extent.end - hole.end), flags: extent.record.flags))
      try putExtent(inode, tail)
    }
  }

  /// Unmaps up to `limit` extents of [from, to); their blocks go to quarantine.
  func removeExtents(
    of inode: InodeNumber, from start: FileBlock, to end: FileBlock, limit: Int, _ permit: borrowing MapChangePermit
  ) throws(FSError) -> (removedBlocks: UInt64, more: Bool) {
    precondition(permit.inode == inode)
    var removed: UInt64 = 0
    for _ in 0..<limit {
      guard let extent = try extent(of: inode, from: start), extent.start < end else { return (removed, false) }
      let overlap = BlockRange(from: max(start, extent.start), to: min(end, extent.end))
      try split(inode, extent, at: overlap)
      try quarantine(BlockRange(start: extent.physical(overlap.start), count: overlap.count), of: inode)
      removed += overlap.count
    }
    let next = try extent(of: inode, from: start)
    return (removed, next.map { $0.start < end } ?? false)
  }

  // MARK: Generation

  /// The map of `record` changed: give it a generation no map of this volume had before.
  func touchMap(_ record: inout InodeRecord) {
    mapChanges += 1
    record.mapGeneration = volume.mountCount << 32 | mapChanges & 0xffff_ffff
  }

  /// `holdfast.generation`: moves on with every map change, withdrawn grant and mount.
  func currentGeneration(_ record: InodeRecord) -> UInt64 { max(record.mapGeneration, volume.mountCount << 32) }

  public func mapGeneration(of inode: InodeNumber) throws(FSError) -> UInt64 {
    try reading { () throws(FSError) in currentGeneration(try self.inode(inode)) }
  }

  /// Up to `limit` extents from byte `offset` on.
  public func extents(of inode: InodeNumber, from offset: UInt64, limit: Int) throws(FSError) -> [Extent] {
    try map(of: inode, from: offset, limit: limit).extents
  }

  /// Up to `limit` extents from byte `offset` on, and the generation of the map they belong to.
  public func map(
    of inode: InodeNumber, from offset: UInt64, limit: Int
  ) throws(FSError) -> (extents: [Extent], generation: UInt64) {
    try reading { () throws(FSError) in
      let generation = currentGeneration(try self.inode(inode))
      var result: [Extent] = []
      var block = offset >> UInt64(Block.shift)
      while result.count < limit, let extent = try extent(of: inode, from: block) {
        result.append(
          Extent(
            logical: extent.start << UInt64(Block.shift), physical: extent.record.physical << UInt64(Block.shift),
            length: extent.count << UInt64(Block.shift), flags: extent.record.flags))
        block = extent.end
      }
      return (result, generation)
    }
  }
}
