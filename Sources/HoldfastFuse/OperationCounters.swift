/// How often each operation ran and failed since the mount: relaxed counters, read without stopping anybody.

import HoldfastBase
import Synchronization

enum Operation: Int, CaseIterable, Sendable {
  case lookup, forget, getattr, statx, setattr, readlink, mknod, mkdir, unlink, rmdir, symlink, rename, link
  case open, create, tmpfile, read, write, release, fsync, opendir, readdir, readdirplus, releasedir, fsyncdir
  case statfs, setxattr, getxattr, listxattr, removexattr, fallocate, lseek, copyFileRange, ioctl, poll, bmap
}

final class OperationCounters: @unchecked Sendable {
  private let done: UnsafeMutablePointer<Atomic<UInt64>>
  private let failed: UnsafeMutablePointer<Atomic<UInt64>>
  private static var count: Int { Operation.allCases.count }

  init() {
    done = .allocate(capacity: Self.count)
    failed = .allocate(capacity: Self.count)
    for index in 0..<Self.count {
      (done + index).initialize(to: Atomic(0))
      (failed + index).initialize(to: Atomic(0))
    }
  }

  deinit {
    done.deinitialize(count: Self.count)
    failed.deinitialize(count: Self.count)
    done.deallocate()
    failed.deallocate()
  }

  func count(_ operation: Operation) { done[operation.rawValue].wrappingAdd(1, ordering: .relaxed) }
  func countFailure(_ operation: Operation) { failed[operation.rawValue].wrappingAdd(1, ordering: .relaxed) }

  func value(_ operation: Operation) -> (count: UInt64, failures: UInt64) {
    (done[operation.rawValue].load(ordering: .relaxed), failed[operation.rawValue].load(ordering: .relaxed))
  }
}
