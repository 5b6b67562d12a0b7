/// The newest valid superblock of an image, read without mounting it: what `info` and `map --svg` need.
/// On a mounted volume it tells of the last checkpoint.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

public struct VolumeHead: Sendable {
  public var superblock: Superblock
  public var deviceBytes: UInt64

  /// - Throws: `.notAnImage`, `.incompatibleFormat`, `.imageTruncated`, or the device's error.
  public init(reading device: BlockDevice) throws(FSError) {
    var copies: [Superblock] = []
    let block = AlignedBuffer(byteCount: Block.size)
    for address in Geometry.superblocks {
      guard device.byteCount >= (address + 1) * UInt64(Block.size) else { continue }
      try device.read(into: block.bytes, at: address * UInt64(Block.size))
      guard let copy = Superblock(decoding: UnsafeRawPointer(block.bytes.baseAddress!), address: address) else {
        continue
      }
      copies.append(copy)
    }
    guard let superblock = Superblock.newest(of: copies) else { throw .notAnImage }
    let unknown = superblock.incompatible & ~Superblock.knownIncompatible
    guard unknown == 0 else { throw .incompatibleFormat(features: unknown) }
    guard superblock.isConsistent else { throw .corrupt(structure: .superblock, block: 0) }
    let expected = superblock.totalBlocks * UInt64(Block.size)
    guard device.byteCount >= expected else {
      throw .imageTruncated(expectedBytes: expected, actualBytes: device.byteCount)
    }
    self.superblock = superblock
    deviceBytes = device.byteCount
  }
}
