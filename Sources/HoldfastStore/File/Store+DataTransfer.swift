/// Bytes to and from the device. Data goes straight to its place; a device that wants alignment (`direct`) gets whole
/// blocks through a bounce buffer. The caller holds the inode's lock: exclusively where blocks are written in part on
/// such a device.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

extension Store {
  func readData(into buffer: UnsafeMutableRawBufferPointer, at deviceOffset: UInt64) throws(FSError) {
    try stoppingOnDamage { () throws(FSError) in try readDevice(into: buffer, at: deviceOffset) }
  }

  func writeData(_ bytes: UnsafeRawBufferPointer, at deviceOffset: UInt64) throws(FSError) {
    defer { dataWrites.wrappingAdd(1, ordering: .releasing) }
    try stoppingOnDamage { () throws(FSError) in try writeDevice(bytes, at: deviceOffset) }
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

  private func readDevice(into buffer: UnsafeMutableRawBufferPointer, at deviceOffset: UInt64) throws(FSError) {
    if isAligned(UnsafeRawBufferPointer(buffer), deviceOffset) {
      return try device.read(into: buffer, at: deviceOffset)
    }
    let (start, bounce) = bounceBuffer(buffer.count, deviceOffset)
    try device.read(into: bounce.bytes, at: start)
    memcpy(buffer.baseAddress!, bounce.bytes.baseAddress! + Int(deviceOffset - start), buffer.count)
  }

  private func writeDevice(_ bytes: UnsafeRawBufferPointer, at deviceOffset: UInt64) throws(FSError) {
    if isAligned(bytes, deviceOffset) { return try device.write(bytes, at: deviceOffset) }
    let (start, bounce) = bounceBuffer(bytes.count, deviceOffset)
    if deviceOffset != start || bounce.bytes.count != bytes.count {
      try device.read(into: bounce.bytes, at: start)
    }
    memcpy(bounce.bytes.baseAddress! + Int(deviceOffset - start), bytes.baseAddress!, bytes.count)
    try device.write(UnsafeRawBufferPointer(bounce.bytes), at: start)
  }

  /// True when a partial overwrite of a block reads the block first, so that writers must exclude each other.
  var writesWholeBlocks: Bool { device.alignment > 1 }

  private func isAligned(_ bytes: UnsafeRawBufferPointer, _ offset: UInt64) -> Bool {
    let alignment = device.alignment
    return alignment == 1
      || (Int(offset) | bytes.count | Int(bitPattern: bytes.baseAddress)) & (alignment - 1) == 0
  }

  private func bounceBuffer(_ count: Int, _ offset: UInt64) -> (start: UInt64, buffer: AlignedBuffer) {
    let mask = UInt64(Block.size - 1)
    let start = offset & ~mask
    let end = (offset + UInt64(count) + mask) & ~mask
    return (start, AlignedBuffer(byteCount: Int(end - start)))
  }

  /// A block of zeros, aligned.
  static let zeros = AlignedBuffer(byteCount: 64 << 10)

  func writeZeros(_ byteCount: UInt64, at deviceOffset: UInt64) throws(FSError) {
    var done: UInt64 = 0
    while done < byteCount {
      let part = Int(min(byteCount - done, UInt64(Store.zeros.bytes.count)))
      try writeData(UnsafeRawBufferPointer(rebasing: Store.zeros.bytes[..<part]), at: deviceOffset + done)
      done += UInt64(part)
    }
  }

  /// Zeroes bytes [start, end) of a file where blocks hold data; maps do not change.
  func zeroData(of inode: InodeNumber, from start: UInt64, to end: UInt64) throws(FSError) {
    guard start < end else { return }
    let runs = try reading { () throws(FSError) in try self.runs(of: inode, from: start, to: end) }
    for run in runs {
      if let deviceOffset = run.deviceOffset { try writeZeros(UInt64(run.byteCount), at: deviceOffset) }
    }
  }

  /// Before the size grows beyond `size`: what the last block holds behind the end must read as zeros.
  func zeroTail(of inode: InodeNumber, size: UInt64, upTo newEnd: UInt64) throws(FSError) {
    let blockEnd = (size + UInt64(Block.size - 1)) & ~UInt64(Block.size - 1)
    try zeroData(of: inode, from: size, to: min(blockEnd, newEnd))
  }
}
