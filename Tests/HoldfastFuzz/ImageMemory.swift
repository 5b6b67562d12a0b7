/// A golden image and a working copy of it in memory. Only blocks that were touched are copied back by `reset`, so
/// that thousands of inputs a minute start from the same bytes.

import Glibc
import HoldfastBase

public final class ImageMemory {
  private let base: UnsafeMutableRawPointer
  private let work: UnsafeMutableRawPointer
  public let blocks: UInt64
  private var isTouched: [Bool]
  private var touched: [BlockNumber] = []

  /// `bytes`: whole blocks.
  public init(_ bytes: [UInt8]) {
    blocks = UInt64(bytes.count >> Block.shift)
    base = .allocate(byteCount: bytes.count, alignment: Block.size)
    work = .allocate(byteCount: bytes.count, alignment: Block.size)
    isTouched = [Bool](repeating: false, count: Int(blocks))
    bytes.withUnsafeBytes {
      base.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
      work.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
    }
  }

  deinit {
    base.deallocate()
    work.deallocate()
  }

  /// The working copy of a block, to be read.
  func block(_ number: BlockNumber) -> UnsafeRawPointer { UnsafeRawPointer(work + Int(number) * Block.size) }

  /// The working copy of a block, to be changed.
  func changing(_ number: BlockNumber) -> UnsafeMutableRawPointer {
    touch(number)
    return work + Int(number) * Block.size
  }

  func touch(_ number: BlockNumber) {
    if isTouched[Int(number)] { return }
    isTouched[Int(number)] = true
    touched.append(number)
  }

  func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
    if buffer.count > 0 { memcpy(buffer.baseAddress!, work + Int(offset), buffer.count) }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {
    guard bytes.count > 0 else { return }
    for number in offset >> 12...(offset + UInt64(bytes.count) - 1) >> 12 { touch(number) }
    memcpy(work + Int(offset), bytes.baseAddress!, bytes.count)
  }

  /// The working copy is the image again.
  func reset() {
    for number in touched {
      memcpy(work + Int(number) * Block.size, base + Int(number) * Block.size, Block.size)
      isTouched[Int(number)] = false
    }
    touched.removeAll(keepingCapacity: true)
  }

  /// The blocks that differ from the image, as they are now.
  func changes() -> [(block: BlockNumber, bytes: [UInt8])] {
    touched.sorted().compactMap { number in
      let now = UnsafeRawBufferPointer(start: work + Int(number) * Block.size, count: Block.size)
      if memcmp(now.baseAddress!, base + Int(number) * Block.size, Block.size) == 0 { return nil }
      return (number, Array(now))
    }
  }

  /// The working copy is the image with these changes.
  func restore(_ changes: [(block: BlockNumber, bytes: [UInt8])]) {
    reset()
    for (number, bytes) in changes {
      bytes.withUnsafeBytes { changing(number).copyMemory(from: $0.baseAddress!, byteCount: Block.size) }
    }
  }

  /// Every byte by which the working copy differs from the image, exclusive or.
  func difference() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Int(blocks) * Block.size)
    for number in touched {
      for offset in Int(number) * Block.size..<(Int(number) + 1) * Block.size {
        bytes[offset] =
          base.load(fromByteOffset: offset, as: UInt8.self) ^ work.load(fromByteOffset: offset, as: UInt8.self)
      }
    }
    return bytes
  }

  /// The working copy is the image changed by what `difference` gave.
  func apply(difference: [UInt8]) {
    reset()
    for number in 0..<min(blocks, UInt64(difference.count >> Block.shift)) {
      let range = Int(number) * Block.size..<(Int(number) + 1) * Block.size
      guard difference[range].contains(where: { $0 != 0 }) else { continue }
      let target = changing(number)
      for (offset, byte) in difference[range].enumerated() {
        target.storeBytes(
          of: target.load(fromByteOffset: offset, as: UInt8.self) ^ byte, toByteOffset: offset, as: UInt8.self)
      }
    }
  }

  /// All bytes of the working copy.
  public func contents() -> [UInt8] { Array(UnsafeRawBufferPointer(start: work, count: Int(blocks) * Block.size)) }
}
