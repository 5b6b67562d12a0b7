/// What the engine stores on: bytes at offsets, and a barrier. One subclass level only: the image here,
/// the faulting devices in HoldfastSimulation.
///
/// Threads: every method may be called from several threads at once.

import HoldfastBase

open class BlockDevice: @unchecked Sendable {
  /// Size in bytes.
  public let byteCount: UInt64

  public init(byteCount: UInt64) { self.byteCount = byteCount }

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

  /// A lease on any of these inodes, whichever is met first; nil when nobody has one. What cannot be leased is nobody's.
  open func lease(within inodes: ClosedRange<InodeNumber>) throws(FSError) -> Lease? { nil }

  /// Alignment in bytes that `read` and `write` want of offset, length and memory (1 when they take anything).
  open var alignment: Int { 1 }
}
