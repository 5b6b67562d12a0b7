/// Tree nodes in memory: flat frames of one block each, found by block number, evicted by CLOCK.
///
/// Owned by `Tree`, guarded by the store's tree lock. A frame is `dirty` from its first change until the next
/// freeze, `frozen` until the checkpoint has written it, and may leave memory only when `clean`. A pointer into a
/// frame is good until the next tree operation: frames touched by the running one (`tick`) are never evicted.

import Glibc
import HoldfastBase

struct NodeCache: ~Copyable {
  enum State: UInt8 {
    case free
    case clean
    case dirty
    case frozen
    /// Frozen, and replaced since: free as soon as it is written.
    case frozenObsolete
  }

  struct Frame {
    var bytes: UnsafeMutableRawPointer
    var block: BlockNumber
    var tick: UInt64
    var state: State
    var referenced: Bool
  }

  /// Frames allocated at a time: 1 MiB.
  private static let slabFrames = 256

  private(set) var frames: [Frame] = []
  private var slabs: [UnsafeMutableRawPointer] = []
  private var freeFrames: [Int] = []
  private var table = BlockTable()
  private var hand = 0
  private let capacity: Int
  private var tick: UInt64 = 0
  private(set) var hits: UInt64 = 0
  private(set) var misses: UInt64 = 0

  /// Keeps about `capacity` frames; more only while none is clean.
  init(capacity: Int) { self.capacity = max(capacity, Self.slabFrames) }

  deinit { for slab in slabs { slab.deallocate() } }

  var frameLimit: Int { capacity }
  var residentBytes: Int { frames.count * Block.size }

  /// A new tree operation begins: pointers handed out before are no longer protected.
  mutating func beginOperation() { tick += 1 }

  /// The frame holding `block`, or nil.
  mutating func find(_ block: BlockNumber) -> Int? {
    guard let frame = table.find(block) else {
      misses += 1
      return nil
    }
    hits += 1
    frames[frame].tick = tick
    frames[frame].referenced = true
    return frame
  }

  /// An empty frame for `block`, in `state`.
  mutating func insert(_ block: BlockNumber, state: State) -> Int {
    let frame = takeFreeFrame()
    frames[frame].block = block
    frames[frame].state = state
    frames[frame].tick = tick
    frames[frame].referenced = true
    table.insert(block, frame)
    return frame
  }

  mutating func setState(_ frame: Int, _ state: State) { frames[frame].state = state }

  /// Forgets a frame's content and its block.
  mutating func remove(_ frame: Int) {
    if frames[frame].state != .frozenObsolete { table.remove(frames[frame].block) }
    frames[frame].state = .free
    freeFrames.append(frame)
  }

  /// A frozen frame was replaced by a newer copy: it is written out and then dropped.
  mutating func makeObsolete(_ frame: Int) {
    table.remove(frames[frame].block)
    frames[frame].state = .frozenObsolete
  }

  private mutating func takeFreeFrame() -> Int {
    if let frame = freeFrames.popLast() { return frame }
    if frames.count >= capacity, let victim = evict() { return victim }
    let slab = UnsafeMutableRawPointer.allocate(byteCount: Self.slabFrames * Block.size, alignment: Block.size)
    slabs.append(slab)
    for index in (0..<Self.slabFrames).reversed() {
      freeFrames.append(frames.count + index)
    }
    for index in 0..<Self.slabFrames {
      frames.append(Frame(bytes: slab + index * Block.size, block: 0, tick: 0, state: .free, referenced: false))
    }
    return freeFrames.removeLast()
  }

  private mutating func evict() -> Int? {
    // Two rounds: the first may only clear reference marks.
    for _ in 0..<(2 * frames.count) {
      hand = hand + 1 == frames.count ? 0 : hand + 1
      guard frames[hand].state == .clean, frames[hand].tick != tick else { continue }
      if frames[hand].referenced {
        frames[hand].referenced = false
        continue
      }
      table.remove(frames[hand].block)
      frames[hand].state = .free
      return hand
    }
    return nil
  }
}

/// Block number to frame index: open addressing, linear probing, no tombstones.
struct BlockTable: ~Copyable {
  private var keys: UnsafeMutablePointer<UInt64>
  private var values: UnsafeMutablePointer<Int32>
  private var mask: Int
  private var count = 0

  init() {
    (keys, values) = Self.allocate(1024)
    mask = 1023
  }

  deinit {
    keys.deallocate()
    values.deallocate()
  }

  private static func allocate(_ size: Int) -> (UnsafeMutablePointer<UInt64>, UnsafeMutablePointer<Int32>) {
    let keys = UnsafeMutablePointer<UInt64>.allocate(capacity: size)
    let values = UnsafeMutablePointer<Int32>.allocate(capacity: size)
    keys.initialize(repeating: 0, count: size)
    values.initialize(repeating: -1, count: size)
    return (keys, values)
  }

  private func home(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
  }

  func find(_ key: UInt64) -> Int? {
    var slot = home(key)
    while values[slot] >= 0 {
      if keys[slot] == key { return Int(values[slot]) }
      slot = (slot + 1) & mask
    }
    return nil
  }

  mutating func insert(_ key: UInt64, _ value: Int) {
    if (count + 1) * 2 > mask { grow() }
    var slot = home(key)
    while values[slot] >= 0 { slot = (slot + 1) & mask }
    keys[slot] = key
    values[slot] = Int32(value)
    count += 1
  }

  mutating func remove(_ key: UInt64) {
    var slot = home(key)
    while values[slot] >= 0, keys[slot] != key { slot = (slot + 1) & mask }
    guard values[slot] >= 0 else { return }
    count -= 1
    var next = (slot + 1) & mask
    while values[next] >= 0 {
      // Move an entry back when its home does not lie behind the gap.
      if (next - home(keys[next])) & mask >= (next - slot) & mask {
        keys[slot] = keys[next]
        values[slot] = values[next]
        slot = next
      }
      next = (next + 1) & mask
    }
    values[slot] = -1
  }

  private mutating func grow() {
    let (oldKeys, oldValues, oldMask) = (keys, values, mask)
    mask = (mask + 1) * 2 - 1
    (keys, values) = Self.allocate(mask + 1)
    count = 0
    for slot in 0...oldMask where oldValues[slot] >= 0 { insert(oldKeys[slot], Int(oldValues[slot])) }
    oldKeys.deallocate()
    oldValues.deallocate()
  }
}
