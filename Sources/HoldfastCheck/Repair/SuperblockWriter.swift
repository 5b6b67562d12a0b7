/// Writing the two superblock copies so that at every moment one of them is whole: a copy that is unfit already goes
/// first.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

enum SuperblockWriter {
  static func write(_ superblock: Superblock, to device: BlockDevice) throws(FSError) {
    let buffer = AlignedBuffer(byteCount: Block.size)
    guard let bytes = buffer.bytes.baseAddress else { return }
    var order = Geometry.superblocks
    if isFit(order[0], device, buffer), !isFit(order[1], device, buffer) { order.reverse() }
    for address in order {
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0)
      superblock.encode(to: bytes, address: address)
      try device.write(UnsafeRawBufferPointer(buffer.bytes), at: address << UInt64(Block.shift))
      try device.barrier()
    }
  }

  private static func isFit(_ address: BlockNumber, _ device: BlockDevice, _ buffer: AlignedBuffer) -> Bool {
    do throws(FSError) {
      try device.read(into: buffer.bytes, at: address << UInt64(Block.shift))
    } catch {
      return false
    }
    guard let bytes = buffer.bytes.baseAddress else { return false }
    return Superblock(decoding: bytes, address: address)?.isConsistent ?? false
  }
}
