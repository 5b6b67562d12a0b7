import Glibc
import HoldfastBase
import HoldfastDevice

/// A device in memory: the engine's own cost, nothing else's.
public final class Memory: BlockDevice, @unchecked Sendable {
  public let memory: AlignedBuffer
  public init(mebibytes: Int) {
    memory = AlignedBuffer(byteCount: mebibytes << 20)
    super.init(byteCount: UInt64(mebibytes) << 20)
  }
  public override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    memcpy(buffer.baseAddress!, memory.bytes.baseAddress! + Int(offset), buffer.count)
  }
  public override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    memcpy(memory.bytes.baseAddress! + Int(offset), bytes.baseAddress!, bytes.count)
  }
  public override func barrier() throws(FSError) {}
}
