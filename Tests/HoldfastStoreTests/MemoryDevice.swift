import HoldfastBase
import HoldfastDevice
import Synchronization

/// A device in memory that counts what is asked of it.
final class MemoryDevice: BlockDevice, @unchecked Sendable {
  let memory: AlignedBuffer
  let barriers = Atomic<Int>(0)
  let bytesWritten = Atomic<Int>(0)
  let bytesRead = Atomic<Int>(0)
  var refusesWrites = false
  /// Called before each barrier; what it throws, the barrier throws.
  var beforeBarrier: (@Sendable () throws(FSError) -> Void)?

  /// What was asked of it so far.
  var work: (barriers: Int, bytes: Int) {
    (barriers.load(ordering: .relaxed), bytesWritten.load(ordering: .relaxed))
  }

  init(mebibytes: Int) {
    memory = AlignedBuffer(byteCount: mebibytes << 20)
    super.init(byteCount: UInt64(mebibytes) << 20)
  }

  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    bytesRead.add(buffer.count, ordering: .relaxed)
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory.bytes[Int(offset)..<Int(offset) + buffer.count]))
  }

  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    if refusesWrites { throw .device(operation: .write, byteOffset: offset, errno: 5) }
    bytesWritten.add(bytes.count, ordering: .relaxed)
    UnsafeMutableRawBufferPointer(rebasing: memory.bytes[Int(offset)..<Int(offset) + bytes.count]).copyMemory(
      from: bytes)
  }

  override func barrier() throws(FSError) {
    try beforeBarrier?()
    barriers.add(1, ordering: .relaxed)
  }
}
