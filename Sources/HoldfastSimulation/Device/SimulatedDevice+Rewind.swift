/// A device that starts as a copy of another one and can be made so again at the price of what was changed: crash
/// points are tried by the ten thousand, on one image.

import Glibc
import HoldfastBase
import HoldfastFormat

/// The blocks a device changed since it was like its base.
struct DirtyBlocks {
  let base: SimulatedDevice
  private(set) var blocks: [Int] = []
  private var isDirty: [Bool]

  init(base: SimulatedDevice) {
    self.base = base
    isDirty = Array(repeating: false, count: Int(base.room) / Block.size)
  }

  mutating func note(_ offset: UInt64, _ count: Int) {
    for block in Int(offset) >> Block.shift...(Int(offset) + count - 1) >> Block.shift where !isDirty[block] {
      isDirty[block] = true
      blocks.append(block)
    }
  }

  mutating func removeAll() {
    for block in blocks { isDirty[block] = false }
    blocks.removeAll(keepingCapacity: true)
  }
}

extension SimulatedDevice {
  /// A device that holds what `base` holds. `base` must not change any more.
  convenience init(rewindingTo base: SimulatedDevice) {
    self.init(byteCount: base.byteCount, room: base.room)
    memcpy(image, base.image, Int(room))
    dirty = DirtyBlocks(base: base)
  }

  /// Makes it as it was in the beginning: the base's bytes, all durable, powered, no faults, nothing recorded.
  func rewind() {
    lock.withLock {
      guard let base = dirty?.base, let blocks = dirty?.blocks else { return }
      for block in blocks { memcpy(image + block * Block.size, base.image + block * Block.size, Block.size) }
      dirty?.removeAll()
      noteByteCount(base.byteCount)
      becomeNew()
    }
  }

  /// A hash of the whole image; images are told apart by it.
  func fingerprint() -> UInt64 {
    lock.withLock {
      guard let base = dirty?.base, let blocks = dirty?.blocks else { return 0 }
      var sum = byteCount
      for block in blocks {
        let bytes = image + block * Block.size
        guard memcmp(bytes, base.image + block * Block.size, Block.size) != 0 else { continue }
        sum &+= SeededRandom.mix(
          NameHash.raw(UnsafeRawBufferPointer(start: bytes, count: Block.size), seed: UInt64(block)))
      }
      return sum
    }
  }

  /// What makes the base this: every changed block as a write.
  func changes() -> DeviceRecording {
    lock.withLock {
      let changes = DeviceRecording()
      changes.noteLength(byteCount)
      for block in dirty?.blocks ?? [] {
        let start = block * Block.size
        changes.noteWrite(UnsafeRawBufferPointer(start: image + start, count: Block.size), at: UInt64(start))
      }
      return changes
    }
  }

  /// So long it is, durably.
  func place(length: UInt64) { noteByteCount(length) }

  /// Puts bytes on the medium, durable at once.
  func place(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {
    corrupt(at: offset, { memcpy($0.baseAddress!, bytes.baseAddress!, bytes.count) }, count: bytes.count)
  }
}
