/// Blocks of a file in memory.

import HoldfastDirect

/// A mapping of the image. It outlives its layout and its handle, survives rename and unlink of the file, and holds
/// the lease on the inode until it is unmapped, by `unmap` or the end of its life: as long as it is there its blocks
/// are this file's or nobody's, so that touching them is always safe. Once the layout is returned or was taken away
/// they may no longer be what the file consists of.
public struct DirectMapping: ~Copyable, Sendable {
  private let range: MappedRange

  init(_ range: consuming MappedRange) { self.range = range }

  /// Valid as long as the mapping lives. Whole pages: behind the end of the file lies whatever the last block holds
  /// there. To be stored into only if it was mapped for that (SIGSEGV).
  public var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: range.start, count: range.length)
  }

  /// Now, instead of at the end of its life.
  public consuming func unmap() {}

  /// Leaves the mapping to the caller, who unmaps all of it by munmap(2).
  public consuming func release() -> UnsafeMutableRawBufferPointer { range.release() }
}
