/// The bytes of one file in the model, and what a crash may leave in their place: for every change since the
/// bytes were last synced, the range it changed, the bytes before, and when. A byte after a crash must be the newest
/// one, or one from before a change that came after everything the recovered metadata shows: a commit makes what
/// was written before it durable with it.

import Glibc

/// How many changes of metadata there were since the last sync.
final class ModelClock {
  var changes = 0
}

final class ModelContent {
  /// Bytes before a change since the last sync; nil stands for zeros.
  private struct Former {
    var range: Range<Int>
    var bytes: [UInt8]?
    /// Changes of metadata that lie before this change (`ModelClock`).
    var after: Int
  }

  private var storage: UnsafeMutableRawPointer
  private var capacity: Int
  private(set) var count = 0
  private var former: [Former] = []
  /// Tells when a change is made; nil when no crash can come, and no former bytes are kept.
  private let clock: ModelClock?
  private var remembers: Bool { clock != nil }

  init(clock: ModelClock?) {
    self.clock = clock
    capacity = 4096
    storage = malloc(capacity)
  }

  /// The same bytes and the same past, on another clock.
  init(copying other: ModelContent, clock: ModelClock?) {
    self.clock = clock
    capacity = max(4096, other.count)
    storage = malloc(capacity)
    memcpy(storage, other.storage, other.count)
    count = other.count
    former = other.former
  }

  deinit { free(storage) }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: storage, count: count) }

  /// Bytes `range`, which must lie within the file.
  func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer {
    precondition(range.upperBound <= count)
    return UnsafeRawBufferPointer(start: storage + range.lowerBound, count: range.count)
  }

  // MARK: Changes

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    let end = offset + bytes.count
    if end > count { extend(to: end) }
    remember(offset..<end)
    memmove(storage + offset, source, bytes.count)
  }

  /// Zeroes what of `range` lies within the file.
  func zero(_ range: Range<Int>) {
    let range = range.clamped(to: 0..<count)
    guard !range.isEmpty else { return }
    remember(range)
    memset(storage + range.lowerBound, 0, range.count)
  }

  func resize(to size: Int) {
    if size < count {
      // A crash may take back the cut, but what was beyond the end for a while may have been zeroed in place.
      remember(size..<count)
      note(size..<count, nil)
      count = size
    } else if size > count {
      extend(to: size)
    }
  }

  func collapse(_ range: Range<Int>) {
    remember(range.lowerBound..<count)
    memmove(storage + range.lowerBound, storage + range.upperBound, count - range.upperBound)
    count -= range.count
  }

  func insert(_ range: Range<Int>) {
    let oldCount = count
    remember(range.lowerBound..<oldCount)
    extend(to: count + range.count)
    memmove(storage + range.upperBound, storage + range.lowerBound, oldCount - range.lowerBound)
    memset(storage + range.lowerBound, 0, range.count)
  }

  private func extend(to size: Int) {
    if size > capacity {
      let newCapacity = max(size, min(capacity * 2, capacity + (1 << 20)))
      storage = realloc(storage, newCapacity)
      capacity = newCapacity
    }
    memset(storage + count, 0, size - count)
    note(count..<size, nil)
    count = size
  }

  // MARK: Crashes

  private func remember(_ range: Range<Int>) {
    guard remembers, !range.isEmpty else { return }
    note(range, Array(UnsafeRawBufferPointer(start: storage + range.lowerBound, count: range.count)))
  }

  private func note(_ range: Range<Int>, _ bytes: [UInt8]?) {
    guard let clock else { return }
    former.append(Former(range: range, bytes: bytes, after: clock.changes))
  }

  /// The bytes as they are now are durable.
  func synced() { former.removeAll(keepingCapacity: true) }

  /// Offset of the first byte of `observed` (from byte `offset` of the file on) that no crash may leave, nil when all
  /// may be. The metadata that came with it is that after `changes` of those since the last sync.
  func firstImpossible(_ observed: UnsafeRawBufferPointer, at offset: Int, after changes: Int = 0) -> Int? {
    var index = 0
    while index < observed.count {
      let step = min(512, observed.count - index)
      let at = offset + index
      if at + step > count || memcmp(storage + at, observed.baseAddress! + index, step) != 0 {
        for byte in index..<index + step where !allows(observed[byte], at: offset + byte, changes) {
          return offset + byte
        }
      }
      index += step
    }
    return nil
  }

  private func allows(_ byte: UInt8, at offset: Int, _ changes: Int) -> Bool {
    // Beyond the newest end the byte was cut off since: then it is among the former ones.
    let newest: UInt8? = offset < count ? storage.load(fromByteOffset: offset, as: UInt8.self) : nil
    if byte == newest { return true }
    return former.contains { change in
      guard change.after >= changes, change.range.contains(offset) else { return false }
      return byte == (change.bytes.map { $0[offset - change.range.lowerBound] } ?? 0)
    }
  }

  /// The bytes a crash left are the truth from now on.
  func adopt(_ observed: UnsafeRawBufferPointer) {
    former.removeAll()
    count = 0
    extend(to: observed.count)
    former.removeAll()
    if let source = observed.baseAddress, observed.count > 0 { memcpy(storage, source, observed.count) }
  }
}
