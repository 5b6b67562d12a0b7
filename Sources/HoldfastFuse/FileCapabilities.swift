/// Which files may carry `security.capability`, which a write, truncation or change of owner removes (the last is the Store's).
///
/// With HANDLE_KILLPRIV_V2 the kernel leaves that to us, and asking the Store at every write would be dear. So
/// the files that have the attribute and are, or were, open for writing are kept in a set that is empty in
/// practice. Owns: the set, under `lock`; its size is readable without.
/// Invariant: a file with the attribute is in the set whenever a handle open for writing exists.

import HoldfastBase
import HoldfastStore
import Synchronization

final class FileCapabilities: @unchecked Sendable {
  static let attributeName: StaticString = "security.capability"

  private let lock = Lock()
  private var inodes: Set<InodeNumber> = []
  private let count = Atomic<Int>(0)

  static var nameBytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: attributeName.utf8Start, count: attributeName.utf8CodeUnitCount)
  }

  static func isName(_ name: UnsafeRawBufferPointer) -> Bool { name.elementsEqual(nameBytes) }

  func add(_ inode: InodeNumber) {
    lock.withLock {
      inodes.insert(inode)
      count.store(inodes.count, ordering: .releasing)
    }
  }

  /// A file is being opened for writing.
  func check(_ inode: InodeNumber, in store: Store) {
    if (try? store.xattr(Self.nameBytes, of: inode)) != nil { add(inode) }
  }

  /// A write is about to happen.
  func dropIfKnown(_ inode: InodeNumber, in store: Store) throws(FSError) {
    if count.load(ordering: .acquiring) == 0 { return }
    guard lock.withLock({ inodes.contains(inode) }) else { return }
    try drop(inode, in: store)
  }

  /// A truncation, perhaps by name, is about to happen.
  func drop(_ inode: InodeNumber, in store: Store) throws(FSError) {
    guard (try? store.xattr(Self.nameBytes, of: inode)) != nil else { return }
    do throws(FSError) {
      try store.removeXattr(Self.nameBytes, of: inode)
    } catch .noData {}
    lock.withLock {
      inodes.remove(inode)
      count.store(inodes.count, ordering: .releasing)
    }
  }
}
