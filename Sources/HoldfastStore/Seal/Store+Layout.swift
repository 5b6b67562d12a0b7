/// Layouts: what a holder may load from and store into through the image, and what becomes the file's when it is done
/// (docs/decisions/0009-layouts.md). The request itself is taken by `Store.seal`.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

extension Store {
  public var imageIdentity: ImageIdentity? { device.identity }

  /// Up to `limit` extents of a layout from byte `cursor` of the file on, cut to its range, and where the next page begins;
  /// nil when this was the last.
  public func layoutExtents(
    of inode: InodeNumber, _ scope: SealScope, from cursor: UInt64, limit: Int
  ) throws(FSError) -> (extents: [Extent], next: UInt64?) {
    let range = scope.blocks ?? BlockRange(from: 0, to: Store.maximumFileBlocks)
    let start = max(cursor, range.start << UInt64(Block.shift))
    let end = range.end << UInt64(Block.shift)
    // Behind the layout there is nothing to tell, be it within an extent of it.
    guard start < end else { return ([], nil) }
    var extents: [Extent] = []
    for extent in try self.extents(of: inode, from: start, limit: limit + 1) {
      if extent.logical >= end { return (extents, nil) }
      if extents.count == limit { return (extents, extent.logical) }
      let cut = max(extent.logical, start)
      extents.append(
        Extent(
          logical: cut, physical: extent.physical + (cut - extent.logical),
          length: min(extent.logical + extent.length, end) - cut, flags: extent.flags))
    }
    return (extents, nil)
  }

  // MARK: Behind the end

  /// What a layout for writing covers behind the end of the file holds zeros until its holder stores there: what becomes
  /// the file's with the return must not be another file's bytes. Blocks stay unwritten.
  /// - Returns: the generation of the map for which that is so; nil when nothing is to be zeroed.
  func zeroBehindEnd(for request: SealRequest, _ inode: InodeNumber) throws(FSError) -> UInt64? {
    guard request.layout?.isWriting == true else { return nil }
    // As a rule there is nothing: then a look without the inode's lock does, for a map that changes is looked at again.
    let (record, isNothing) = try reading { () throws(FSError) -> (InodeRecord, Bool) in
      let record = try self.inode(inode)
      let end = Block.count(covering: record.size)
      let behind = try extent(of: inode, from: end)
      return (record, behind == nil && record.size == end << UInt64(Block.shift))
    }
    if isNothing { return record.mapGeneration }
    var next: FileBlock = 0
    var generation: UInt64?
    // In pieces, as `prepare` does; a map that changes in between is zeroed again, whole, under the grant's lock.
    while true {
      let isDone = try inodeLocks.exclusive(inode) { () throws(FSError) in
        try trimLocked(inode)
        let record = try reading { () throws(FSError) in try self.inode(inode) }
        if generation == nil { generation = record.mapGeneration }
        guard record.isRegular, generation == record.mapGeneration else { return true }
        let unwritten = blocksBehindEnd(record, request.scope).intersection(
          BlockRange(from: next, to: MapChange.endOfMap))
        if next == 0 { try zeroRestOfLastBlock(inode, record, request.scope) }
        let piece = BlockRange(start: unwritten.start, count: min(unwritten.count, Store.prepareStep))
        try zeroUnwritten(inode, piece)
        guard !unwritten.isEmpty, let more = try extent(of: inode, reaching: piece.end) else { return true }
        next = max(more.start, piece.end)
        return false
      }
      if isDone { return generation }
    }
  }

  func zeroBehindEndLocked(_ inode: InodeNumber, _ record: InodeRecord, _ scope: SealScope) throws(FSError) {
    try zeroRestOfLastBlock(inode, record, scope)
    try zeroUnwritten(inode, blocksBehindEnd(record, scope))
  }

  private func blocksBehindEnd(_ record: InodeRecord, _ scope: SealScope) -> BlockRange {
    let range = scope.blocks ?? BlockRange(from: 0, to: Store.maximumFileBlocks)
    return range.intersection(BlockRange(from: Block.count(covering: record.size), to: Store.maximumFileBlocks))
  }

  private func zeroRestOfLastBlock(
    _ inode: InodeNumber, _ record: InodeRecord, _ scope: SealScope
  ) throws(FSError) {
    guard record.size & UInt64(Block.size - 1) != 0 else { return }
    if let blocks = scope.blocks, !blocks.contains(record.size >> UInt64(Block.shift)) { return }
    try zeroTail(of: inode, size: record.size, upTo: .max)
  }

  private func zeroUnwritten(_ inode: InodeNumber, _ blocks: BlockRange) throws(FSError) {
    var block = blocks.start
    try walk(inode, blocks) { (piece) throws(FSError) in
      let end = min(piece.end, blocks.end)
      if case .mapped(let extent) = piece, !extent.isWritten {
        try writeZeros(
          (end - block) << UInt64(Block.shift), at: extent.physical(block) << UInt64(Block.shift), of: inode)
      }
      block = end
      return true
    }
  }

  private func extent(of inode: InodeNumber, reaching block: FileBlock) throws(FSError) -> MappedExtent? {
    try reading { () throws(FSError) in try extent(of: inode, from: block) }
  }

  // MARK: Return

  /// A layout given back, and what its holder says of what it stored.
  public struct LayoutReturn: Sendable {
    public var id: UInt64
    public var handle: UInt64
    /// The file's size from now on: what lies between the old end and this was stored through the layout. nil: as it is.
    public var size: UInt64?
    /// Modification and change time become now.
    public var touches: Bool

    public init(id: UInt64, handle: UInt64, size: UInt64?, touches: Bool) {
      self.id = id
      self.handle = handle
      self.size = size
      self.touches = touches
    }
  }

  /// Ends a layout; a refused change of size leaves it standing (rule 5).
  /// - Throws: `.stale`, `.noData`; `.invalid` for a size that was not laid out for writing; `.sealed`, `.mustWait`,
  ///   `.recallInFlight` when others' requests are in the way of the new size.
  /// - Returns: the map's generation and the size afterwards.
  public func returnLayout(
    _ layout: LayoutReturn, of inode: InodeNumber, by caller: Credentials, waits: Bool
  ) throws(FSError) -> (generation: UInt64, size: UInt64) {
    holderMayHaveStored()
    return try inodeLocks.exclusive(inode) { () throws(FSError) in
      let request = try seals.layout(layout.id, ofHandle: layout.handle, inode: inode).request
      let before = try reading { () throws(FSError) in try self.inode(inode) }
      if let size = layout.size, size != before.size {
        guard request.layout?.isWriting == true else { throw .badHandle }
        var actor = Actor(credentials: caller, handle: layout.handle, waits: waits)
        actor.returning = layout.id
        try setSize(inode, before, to: size, storedThrough: request.scope, by: actor)
      } else if layout.touches {
        guard request.layout?.isWriting == true else { throw .badHandle }
        try touch(inode)
      }
      _ = try? seals.release(request.identity, inode: inode, by: caller)
      let after = try reading { () throws(FSError) in try self.inode(inode) }
      return (currentGeneration(after), after.size)
    }
  }

  private func setSize(
    _ number: InodeNumber, _ record: InodeRecord, to size: UInt64, storedThrough scope: SealScope, by actor: Actor
  ) throws(FSError) {
    guard size > record.size else {
      return try setSize(number, to: size, by: actor) { (record, _) throws(FSError) in
        record.modified = .now
        record.changed = record.modified
      }
    }
    guard size <= Limits.fileBytes else { throw .fileTooBig }
    let record = try reading { () throws(FSError) in try changeableFile(number) }
    let oldEnd = Block.count(covering: record.size)
    // From the block with the old end on, if it has bytes behind that.
    let stored = BlockRange(from: record.size >> UInt64(Block.shift), to: Block.count(covering: size))
    let covered = scope.blocks ?? stored
    guard covered.start <= stored.start, covered.end >= stored.end,
      try runs(of: number, in: stored, .mapping, limit: 1).isEmpty
    else { throw .invalid(.argument) }
    // Durable before the blocks are written ones: whichever commit takes that puts a barrier between.
    countDirectStores()
    let permit = try seals.authorize(
      .grow(mapping: BlockRange(from: min(oldEnd, stored.end), to: stored.end)), inode: number, by: actor)
    try finishWrite(number, stored, end: size, Drop(privileges: false, capability: false), permit)
  }

  private func touch(_ number: InodeNumber) throws(FSError) {
    try transaction(keys: 1, .shrinking) { () throws(FSError) in
      var record = try writableFile(number)
      record.modified = .now
      record.changed = record.modified
      try putInode(number, record)
    }
  }

  /// Whether stores may go anywhere into the file: not where write(2) would be refused (chattr +i), or goes to the end
  /// alone (+a).
  public func checkStorable(_ number: InodeNumber) throws(FSError) {
    let record = try reading { () throws(FSError) in try writableFile(number) }
    if record.flags.contains(.appendOnly) { throw .notPermitted }
  }

  /// Who stores into a file without the privilege to keep them takes its set-id bits and capability, as write(2) does;
  /// here once, before the first store.
  public func dropPrivilegesForStores(into number: InodeNumber) throws(FSError) {
    try inodeLocks.exclusive(number) { () throws(FSError) in
      try transaction(keys: 3, .shrinking) { () throws(FSError) in
        var record = try inode(number)
        try dropPrivileges(number, &record)
        try putInode(number, record)
      }
    }
  }
}
