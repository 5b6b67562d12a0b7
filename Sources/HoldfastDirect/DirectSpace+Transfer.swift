/// pread and pwrite, preadv and pwritev on the blocks of a file. Nothing is allocated, and a transfer within one
/// extent is one system call.
///
/// With an image opened O_DIRECT, offsets, lengths and addresses must be aligned as the image's device wants it (EINVAL
/// of the kernel otherwise).

import CPlatform

extension DirectSpace {
  /// Reads as pread(2) does: up to `count` bytes from byte `offset` of the file; fewer at `fileSize` and at the end
  /// of the layout, 0 from the end of the file on. Holes and unwritten blocks read as zeros.
  /// - Throws: `.read`: `.outsideLayout` for a place in the file but not in the layout; the kernel's errno when
  ///   nothing was read.
  public func read(
    _ bytes: UnsafeMutableRawPointer, count: Int, at offset: UInt64, fileSize: UInt64
  ) throws(DirectError) -> Int {
    guard offset < fileSize, count > 0 else { return 0 }
    guard offset >= start, offset < end else { throw DirectError(.read, .outsideLayout) }
    let limit = min(UInt64(count), fileSize - offset, end - offset)
    let piece = extents.piece(at: offset, limit: limit)
    if piece.length == limit {
      return try read(piece, to: bytes, room: count)
    }
    return try readPieces(bytes, count: count, limit: limit, at: offset)
  }

  private func readPieces(
    _ bytes: UnsafeMutableRawPointer, count: Int, limit: UInt64, at offset: UInt64
  ) throws(DirectError) -> Int {
    var done = 0
    while UInt64(done) < limit {
      let piece = extents.piece(at: offset + UInt64(done), limit: limit - UInt64(done))
      let transferred: Int
      do throws(DirectError) {
        transferred = try read(piece, to: bytes + done, room: count - done)
      } catch {
        if done > 0 { break }
        throw error
      }
      done += transferred
      if UInt64(transferred) < piece.length { break }
    }
    return done
  }

  /// One piece, into a buffer with room for `room` bytes, which may be more.
  @inline(__always)
  private func read(_ piece: Piece, to bytes: UnsafeMutableRawPointer, room: Int) throws(DirectError) -> Int {
    let length = Int(piece.length)
    guard piece.isOnImage else {
      memset(bytes, 0, length)
      return length
    }
    // Past the page cache only whole blocks go: where the file ends within one, all of it is read if there is room.
    var asked = length
    if image.isDirect {
      let whole = (length + Int(ExtentTable.blockBytes) - 1) & ~(Int(ExtentTable.blockBytes) - 1)
      if whole <= room { asked = whole }
    }
    let result = holdfast_direct_pread(image.descriptor, bytes, asked, Int64(piece.physical))
    guard result >= 0 else { throw DirectError(.read, errno: Int32(-result)) }
    if asked > length, Int(result) > length { memset(bytes + length, 0, Int(result) - length) }
    return min(Int(result), length)
  }

  /// Writes as pwrite(2) does, but only where blocks are: all of the range must lie in written extents, or in blocks
  /// behind the end of the file that this write layout prepared. The file's size is its owner's business:
  /// `DirectLayout.giveBack`.
  /// - Throws: `.write`, before anything is written: `.outsideLayout`, `.hole`, `.unwritten`, `.shared`, `.readOnly`;
  ///   the kernel's errno when nothing was written.
  public func write(_ bytes: UnsafeRawPointer, count: Int, at offset: UInt64) throws(DirectError) -> Int {
    guard count > 0 else { return 0 }
    try checkStorable(offset, count, .write)
    var done = 0
    while done < count {
      let piece = extents.piece(at: offset + UInt64(done), limit: UInt64(count - done))
      let result = holdfast_direct_pwrite(
        image.descriptor, bytes + done, Int(piece.length), Int64(piece.physical))
      guard result >= 0 else {
        if done > 0 { break }
        throw DirectError(.write, errno: Int32(-result))
      }
      done += Int(result)
      if UInt64(result) < piece.length { break }
    }
    return done
  }
}

extension DirectSpace {
  /// preadv(2): as `read`, into several buffers one after the other.
  public func readVector(
    _ parts: UnsafePointer<iovec>, count: Int, at offset: UInt64, fileSize: UInt64
  ) throws(DirectError) -> Int {
    let total = try Self.total(parts, count, .read)
    guard offset < fileSize, total > 0 else { return 0 }
    guard offset >= start, offset < end else { throw DirectError(.read, .outsideLayout) }
    let piece = extents.piece(at: offset, limit: UInt64(total))
    if piece.length == UInt64(total), offset + UInt64(total) <= min(fileSize, end), piece.isOnImage {
      let result = holdfast_direct_preadv(image.descriptor, parts, Int32(count), Int64(piece.physical))
      guard result >= 0 else { throw DirectError(.read, errno: Int32(-result)) }
      return Int(result)
    }
    return try partByPart(parts, count) { (part, done) throws(DirectError) in
      try read(part.iov_base, count: part.iov_len, at: offset + UInt64(done), fileSize: fileSize)
    }
  }

  /// pwritev(2): as `write`, from several buffers one after the other; refused as a whole.
  public func writeVector(_ parts: UnsafePointer<iovec>, count: Int, at offset: UInt64) throws(DirectError) -> Int {
    let total = try Self.total(parts, count, .write)
    guard total > 0 else { return 0 }
    try checkStorable(offset, total, .write)
    let piece = extents.piece(at: offset, limit: UInt64(total))
    if piece.length == UInt64(total) {
      let result = holdfast_direct_pwritev(image.descriptor, parts, Int32(count), Int64(piece.physical))
      guard result >= 0 else { throw DirectError(.write, errno: Int32(-result)) }
      return Int(result)
    }
    return try partByPart(parts, count) { (part, done) throws(DirectError) in
      try write(part.iov_base, count: part.iov_len, at: offset + UInt64(done))
    }
  }

  /// IOV_MAX of Linux.
  private static let maximumParts = 1024

  private static func total(
    _ parts: UnsafePointer<iovec>, _ count: Int, _ step: DirectError.Step
  ) throws(DirectError) -> Int {
    guard count >= 0, count <= maximumParts else { throw DirectError(step, .malformedRange) }
    var total = 0
    for index in 0..<count {
      let (sum, overflows) = total.addingReportingOverflow(parts[index].iov_len)
      guard !overflows, parts[index].iov_len >= 0 else { throw DirectError(step, .malformedRange) }
      total = sum
    }
    return total
  }

  /// Until one is short. An error behind the first byte is for the next call.
  private func partByPart(
    _ parts: UnsafePointer<iovec>, _ count: Int, _ transfer: (iovec, Int) throws(DirectError) -> Int
  ) throws(DirectError) -> Int {
    var done = 0
    for index in 0..<count where parts[index].iov_len > 0 {
      let transferred: Int
      do throws(DirectError) {
        transferred = try transfer(parts[index], done)
      } catch {
        if done > 0 { break }
        throw error
      }
      done += transferred
      if transferred < parts[index].iov_len { break }
    }
    return done
  }
}
