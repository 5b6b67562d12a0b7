import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

/// An image in memory, and hands to damage it.
final class MemoryDevice: BlockDevice, @unchecked Sendable {
  private let memory: UnsafeMutableRawPointer
  /// A read of this block fails, until it is written: as a disk that has sectors to spare.
  var badBlock: BlockNumber?
  /// Reads behind this byte fail, as if the image had been cut there; nil: whole.
  let id: FilesystemID

  /// Filled by the builder: where it put what.
  var leaves: [BlockNumber] = []
  var internals: [BlockNumber] = []
  var chain: [BlockNumber] = []

  /// `blocks` zeroed blocks; the memory is taken when it is touched.
  init(blocks: UInt64, id: FilesystemID) {
    memory = calloc(Int(blocks), Block.size)
    self.id = id
    super.init(byteCount: blocks << 12)
  }

  /// The first `blocks` of `other`.
  init(cutting other: MemoryDevice, to blocks: UInt64) {
    memory = calloc(Int(blocks), Block.size)
    id = other.id
    memcpy(memory, other.memory, Int(blocks) * Block.size)
    super.init(byteCount: blocks << 12)
  }

  deinit { free(memory) }

  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    guard offset <= byteCount, UInt64(buffer.count) <= byteCount - offset else {
      throw .device(operation: .read, byteOffset: offset, errno: EIO)
    }
    if let bad = badBlock, bad << 12 < offset + UInt64(buffer.count), offset < (bad + 1) << 12 {
      throw .device(operation: .read, byteOffset: bad << 12, errno: EIO)
    }
    memcpy(buffer.baseAddress!, memory + Int(offset), buffer.count)
  }

  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    guard offset <= byteCount, UInt64(bytes.count) <= byteCount - offset else {
      throw .device(operation: .write, byteOffset: offset, errno: EIO)
    }
    if let bad = badBlock, bad << 12 >= offset, (bad + 1) << 12 <= offset + UInt64(bytes.count) { badBlock = nil }
    memcpy(memory + Int(offset), bytes.baseAddress!, bytes.count)
  }

  override func barrier() throws(FSError) {}

  func block(_ number: BlockNumber) -> UnsafeMutableRawPointer { memory + Int(number) * Block.size }

  /// Changes a metadata block and gives it a right checksum again.
  func edit(_ number: BlockNumber, _ body: (UnsafeMutableRawPointer) -> Void) {
    body(block(number))
    BlockHeader.seal(block(number))
  }

  /// Inverts one bit.
  func flip(_ number: BlockNumber, byte: Int, bit: UInt8 = 0) {
    let at = block(number) + byte
    at.storeBytes(of: at.load(as: UInt8.self) ^ 1 << bit, as: UInt8.self)
  }

  /// Changes both superblock copies.
  func editSuperblocks(_ body: (UnsafeMutableRawPointer) -> Void) {
    for block in Geometry.superblocks { edit(block, body) }
  }

  /// Whether every byte is as in `other`.
  func isSame(as other: MemoryDevice) -> Bool {
    byteCount == other.byteCount && memcmp(memory, other.memory, Int(byteCount)) == 0
  }

  func zero(_ number: BlockNumber) { memset(block(number), 0, Block.size) }

  /// A copy of everything.
  func copy() -> MemoryDevice {
    let twin = MemoryDevice(cutting: self, to: byteCount >> 12)
    twin.leaves = leaves
    twin.internals = internals
    twin.chain = chain
    twin.badBlock = badBlock
    return twin
  }
}
