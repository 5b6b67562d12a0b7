/// Of which files the kernel may have pages in its cache, as far as it matters beside layouts.
///
/// Pages come by a READ for the page cache (it carries no lock owner) and by a WRITE through a handle that uses it. A
/// mapping's page is read before it is stored to, so those are known, too. A grant that finds nothing cached has nothing
/// to flush, and spares itself a call into the kernel.
/// Owns: both sets, under `lock`. An inode the kernel forgets leaves them: its pages are gone before.

import HoldfastBase

final class CachedPages: @unchecked Sendable {
  private let lock = Lock()
  private var inodes: Set<InodeNumber> = []
  /// Pages that were read before a layout for writing ended, by how many invalidations are on their way: opens meanwhile
  /// keep nothing.
  private var outdated: [InodeNumber: Int] = [:]

  /// The kernel is about to cache pages of this file.
  func add(_ inode: InodeNumber) { lock.withLock { _ = inodes.insert(inode) } }

  func forget(_ inode: InodeNumber) { lock.withLock { _ = inodes.remove(inode) } }

  /// Whether there may be any. What is cached from now on is noted anew: to be asked before they are invalidated.
  func take(_ inode: InodeNumber) -> Bool { lock.withLock { inodes.remove(inode) != nil } }

  /// Like `take`, for pages that are not to be shown to new opens until `updated`.
  func takeOutdated(_ inode: InodeNumber) -> Bool {
    lock.withLock {
      guard inodes.remove(inode) != nil else { return false }
      outdated[inode, default: 0] += 1
      return true
    }
  }

  /// They have been invalidated.
  func updated(_ inode: InodeNumber) {
    lock.withLock {
      guard let count = outdated[inode] else { return }
      outdated[inode] = count > 1 ? count - 1 : nil
    }
  }

  func isOutdated(_ inode: InodeNumber) -> Bool { lock.withLock { outdated[inode] != nil } }
}
