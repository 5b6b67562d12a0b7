/// lseek's SEEK_DATA and SEEK_HOLE, copy_file_range, fsync.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

extension Store {
  /// - Throws: `.noSuchOffset` at or behind the end, or when only holes follow.
  public func seekData(_ inode: InodeNumber, from offset: UInt64) throws(FSError) -> UInt64 {
    try seek(inode, from: offset, data: true)
  }

  /// The end of the file counts as a hole.
  public func seekHole(_ inode: InodeNumber, from offset: UInt64) throws(FSError) -> UInt64 {
    try seek(inode, from: offset, data: false)
  }

  private func seek(_ number: InodeNumber, from offset: UInt64, data: Bool) throws(FSError) -> UInt64 {
    try reading { () throws(FSError) in
      let record = try inode(number)
      guard record.isRegular else { throw .invalid(.argument) }
      guard offset < record.size else { throw .noSuchOffset }
      let limit = Block.count(covering: record.size)
      var block = offset >> UInt64(Block.shift)
      while block < limit {
        var isData = false
        var next: FileBlock
        switch try piece(of: number, at: block, limit: limit) {
        case .hole(let hole): next = hole.end
        case .mapped(let extent):
          isData = !extent.record.flags.contains(.unwritten)
          next = extent.end
        }
        if isData == data { return max(offset, block << UInt64(Block.shift)) }
        block = next
      }
      if data { throw .noSuchOffset }
      return record.size
    }
  }

  /// Bytes moved at a time.
  private static let copyBytes = 1 << 20

  /// copy_file_range: copies up to `length` bytes, less where the source ends. Row 5: the destination's rules are
  /// those of a write, `waits` included.
  public func copyRange(
    from source: InodeNumber, at sourceOffset: UInt64, to destination: InodeNumber, at destinationOffset: UInt64,
    length: UInt64, dropPrivileges: Bool, dropCapability: Bool = false, handle: UInt64?, by caller: Credentials,
    waits: Bool = false
  ) throws(FSError) -> UInt64 {
    // The source ends where it ended when asked: copying within a file may move its end.
    let size = try attributes(of: source).record.size
    let length = min(length, size - min(size, sourceOffset))
    let buffer = AlignedBuffer(byteCount: Int(min(length, UInt64(Store.copyBytes))))
    var done: UInt64 = 0
    while done < length {
      let want = Int(min(length - done, UInt64(Store.copyBytes)))
      do throws(FSError) {
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<want])
        let count = try read(source, into: part, at: sourceOffset + done)
        if count == 0 { break }
        // Who waits begins again, and what has been copied would be copied twice.
        _ = try write(
          destination, UnsafeRawBufferPointer(rebasing: part[..<count]), at: destinationOffset + done, append: false,
          dropPrivileges: dropPrivileges, dropCapability: dropCapability, handle: handle, by: caller,
          waits: waits && done == 0)
        done += UInt64(count)
      } catch {
        // What was copied counts; the rest is asked for again and then told why not.
        if done == 0 { throw error }
        break
      }
    }
    return done
  }

  /// fsync, fdatasync (`dataOnly`) and fsyncdir: the file is durable when this returns, with `dataOnly` its times
  /// excepted. Commits are for everybody: which file it is makes no difference, but for what its holders may have stored.
  public func sync(_ inode: InodeNumber, dataOnly: Bool) throws(FSError) {
    if seals.hasWriteLayouts(inode) { holderMayHaveStored() }
    try sync(dataOnly: dataOnly)
  }

  /// Somebody may have stored into blocks through the image, which is durable after the next barrier only.
  public func holderMayHaveStored() { dataWrites.wrappingAdd(1, ordering: .releasing) }

  /// Everything so far is durable when this returns.
  public func syncAll() throws(FSError) { try sync(dataOnly: false) }

  private func sync(dataOnly: Bool) throws(FSError) {
    treeLock.lock()
    let target = dataOnly ? lastingTicket : ticket
    let failure = writeFailure
    treeLock.unlock()
    if let failure { throw failure }
    if options.readOnly { return }
    try commit(upTo: target)
  }
}
