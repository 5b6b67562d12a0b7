/// Of which files the kernel may have pages in its cache, as far as it matters beside layouts.
///
/// Pages come by a READ for the page cache (it carries no lock owner) and by a WRITE through a handle that uses it. A
/// mapping's page is read before it is stored to, so those are known, too. A grant that finds nothing cached has nothing
/// to flush, and spares itself a call into the kernel.
/// Owns: all three, under `lock`. An inode the kernel forgets leaves the set: its pages are gone before.

import HoldfastBase

final class CachedPages: @unchecked Sendable {
  /// Blocks whose pages were read before a layout for writing ended, and by how many flushes they are on their way out.
  private struct Outdated {
    var flushes = 0
    var blocks: [BlockRange] = []
  }

  private let lock = Lock()
  private var inodes: Set<InodeNumber> = []
  /// Flushes under way: what they have not reached yet may still be dirty.
  private var flushes: [InodeNumber: Int] = [:]
  private var outdated: [InodeNumber: Outdated] = [:]

  /// The kernel is about to cache pages of this file.
  func add(_ inode: InodeNumber) { lock.withLock { _ = inodes.insert(inode) } }

  func forget(_ inode: InodeNumber) { lock.withLock { _ = inodes.remove(inode) } }

  /// Whether there may be any: then they are to be flushed, and `flushed` be told. What is cached from now on is noted
  /// anew.
  func take(_ inode: InodeNumber) -> Bool {
    lock.withLock {
      guard mayHave(inode) else { return false }
      flushes[inode, default: 0] += 1
      return true
    }
  }

  func flushed(_ inode: InodeNumber) {
    lock.withLock {
      guard let count = flushes[inode] else { return }
      flushes[inode] = count > 1 ? count - 1 : nil
    }
  }

  /// Like `take`, for pages of these blocks that are neither to be shown to new opens nor written back until `updated`.
  func takeOutdated(_ inode: InodeNumber, _ blocks: BlockRange) -> Bool {
    lock.withLock {
      guard mayHave(inode) else { return false }
      outdated[inode, default: Outdated()].flushes += 1
      outdated[inode]!.blocks.append(blocks)
      return true
    }
  }

  /// They have been flushed.
  func updated(_ inode: InodeNumber) {
    lock.withLock {
      guard let found = outdated[inode] else { return }
      if found.flushes > 1 { outdated[inode]!.flushes -= 1 } else { outdated[inode] = nil }
    }
  }

  func isOutdated(_ inode: InodeNumber) -> Bool { lock.withLock { outdated[inode] != nil } }

  func isOutdated(_ inode: InodeNumber, _ blocks: BlockRange) -> Bool {
    lock.withLock { outdated[inode]?.blocks.contains { $0.overlaps(blocks) } ?? false }
  }

  /// Under the lock; whoever asks flushes.
  private func mayHave(_ inode: InodeNumber) -> Bool {
    inodes.remove(inode) != nil || flushes[inode] != nil || outdated[inode] != nil
  }
}
