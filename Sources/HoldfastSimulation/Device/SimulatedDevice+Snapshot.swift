/// Going back: the blocks that change after a snapshot are kept as they were, so that a volume whose metadata was
/// damaged on purpose can be what it was before.

import Glibc
import HoldfastBase

struct DeviceSnapshot {
  private var isKept: [Bool]
  private(set) var blocks: [Int] = []
  /// The blocks' bytes, one behind the other.
  private(set) var bytes: [UInt8] = []

  /// Of the device.
  let byteCount: UInt64

  init(byteCount: UInt64, room: UInt64) {
    self.byteCount = byteCount
    isKept = Array(repeating: false, count: Int(room) / Block.size)
  }

  /// Keeps the blocks that bytes [offset, offset + count) lie in; called before they change.
  mutating func keep(_ image: UnsafeMutableRawPointer, _ offset: UInt64, _ count: Int) {
    for block in Int(offset) >> Block.shift...(Int(offset) + count - 1) >> Block.shift where !isKept[block] {
      isKept[block] = true
      blocks.append(block)
      bytes.append(contentsOf: UnsafeRawBufferPointer(start: image + block << Block.shift, count: Block.size))
    }
  }
}

extension SimulatedDevice {
  /// What is there now is what `restoreSnapshot` brings back. Nothing may be unsynced.
  func takeSnapshot() {
    lock.withLock {
      precondition(unsynced.isEmpty, "a snapshot of writes in flight")
      snapshot = DeviceSnapshot(byteCount: byteCount, room: room)
    }
  }

  func forgetSnapshot() { lock.withLock { snapshot = nil } }

  /// The bytes of the snapshot, all durable; powered, no faults.
  func restoreSnapshot() {
    lock.withLock {
      guard let kept = snapshot else { return }
      kept.bytes.withUnsafeBytes { bytes in
        for (index, block) in kept.blocks.enumerated() {
          memcpy(image + block << Block.shift, bytes.baseAddress! + index << Block.shift, Block.size)
        }
      }
      noteByteCount(kept.byteCount)
      snapshot = nil
      becomeNew()
    }
  }
}
