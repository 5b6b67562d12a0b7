/// An image that becomes longer or shorter while it is in use. A file gets all its new blocks reserved, as mkfs does it,
/// so that a full host filesystem never surprises a mounted volume.

import CPlatform
import Glibc
import HoldfastBase

extension ImageFile {
  func extendFile(to byteCount: UInt64) throws(FSError) {
    let (current, isRegular) = try Self.byteCount(of: descriptor)
    if current < byteCount {
      guard isRegular else { throw .deviceTooSmall(byteCount: current) }
      do throws(FSError) {
        try reserve(from: current, to: byteCount)
        try synchronizeLength()
      } catch {
        // What was reserved is given back; a file that cannot be cut either is longer than its volume, which is no harm.
        _ = ftruncate(descriptor, off_t(current))
        throw error
      }
    }
    requireLength(byteCount)
    noteByteCount(max(byteCount, current))
  }

  func cutFile(to byteCount: UInt64) throws(FSError) {
    // First: who writes meanwhile must not take the cut for an accident.
    requireLength(byteCount)
    let (current, isRegular) = try Self.byteCount(of: descriptor)
    guard isRegular, current > byteCount else { return }
    while ftruncate(descriptor, off_t(byteCount)) != 0 {
      guard errno == EINTR else { throw .device(operation: .resize, byteOffset: byteCount, errno: errno) }
    }
    noteByteCount(byteCount)
    try synchronizeLength()
  }

  private func reserve(from start: UInt64, to end: UInt64) throws(FSError) {
    while fallocate(descriptor, 0, off_t(start), off_t(end - start)) != 0 {
      switch errno {
      case EINTR: continue
      case EOPNOTSUPP, ENOSYS, EINVAL: return try writeZeros(from: start, to: end)
      default: throw .device(operation: .resize, byteOffset: end, errno: errno)
      }
    }
  }

  /// Where the host filesystem cannot reserve blocks.
  private func writeZeros(from start: UInt64, to end: UInt64) throws(FSError) {
    while ftruncate(descriptor, off_t(end)) != 0 {
      guard errno == EINTR else { throw .device(operation: .resize, byteOffset: end, errno: errno) }
    }
    let zeros = AlignedBuffer(byteCount: 1 << 20)
    // A direct image is written by whole blocks; what was there in front of `start` is not touched.
    var position = (start + UInt64(Block.size) - 1) & ~UInt64(Block.size - 1)
    while position < end {
      let count = min(UInt64(zeros.bytes.count), end - position)
      try write(UnsafeRawBufferPointer(rebasing: zeros.bytes[..<Int(count)]), at: position)
      position += count
    }
  }

  /// fsync(2): a file's length is metadata of the filesystem it is on.
  private func synchronizeLength() throws(FSError) {
    while fsync(descriptor) != 0 {
      guard errno == EINTR else { throw .device(operation: .barrier, byteOffset: 0, errno: errno) }
    }
  }
}
