/// Writing file contents. Two ways:
///
/// Overwrite: every block is mapped and written, the size stays. The map does not change, so no gate; the inode's lock
/// is shared; times are one mutation.
///
/// Map-changing: exclusive lock, then the gate, then (1) a transaction maps holes with unwritten blocks, (2) the data is
/// written, (3) a transaction makes the blocks written and sets size and times. A crash between shows zeros, never
/// another file's bytes; refusals come before anything has changed.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Writes all of `bytes` at `offset`, or at the end with `append`; or refuses all of them.
  /// - Parameters:
  ///   - dropPrivileges: clear set-id bits and file capabilities (a writer without CAP_FSETID).
  ///   - dropCapability: remove `security.capability` alone.
  ///   - handle: the open handle, for the rules about a holder's own operations.
  ///   - waits: while holders are recalled, by `.mustWait`; else `.recallInFlight`.
  /// - Returns: `bytes.count`.
  /// - Throws: `.sealed`, `.mustWait`, `.recallInFlight` (rows 3, 4), `.noSpace`, `.fileTooBig`, device errors.
  public func write(
    _ inode: InodeNumber, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, append: Bool, dropPrivileges: Bool,
    dropCapability: Bool = false, handle: UInt64?, by caller: Credentials, waits: Bool = false
  ) throws(FSError) -> Int {
    guard bytes.count > 0 else { return 0 }
    let drop = Drop(privileges: dropPrivileges, capability: dropCapability)
    let isOverwritten = append ? false : try overwrite(inode, bytes, at: offset, drop)
    if !isOverwritten {
      try inodeLocks.exclusive(inode) { () throws(FSError) in
        try writeChangingMap(
          inode, bytes, at: append ? nil : offset, drop, Actor(credentials: caller, handle: handle, waits: waits))
      }
    }
    try settleForKernel(inode)
    return bytes.count
  }

  struct Drop {
    var privileges: Bool
    var capability: Bool
    var isAnything: Bool { privileges || capability }
  }

  // MARK: Overwrite

  /// False when the map would have to change.
  private func overwrite(
    _ number: InodeNumber, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ drop: Drop
  ) throws(FSError) -> Bool {
    let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.count))
    if overflow { return false }
    if writesWholeBlocks, (offset | end) & UInt64(Block.size - 1) != 0 { return false }
    return try inodeLocks.shared(number) { () throws(FSError) in
      let runs = try transaction(keys: 2, .shrinking, timesOnly: !drop.isAnything) { () throws(FSError) -> [DataRun]? in
        var record = try writableFile(number)
        guard end <= record.size else { return nil }
        let runs = try self.runs(of: number, from: offset, to: end)
        guard runs.allSatisfy({ $0.deviceOffset != nil }) else { return nil }
        try touchModified(number, &record, drop)
        return runs
      }
      guard let runs else { return false }
      try write(bytes, to: runs, of: number)
      return true
    }
  }

  private func write(
    _ bytes: UnsafeRawBufferPointer, to runs: [DataRun], of number: InodeNumber
  ) throws(FSError) {
    var done = 0
    for run in runs {
      guard let deviceOffset = run.deviceOffset else { preconditionFailure("write into a hole") }
      let part = UnsafeRawBufferPointer(rebasing: bytes[done..<done + run.byteCount])
      try writeData(part, at: deviceOffset, of: number)
      done += run.byteCount
    }
  }

  private func touchModified(
    _ number: InodeNumber, _ record: inout InodeRecord, _ drop: Drop
  ) throws(FSError) {
    record.modified = .now
    record.changed = record.modified
    try self.drop(privileges: drop.privileges, capability: drop.capability, of: number, &record)
    try putInode(number, record)
  }

  // MARK: Map-changing

  /// Under the inode's exclusive lock. `offset` nil: at the end.
  private func writeChangingMap(
    _ number: InodeNumber, _ bytes: UnsafeRawBufferPointer, at requested: UInt64?, _ drop: Drop,
    _ actor: Actor
  ) throws(FSError) {
    let record = try reading { () throws(FSError) in try changeableFile(number) }
    let offset = requested ?? record.size
    guard offset <= Limits.fileBytes, UInt64(bytes.count) <= Limits.fileBytes - offset else { throw .fileTooBig }
    let end = offset + UInt64(bytes.count)
    let blocks = BlockRange.covering(byteOffset: offset, byteCount: UInt64(bytes.count))
    let permit = try authorizeWrite(number, record, blocks, end: end, changing: .contents, actor)
    try checkMetadataRoom(toSplit: number, blocks)
    try fill(number, blocks, growing: end > record.size, permit)
    if offset > record.size { try zeroTail(of: number, size: record.size, upTo: offset) }
    try writeBlocks(of: number, bytes, at: offset)
    try finishWrite(number, blocks, end: end, drop, permit)
  }

  /// Unwritten blocks that become written split extents, which frees nothing: such a change must not eat the metadata
  /// blocks kept for deleting.
  /// - Throws: `.noSpace`, before anything has changed.
  func checkMetadataRoom(toSplit number: InodeNumber, _ blocks: BlockRange) throws(FSError) {
    guard try hasUnwritten(number, blocks) else { return }
    try transaction(keys: Store.removalStep * Store.keysPerExtentEdit, .growing) { () throws(FSError) in }
  }

  /// Writes data into blocks that are all mapped; what an unwritten block gets beside the data is zeros.
  private func writeBlocks(of number: InodeNumber, _ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    let end = offset + UInt64(bytes.count)
    let mask = UInt64(Block.size - 1)
    var at = offset
    while at < end {
      let block = at >> UInt64(Block.shift)
      let extent = try reading { () throws(FSError) -> MappedExtent in
        guard case .mapped(let extent) = try piece(of: number, at: block, limit: block + 1) else {
          throw .corrupt(structure: .extentRecord, block: number)
        }
        return extent
      }
      let next = min(end, extent.end << UInt64(Block.shift))
      let device = extent.physical(block) << UInt64(Block.shift)
      if !extent.isWritten {
        if at & mask != 0 { try writeZeros(at & mask, at: device, of: number) }
        if next & mask != 0 {
          let deviceEnd = device + (next - block << UInt64(Block.shift))
          try writeZeros(UInt64(Block.size) - next & mask, at: deviceEnd, of: number)
        }
      }
      let part = Int(at - offset)..<Int(next - offset)
      try writeData(UnsafeRawBufferPointer(rebasing: bytes[part]), at: device + at & mask, of: number)
      at = next
    }
  }

  func finishWrite(
    _ number: InodeNumber, _ blocks: BlockRange, end: UInt64, _ drop: Drop,
    _ permit: borrowing MapChangePermit
  ) throws(FSError) {
    let changesMap = try hasUnwritten(number, blocks)
    var block = blocks.start
    while block < blocks.end {
      let limit = Store.removalStep
      block = try transaction(keys: limit * Store.keysPerExtentEdit + 3, .shrinking) { () throws(FSError) in
        let rest = BlockRange(from: block, to: blocks.end)
        var record = try inode(number)
        if changesMap { touchMap(&record) }
        let reached = try convert(of: number, rest, toWritten: true, limit: limit, permit)
        if reached == blocks.end, end > record.size {
          record.size = end
          touchMap(&record)
        }
        try touchModified(number, &record, drop)
        return reached
      }
    }
  }
}
