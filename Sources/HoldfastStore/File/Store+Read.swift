/// Reading file contents.

import Glibc
import HoldfastBase
import HoldfastFormat

/// A run of a file's bytes and where they are on the device; nil: they read as zeros.
struct DataRun {
  var fileOffset: UInt64
  var byteCount: Int
  var deviceOffset: UInt64?
}

extension Store {
  /// Fills `buffer` from byte `offset`. Returns the bytes read: 0 at or behind the end.
  public func read(
    _ inode: InodeNumber, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(FSError) -> Int {
    try inodeLocks.shared(inode) { () throws(FSError) in
      let (runs, touch) = try reading { () throws(FSError) in try readPlan(inode, offset, buffer.count) }
      var done = 0
      for run in runs {
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + run.byteCount])
        if let deviceOffset = run.deviceOffset {
          try readData(into: part, at: deviceOffset, of: inode)
        } else {
          memset(part.baseAddress!, 0, part.count)
        }
        done += run.byteCount
      }
      if touch { try touchAccessTime(inode) }
      return done
    }
  }

  private func readPlan(
    _ number: InodeNumber, _ offset: UInt64, _ byteCount: Int
  ) throws(FSError) -> (runs: [DataRun], touch: Bool) {
    let record = try inode(number)
    if record.isDirectory { throw .isDirectory }
    guard record.isRegular else { throw .invalid(.argument) }
    guard offset < record.size, byteCount > 0 else { return ([], false) }
    let end = offset + min(UInt64(byteCount), record.size - offset)
    return (try runs(of: number, from: offset, to: end), wantsAccessTime(record))
  }

  /// The runs of bytes [start, end). Under the tree lock.
  func runs(of inode: InodeNumber, from start: UInt64, to end: UInt64) throws(FSError) -> [DataRun] {
    var result: [DataRun] = []
    var at = start
    let limit = Block.count(covering: end)
    while at < end {
      let block = at >> UInt64(Block.shift)
      switch try piece(of: inode, at: block, limit: limit) {
      case .hole(let hole):
        let next = min(end, hole.end << UInt64(Block.shift))
        result.append(DataRun(fileOffset: at, byteCount: Int(next - at), deviceOffset: nil))
        at = next
      case .mapped(let extent):
        let next = min(end, extent.end << UInt64(Block.shift))
        let device = extent.physical(block) << UInt64(Block.shift) + at & UInt64(Block.size - 1)
        let hasData = !extent.record.flags.contains(.unwritten)
        result.append(DataRun(fileOffset: at, byteCount: Int(next - at), deviceOffset: hasData ? device : nil))
        at = next
      }
    }
    return result
  }

  // MARK: Access time

  private func wantsAccessTime(_ record: InodeRecord) -> Bool {
    if options.readOnly || writeFailure != nil || record.flags.contains(.noAccessTime) { return false }
    switch options.accessTime {
    case .none: return false
    case .strict: return true
    case .relative:
      // As the kernel's relatime: behind mtime or ctime, or a day old.
      let accessed = record.accessed
      return !accessed.isAfter(record.modified) || !accessed.isAfter(record.changed)
        || Timestamp.now.seconds - accessed.seconds >= 24 * 60 * 60
    }
  }

  /// An access time is never worth an error to the reader.
  func touchAccessTime(_ number: InodeNumber) throws(FSError) {
    do throws(FSError) {
      try transaction(keys: 1, .shrinking, timesOnly: true) { () throws(FSError) in
        var record = try inode(number)
        record.accessed = .now
        try putInode(number, record)
      }
    } catch {
      if case .corrupt = error { throw error }
    }
  }

  /// Like `read`, of directories and symlinks.
  func noteAccess(_ number: InodeNumber, _ record: InodeRecord) throws(FSError) {
    if treeLock.withLock({ wantsAccessTime(record) }) { try touchAccessTime(number) }
  }
}

extension Timestamp {
  func isAfter(_ other: Timestamp) -> Bool {
    seconds > other.seconds || (seconds == other.seconds && nanoseconds > other.nanoseconds)
  }
}
