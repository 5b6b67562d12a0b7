/// The device the engine and the check meet: the working copy of an image, cut to a length, that notes what nobody
/// may do with it.
///
/// Threads: one.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

public final class FuzzDevice: BlockDevice, @unchecked Sendable {
  private let memory: ImageMemory
  /// Writes are violations.
  let isReadOnly: Bool
  /// What was done that nobody may do; the first few.
  public private(set) var violations: [String] = []
  private(set) var operations = 0
  private(set) var writes = 0
  /// Called after every barrier.
  var onBarrier: (() -> Void)?

  /// More device operations than any input of an image this small takes: a loop that never ends.
  private static let maximumOperations = 2_000_000

  public init(_ memory: ImageMemory, byteCount: UInt64? = nil, readOnly: Bool = false) {
    self.memory = memory
    isReadOnly = readOnly
    super.init(byteCount: min(byteCount ?? .max, memory.blocks << UInt64(Block.shift)))
  }

  private func note(_ text: String) { if violations.count < 4 { violations.append(text) } }

  private func count(
    _ operation: FSError.DeviceOperation, _ offset: UInt64, _ byteCount: Int
  ) throws(FSError) {
    operations += 1
    if operations > Self.maximumOperations {
      if operations == Self.maximumOperations + 1 { note("more than \(Self.maximumOperations) device operations") }
      throw .device(operation: operation, byteOffset: offset, errno: EIO)
    }
    guard offset <= self.byteCount, UInt64(byteCount) <= self.byteCount - offset else {
      note("\(operation.rawValue) of \(byteCount) bytes at \(offset), outside an image of \(self.byteCount)")
      throw .device(operation: operation, byteOffset: offset, errno: EIO)
    }
  }

  public override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    try count(.read, offset, buffer.count)
    memory.read(buffer, at: offset)
  }

  public override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    try count(.write, offset, bytes.count)
    writes += 1
    if isReadOnly { note("a write of \(bytes.count) bytes at \(offset) by a reader") }
    // Blocks 1 to 255 are nobody's.
    let reserved = 1 << UInt64(Block.shift)..<Geometry.superblocks[1] << UInt64(Block.shift)
    if bytes.count > 0, reserved.overlaps(offset..<offset + UInt64(bytes.count)) {
      note("a write of \(bytes.count) bytes at \(offset), into the reserved head")
    }
    memory.write(bytes, at: offset)
  }

  public override func barrier() throws(FSError) {
    try count(.barrier, 0, 0)
    onBarrier?()
  }
}
