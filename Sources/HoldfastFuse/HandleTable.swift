/// Open files and directories. `fuse_file_info.fh` is a handle's id.
///
/// Owns: a flat array of slots and its free list, under one lock held for a few instructions.
/// Invariant: an id (sequence << 32 | slot) is never 0 and never given twice in the life of a mount, so that
/// whatever is bound to a handle, a seal above all, cannot pass to a later one.

import Glibc
import HoldfastBase

struct Handle {
  var inode: InodeNumber
  /// Flags of open(2) at the time it was opened; READ and WRITE carry the current ones.
  var flags: Int32
  /// chattr +S stood when the file was opened.
  var synchronous = false
  /// What poll(2) left with us, to be told when its answer changes: libfuse's, given back by whoever takes it out.
  var pollNotification: OpaquePointer?

  var isWriting: Bool { flags & O_ACCMODE != O_RDONLY }
}

final class HandleTable: @unchecked Sendable {
  private struct Slot {
    var sequence: UInt32
    var handle: Handle?
  }

  private let lock = Lock()
  private var slots: [Slot] = []
  private var free: [UInt32] = []

  func insert(_ handle: Handle) -> UInt64 {
    lock.withLock {
      let index: UInt32
      if let reused = free.popLast() {
        index = reused
        slots[Int(index)].handle = handle
      } else {
        index = UInt32(slots.count)
        slots.append(Slot(sequence: 1, handle: handle))
      }
      return UInt64(slots[Int(index)].sequence) << 32 | UInt64(index)
    }
  }

  subscript(id: UInt64) -> Handle? {
    lock.withLock {
      guard let index = index(of: id) else { return nil }
      return slots[index].handle
    }
  }

  /// Keeps what a poll left, or takes out what the last one did; returns what is now the caller's to give back.
  func exchangePollNotification(_ id: UInt64, _ new: OpaquePointer?) -> OpaquePointer? {
    lock.withLock {
      guard let index = index(of: id), slots[index].handle != nil else { return new }
      defer { slots[index].handle!.pollNotification = new }
      return slots[index].handle!.pollNotification
    }
  }

  /// Removes the handle and retires its id. A slot whose sequence numbers are used up is not reused.
  func remove(_ id: UInt64) -> Handle? {
    lock.withLock {
      guard let index = index(of: id), let handle = slots[index].handle else { return nil }
      slots[index].handle = nil
      slots[index].sequence &+= 1
      if slots[index].sequence != 0 { free.append(UInt32(index)) }
      return handle
    }
  }

  /// All that are open on an inode. As long as there are open handles: for what is asked seldom.
  func ids(on inode: InodeNumber) -> [UInt64] {
    lock.withLock {
      slots.indices.compactMap { index in
        let slot = slots[index]
        return slot.handle?.inode == inode ? UInt64(slot.sequence) << 32 | UInt64(index) : nil
      }
    }
  }

  var count: Int { lock.withLock { slots.count - free.count } }

  private func index(of id: UInt64) -> Int? {
    let index = Int(id & 0xffff_ffff)
    guard index < slots.count, UInt64(slots[index].sequence) == id >> 32 else { return nil }
    return index
  }
}
