/// Waiting for words in memory.

import CPreload
import Synchronization

struct Futex {
  fileprivate let word: UnsafeMutablePointer<Atomic<UInt32>>

  init(_ address: UnsafeMutableRawPointer) { word = address.assumingMemoryBound(to: Atomic<UInt32>.self) }

  private var raw: UnsafeMutablePointer<UInt32> {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: UInt32.self)
  }

  var value: UInt32 { word.pointee.load(ordering: .acquiring) }

  func set(_ value: UInt32) {
    word.pointee.store(value, ordering: .releasing)
    holdfast_futex_wake(raw)
  }

  func wait(while value: UInt32) {
    while self.value == value { _ = holdfast_futex_wait(raw, value, -1) }
  }

  /// Each value that is not the one is looked at once: it may change between two looks, and its waking be missed.
  func wait(until value: UInt32) {
    while true {
      let seen = self.value
      if seen == value { return }
      _ = holdfast_futex_wait(raw, seen, -1)
    }
  }

  fileprivate func sleep(on value: UInt32) { _ = holdfast_futex_wait(raw, value, -1) }
  fileprivate func wake() { holdfast_futex_wake(raw) }
}

/// A lock of one word: 0 free, 1 held, 2 held and waited for. Zeroed memory is a free one.
struct FutexLock {
  private let futex: Futex

  init(_ address: UnsafeMutableRawPointer) { futex = Futex(address) }

  func tryLock() -> Bool {
    futex.word.pointee.compareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged
  }

  func lock() {
    if tryLock() { return }
    while futex.word.pointee.exchange(2, ordering: .acquiring) != 0 { futex.sleep(on: 2) }
  }

  func unlock() {
    if futex.word.pointee.exchange(0, ordering: .releasing) == 2 { futex.wake() }
  }
}

/// Some time for other threads: at first only the processor, then a millisecond.
struct Patience {
  private var rounds = 0

  mutating func wait() {
    rounds += 1
    if rounds < 64 { _ = sched_yield() } else { _ = holdfast_raw_poll(nil, 0, 1) }
  }
}

/// How long a program's thread waits for what passes by itself, in open(2), mmap(2), mremap(2), fork(2). Nothing may be held meanwhile: it may be what
/// is recalled.
struct MillisecondPatience {
  private var milliseconds: Int
  /// Somebody's recall, or layout: under this library they take some milliseconds.
  static var forLayouts: Self { Self(milliseconds: 1000) }
  /// What lasts until somebody has done with opening the file; another program may keep its handle or layout for as long as
  /// it likes, and is not waited for.
  static var forHandles: Self { Self(milliseconds: 50) }

  /// Nobody waits in the middle of a transfer, as a signal's handler may be: it may be that transfer that is waited for.
  var isOver: Bool { milliseconds <= 0 || holdfast_thread_transfers()!.pointee > 0 }

  mutating func wait() {
    milliseconds -= 1
    _ = holdfast_raw_poll(nil, 0, 1)
  }
}
