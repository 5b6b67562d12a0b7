/// Bytes to and from the device. Data goes straight to its place; a device that wants alignment (`direct`) gets whole
/// blocks through a bounce buffer. The caller holds the inode's lock: exclusively where blocks are written in part on
/// such a device.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

extension Store {
  func readData(
    into buffer: UnsafeMutableRawBufferPointer, at deviceOffset: UInt64, of inode: InodeNumber
  ) throws(FSError) {
    let device = dataDevice(of: inode)
    try stoppingOnDamage { () throws(FSError) in try Self.read(into: buffer, at: deviceOffset, from: device) }
  }

  func writeData(_ bytes: UnsafeRawBufferPointer, at deviceOffset: UInt64, of inode: InodeNumber) throws(FSError) {
    defer { dataWrites.wrappingAdd(1, ordering: .releasing) }
    let device = dataDevice(of: inode)
    try stoppingOnDamage { () throws(FSError) in try Self.write(bytes, at: deviceOffset, to: device) }
  }

  /// A file with a layout is read and written through the host's page cache, which is what its holder maps; grants are
  /// made under the inode's exclusive lock, so no transfer is under way when that changes.
  private func dataDevice(of inode: InodeNumber) -> BlockDevice {
    writesWholeBlocks && seals.hasLayouts(inode) ? device.pageCached : device
  }

  /// An image cut short is met here first, as a rule.
  private func stoppingOnDamage(_ body: () throws(FSError) -> Void) throws(FSError) {
    do throws(FSError) {
      try body()
    } catch {
      if error.isDamage { treeLock.withLock { fail(error) } }
      throw error
    }
  }

  private static func read(
    into buffer: UnsafeMutableRawBufferPointer, at deviceOffset: UInt64, from device: BlockDevice
  ) throws(FSError) {
    if isAligned(UnsafeRawBufferPointer(buffer), deviceOffset, for: device) {
      return try device.read(into: buffer, at: deviceOffset)
    }
    let (start, bounce) = bounceBuffer(buffer.count, deviceOffset)
    try device.read(into: bounce.bytes, at: start)
    memcpy(buffer.baseAddress!, bounce.bytes.baseAddress! + Int(deviceOffset - start), buffer.count)
  }

  private static func write(
    _ bytes: UnsafeRawBufferPointer, at deviceOffset: UInt64, to device: BlockDevice
  ) throws(FSError) {
    if isAligned(bytes, deviceOffset, for: device) { return try device.write(bytes, at: deviceOffset) }
    let (start, bounce) = bounceBuffer(bytes.count, deviceOffset)
    if deviceOffset != start || bounce.bytes.count != bytes.count {
      try device.read(into: bounce.bytes, at: start)
    }
    memcpy(bounce.bytes.baseAddress! + Int(deviceOffset - start), bytes.baseAddress!, bytes.count)
    try device.write(UnsafeRawBufferPointer(bounce.bytes), at: start)
  }

  /// True when a partial overwrite of a block reads the block first, so that writers must exclude each other.
  var writesWholeBlocks: Bool { device.alignment > 1 }

  private static func isAligned(
    _ bytes: UnsafeRawBufferPointer, _ offset: UInt64, for device: BlockDevice
  ) -> Bool {
    let alignment = device.alignment
    return alignment == 1
      || (Int(offset) | bytes.count | Int(bitPattern: bytes.baseAddress)) & (alignment - 1) == 0
  }

  private static func bounceBuffer(_ count: Int, _ offset: UInt64) -> (start: UInt64, buffer: AlignedBuffer) {
    let mask = UInt64(Block.size - 1)
    let start = offset & ~mask
    let end = (offset + UInt64(count) + mask) & ~mask
    return (start, AlignedBuffer(byteCount: Int(end - start)))
  }

  /// A block of zeros, aligned.
  static let zeros = AlignedBuffer(byteCount: 64 << 10)

  func writeZeros(_ byteCount: UInt64, at deviceOffset: UInt64, of inode: InodeNumber) throws(FSError) {
    var done: UInt64 = 0
    while done < byteCount {
      let part = Int(min(byteCount - done, UInt64(Store.zeros.bytes.count)))
      try writeData(
        UnsafeRawBufferPointer(rebasing: Store.zeros.bytes[..<part]), at: deviceOffset + done, of: inode)
      done += UInt64(part)
    }
  }

  /// Zeroes bytes [start, end) of a file where blocks hold data; maps do not change.
  func zeroData(of inode: InodeNumber, from start: UInt64, to end: UInt64) throws(FSError) {
    guard start < end else { return }
    let runs = try reading { () throws(FSError) in try self.runs(of: inode, from: start, to: end) }
    for run in runs {
      if let deviceOffset = run.deviceOffset { try writeZeros(UInt64(run.byteCount), at: deviceOffset, of: inode) }
    }
  }

  /// Before the size grows beyond `size`: what the last block holds behind the end must read as zeros.
  func zeroTail(of inode: InodeNumber, size: UInt64, upTo newEnd: UInt64) throws(FSError) {
    let blockEnd = (size + UInt64(Block.size - 1)) & ~UInt64(Block.size - 1)
    try zeroData(of: inode, from: size, to: min(blockEnd, newEnd))
  }
}
