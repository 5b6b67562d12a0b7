/// Which files may carry `security.capability`, which a write, truncation or change of owner removes.
///
/// The kernel removes it itself, by REMOVEXATTR, before most changes, as it does for every filesystem and whatever
/// becomes of the change. The others it leaves to us (HANDLE_KILLPRIV_V2): an open that truncates, stores through a
/// mapping, kernels that skip that step. The Store removes it in the transaction of the change itself, so that a
/// change that is refused leaves it; but looking for it at every write would be dear. So the files that have the
/// attribute and are, or were, open for writing are kept in a table that is empty in practice.
/// Owns: the table, under `lock`; its size is readable without.
/// Invariant: a file with the attribute is in the table whenever a handle open for writing exists.

import HoldfastBase
import HoldfastStore
import Synchronization

final class FileCapabilities: @unchecked Sendable {
  static let attributeName: StaticString = "security.capability"

  /// When a file was last seen to have the attribute: an entry noted since is not forgotten by an older change.
  struct Mark: Equatable { fileprivate var number: UInt64 }

  private let lock = Lock()
  private var marks: [InodeNumber: Mark] = [:]
  private var lastMark: UInt64 = 0
  private let count = Atomic<Int>(0)

  static var nameBytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: attributeName.utf8Start, count: attributeName.utf8CodeUnitCount)
  }

  static func isName(_ name: UnsafeRawBufferPointer) -> Bool { name.elementsEqual(nameBytes) }

  /// The attribute has been set, or found.
  func add(_ inode: InodeNumber) {
    lock.withLock {
      lastMark += 1
      marks[inode] = Mark(number: lastMark)
      count.store(marks.count, ordering: .releasing)
    }
  }

  /// A file is being opened for writing.
  func check(_ inode: InodeNumber, in store: Store) {
    if (try? store.xattr(Self.nameBytes, of: inode)) != nil { add(inode) }
  }

  /// Not nil: a write must remove the attribute, and then forget it by this mark.
  func mark(of inode: InodeNumber) -> Mark? {
    if count.load(ordering: .acquiring) == 0 { return nil }
    return lock.withLock { marks[inode] }
  }

  /// A change that removes the attribute has been made; it had this mark before.
  func forget(_ inode: InodeNumber, _ mark: Mark) {
    lock.withLock {
      guard marks[inode] == mark else { return }
      marks[inode] = nil
      count.store(marks.count, ordering: .releasing)
    }
  }
}
