/// What the engine stores on: bytes at offsets, and a barrier. One subclass level only: the image here,
/// the faulting devices in HoldfastSimulation.
///
/// Threads: every method may be called from several threads at once.

import HoldfastBase
import Synchronization

/// What fstat(2) tells of an open image: by it another process knows that it has opened the same one.
public struct ImageIdentity: Equatable, Sendable {
  /// st_dev of the file, or of where the block device's node lies.
  public var device: UInt64
  public var inode: UInt64
  /// st_rdev of a block device, else 0.
  public var rdev: UInt64

  public init(device: UInt64, inode: UInt64, rdev: UInt64) {
    self.device = device
    self.inode = inode
    self.rdev = rdev
  }
}

open class BlockDevice: @unchecked Sendable {
  private let size: Atomic<UInt64>

  /// Size in bytes. Another one only after `extend` or `cut`.
  public final var byteCount: UInt64 { size.load(ordering: .acquiring) }

  public init(byteCount: UInt64) { size = Atomic(byteCount) }

  /// For the implementations of `extend` and `cut`.
  public final func noteByteCount(_ byteCount: UInt64) { size.store(byteCount, ordering: .releasing) }

  /// Fills `buffer` from byte `offset`. Short reads are errors.
  open func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    fatalError("abstract: \(type(of: self)) does not implement read")
  }

  /// Writes all of `bytes` at byte `offset`; durable after the next `barrier` that begins after this returns.
  open func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    fatalError("abstract: \(type(of: self)) does not implement write")
  }

  /// Everything written before the call is durable when it returns.
  open func barrier() throws(FSError) {
    fatalError("abstract: \(type(of: self)) does not implement barrier")
  }

  /// What there is now, should somebody have made the device longer since it was opened.
  open func currentByteCount() throws(FSError) -> UInt64 { byteCount }

  /// From now on there are at least so many bytes, durably: whatever a crash leaves, they can be read and written. What
  /// was there stays, what is new is anything.
  /// - Throws: `.deviceTooSmall`, `.device(.resize…)`, for want of space say; then nothing has changed.
  open func extend(to byteCount: UInt64) throws(FSError) {
    if byteCount > self.byteCount { throw .deviceTooSmall(byteCount: self.byteCount) }
  }

  /// Bytes from here on are not needed any more. What can be cut is, durably; nothing is read or written there again.
  open func cut(to byteCount: UInt64) throws(FSError) {}

  /// A lease on any of these inodes, whichever is met first; nil when nobody has one. What cannot be leased is nobody's.
  open func lease(within inodes: ClosedRange<InodeNumber>) throws(FSError) -> Lease? { nil }

  /// nil for what is nothing that can be opened.
  open var identity: ImageIdentity? { nil }

  /// The same bytes by way of the host's page cache: itself, unless it goes around that. For files that somebody maps.
  open var pageCached: BlockDevice { self }

  /// Alignment in bytes that `read` and `write` want of offset, length and memory (1 when they take anything).
  open var alignment: Int { 1 }
}
