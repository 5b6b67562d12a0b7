/// fallocate(2): preallocate, punch, zero. Collapse and insert cannot reach a FUSE server; the gate's rule is asked
/// all the same before they are refused.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// - Throws: `.sealed` (rows 11-13), `.noSpace` before anything changed, `.unsupported` for modes there are none of.
  ///   With `waits` `.mustWait`, else `.recallInFlight`: see `write`.
  public func allocate(
    _ inode: InodeNumber, mode: AllocateMode, offset: UInt64, length: UInt64, handle: UInt64?, by caller: Credentials,
    waits: Bool = false
  ) throws(FSError) {
    guard length > 0 else { throw .invalid(.argument) }
    guard offset <= Limits.fileBytes, length <= Limits.fileBytes - offset else { throw .fileTooBig }
    let actor = Actor(credentials: caller, handle: handle, waits: waits)
    try inodeLocks.exclusive(inode) { () throws(FSError) in
      let record = try reading { () throws(FSError) in try changeableFile(inode) }
      if record.flags.contains(.appendOnly), !mode.isSubset(of: .keepSize) { throw .notPermitted }
      switch mode {
      case [], .keepSize: try preallocate(inode, record, offset, length, keepSize: mode == .keepSize, actor)
      case [.punchHole, .keepSize]: try punch(inode, record, offset, length, actor)
      case .zeroRange, [.zeroRange, .keepSize]:
        try zeroRange(inode, record, offset, length, keepSize: mode.contains(.keepSize), actor)
      case .collapseRange, .insertRange:
        _ = try seals.authorize(.shift(fromByte: offset), inode: inode, by: actor)
        throw .unsupported
      default: throw .unsupported
      }
    }
  }

  private func preallocate(
    _ number: InodeNumber, _ record: InodeRecord, _ offset: UInt64, _ length: UInt64, keepSize: Bool, _ actor: Actor
  ) throws(FSError) {
    let end = offset + length
    let blocks = BlockRange.covering(byteOffset: offset, byteCount: length)
    let grows = !keepSize && end > record.size
    let allocates = try hasHole(number, blocks)
    // Row 11: only what would allocate or grow meets the gate.
    guard grows || allocates else {
      return try finishAllocate(number, size: nil, keep: false)
    }
    let permit = try authorizeWrite(
      number, record, blocks, end: grows ? end : min(end, record.size), changing: .mapping, actor)
    try fill(number, blocks, growing: false, permit)
    if grows { try zeroTail(of: number, size: record.size, upTo: end) }
    try finishAllocate(number, size: grows ? end : nil, keep: keepSize && end > record.size)
  }

  private func hasHole(_ number: InodeNumber, _ blocks: BlockRange) throws(FSError) -> Bool {
    var isFound = false
    try walk(number, blocks) { piece in
      if case .hole = piece { isFound = true }
      return !isFound
    }
    return isFound
  }

  /// Size and times after the map is as it should be.
  private func finishAllocate(_ number: InodeNumber, size: UInt64?, keep: Bool) throws(FSError) {
    try transaction(keys: 1, .shrinking) { () throws(FSError) in
      var record = try inode(number)
      if let size {
        record.size = size
        touchMap(&record)
      }
      if keep { record.flags.insert(.keepPreallocation) }
      record.modified = .now
      record.changed = record.modified
      try putInode(number, record)
    }
  }

  private func punch(
    _ number: InodeNumber, _ record: InodeRecord, _ offset: UInt64, _ length: UInt64, _ actor: Actor
  ) throws(FSError) {
    let permit = try seals.authorize(.punch(byteOffset: offset, byteCount: length), inode: number, by: actor)
    let end = offset + length
    let mask = UInt64(Block.size - 1)
    let firstWhole = Block.count(covering: offset)
    // Bytes behind the end may be dropped with their block: a hole there reads the same.
    let endWhole = end >= record.size && end & mask != 0 ? Block.count(covering: end) : end >> UInt64(Block.shift)
    if endWhole >= firstWhole {
      try zeroData(of: number, from: offset, to: min(firstWhole << UInt64(Block.shift), end))
      if endWhole << UInt64(Block.shift) < end {
        try zeroData(of: number, from: endWhole << UInt64(Block.shift), to: end)
      }
    } else {
      try zeroData(of: number, from: offset, to: end)
    }
    var more = true
    while more {
      more = try transaction(keys: Store.removalStep * Store.keysPerExtentEdit + 1, .shrinking) { () throws(FSError) in
        var record = try inode(number)
        var left: (removedBlocks: UInt64, more: Bool) = (0, false)
        if endWhole > firstWhole {
          left = try removeExtents(of: number, from: firstWhole, to: endWhole, limit: Store.removalStep, permit)
        }
        if left.removedBlocks > 0 {
          record.blocks -= min(record.blocks, left.removedBlocks)
          touchMap(&record)
        }
        record.modified = .now
        record.changed = record.modified
        try putInode(number, record)
        return left.more
      }
    }
  }

  /// Some extents from `blocks.start` on; returns where it stopped. Splitting frees nothing: see `checkMetadataRoom`.
  private func makeUnwritten(
    _ number: InodeNumber, _ blocks: BlockRange, _ permit: borrowing MapChangePermit
  ) throws(FSError) -> FileBlock {
    try transaction(keys: Store.removalStep * Store.keysPerExtentEdit + 1, .growing) { () throws(FSError) in
      var record = try inode(number)
      let reached = try convert(of: number, blocks, toWritten: false, limit: Store.removalStep, permit)
      touchMap(&record)
      try putInode(number, record)
      return reached
    }
  }

  private func zeroRange(
    _ number: InodeNumber, _ record: InodeRecord, _ offset: UInt64, _ length: UInt64, keepSize: Bool, _ actor: Actor
  ) throws(FSError) {
    let end = offset + length
    let blocks = BlockRange.covering(byteOffset: offset, byteCount: length)
    let grows = !keepSize && end > record.size
    let zeroing = MapChange.punch(byteOffset: offset, byteCount: length)
    let permit = try authorizeWrite(
      number, record, blocks, end: grows ? end : min(end, record.size), changing: .mapping, with: [zeroing], actor)
    try fill(number, blocks, growing: false, permit)
    let whole = BlockRange(from: Block.count(covering: offset), to: end >> UInt64(Block.shift))
    if whole.isEmpty {
      try zeroData(of: number, from: offset, to: end)
    } else {
      try zeroData(of: number, from: offset, to: whole.start << UInt64(Block.shift))
      try zeroData(of: number, from: whole.end << UInt64(Block.shift), to: end)
    }
    var block = whole.start
    while block < whole.end {
      do throws(FSError) {
        block = try makeUnwritten(number, BlockRange(from: block, to: whole.end), permit)
      } catch .noSpace {
        // No room for more extents: zeros do as well.
        try zeroData(of: number, from: block << UInt64(Block.shift), to: whole.end << UInt64(Block.shift))
        block = whole.end
      }
    }
    if grows { try zeroTail(of: number, size: record.size, upTo: end) }
    try finishAllocate(number, size: grows ? end : nil, keep: keepSize && end > record.size)
  }
}
