/// One shared/exclusive lock per inode in use, made on demand and kept in a pool.

import HoldfastBase

final class InodeLocks: @unchecked Sendable {
  private final class Entry: @unchecked Sendable {
    let lock = ReadWriteLock()
    var users = 0
  }

  private let lock = Lock()
  private var entries: [InodeNumber: Entry] = [:]
  private var pool: [Entry] = []

  private func enter(_ inode: InodeNumber) -> Entry {
    lock.withLock {
      let entry = entries[inode] ?? pool.popLast() ?? Entry()
      if entry.users == 0 { entries[inode] = entry }
      entry.users += 1
      return entry
    }
  }

  private func leave(_ inode: InodeNumber, _ entry: Entry) {
    lock.withLock {
      entry.users -= 1
      if entry.users == 0 {
        entries[inode] = nil
        // As many as there are workers, about.
        if pool.count < 32 { pool.append(entry) }
      }
    }
  }

  func shared<Result>(_ inode: InodeNumber, _ body: () throws(FSError) -> Result) throws(FSError) -> Result {
    let entry = enter(inode)
    entry.lock.lockShared()
    defer {
      entry.lock.unlock()
      leave(inode, entry)
    }
    return try body()
  }

  func exclusive<Result>(_ inode: InodeNumber, _ body: () throws(FSError) -> Result) throws(FSError) -> Result {
    let entry = enter(inode)
    entry.lock.lockExclusive()
    defer {
      entry.lock.unlock()
      leave(inode, entry)
    }
    return try body()
  }

  /// Like `exclusive`, but returns nil at once when anybody uses the inode.
  func exclusiveIfUnused<Result>(
    _ inode: InodeNumber, _ body: () throws(FSError) -> Result
  ) throws(FSError) -> Result? {
    guard
      let entry = lock.withLock({ () -> Entry? in
        guard entries[inode] == nil else { return nil }
        let entry = pool.popLast() ?? Entry()
        entries[inode] = entry
        entry.users = 1
        return entry
      })
    else { return nil }
    entry.lock.lockExclusive()
    defer {
      entry.lock.unlock()
      leave(inode, entry)
    }
    return try body()
  }
}
