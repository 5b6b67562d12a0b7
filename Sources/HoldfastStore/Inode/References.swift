/// Who still uses which inode: kernel lookups and open handles, counted together, and writers counted apart.

import HoldfastBase

final class References: @unchecked Sendable {
  private let lock = Lock()
  private var counts: [InodeNumber: UInt64] = [:]
  private var writers: [InodeNumber: Int] = [:]

  func retain(_ inode: InodeNumber, _ count: UInt64) { lock.withLock { counts[inode, default: 0] += count } }

  /// True when that was the last reference. Releasing more than is held counts as all.
  func release(_ inode: InodeNumber, _ count: UInt64) -> Bool {
    lock.withLock {
      guard let held = counts[inode], held > count else {
        counts[inode] = nil
        return true
      }
      counts[inode] = held - count
      return false
    }
  }

  var all: [InodeNumber] { lock.withLock { Array(counts.keys) } }

  func isHeld(_ inode: InodeNumber) -> Bool { lock.withLock { counts[inode] != nil } }

  func addWriter(_ inode: InodeNumber) { lock.withLock { writers[inode, default: 0] += 1 } }

  /// True when that was the last writer.
  func removeWriter(_ inode: InodeNumber) -> Bool {
    lock.withLock {
      guard let count = writers[inode], count > 1 else {
        writers[inode] = nil
        return true
      }
      writers[inode] = count - 1
      return false
    }
  }

  func hasWriter(_ inode: InodeNumber) -> Bool { lock.withLock { writers[inode] != nil } }

  func removeAll() {
    lock.withLock {
      counts.removeAll()
      writers.removeAll()
    }
  }
}
