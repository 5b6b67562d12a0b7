/// Open files and directories. `fuse_file_info.fh` is a handle's id.
///
/// Owns: a flat array of slots and its free list, under one lock held for a few instructions.
/// Invariant: an id (sequence << 32 | slot) is never 0 and never given twice in the life of a mount, so that
/// whatever is bound to a handle, a seal above all, cannot pass to a later one.

import Glibc
import HoldfastBase
import HoldfastSeal

struct Handle {
  var inode: InodeNumber
  /// Flags of open(2) at the time it was opened; READ and WRITE carry the current ones.
  var flags: Int32
  /// chattr +S stood when the file was opened.
  var synchronous = false
  /// Not opened with direct_io: the kernel caches what is read and written through it.
  var usesPageCache = false
  /// Thread that opened it, to be named when it is in somebody's way.
  var opener: Int32 = 0
  /// Who took the last request through it: whoever does so again need not be asked for in /proc.
  var taker: Taker?
  /// What poll(2) left with us, to be told when its answer changes: libfuse's, given back by whoever takes it out.
  var pollNotification: OpaquePointer?

  var isWriting: Bool { flags & O_ACCMODE != O_RDONLY }
}

/// A thread that takes requests, its process and the name of its command, as they were when they were first asked for.
struct Taker {
  var thread: Int32
  var process: Int32
  var command: String

  init(thread: Int32) {
    self.thread = thread
    process = ProcessInfo.process(ofThread: thread) ?? thread
    command = ProcessInfo.command(of: process)
  }
}

final class HandleTable: @unchecked Sendable {
  private struct Slot {
    var sequence: UInt32
    var handle: Handle?
  }

  private let lock = Lock()
  private var slots: [Slot] = []
  private var free: [UInt32] = []
  /// Handles of each inode that use the page cache.
  private var caching: [InodeNumber: Int] = [:]

  func insert(_ handle: Handle) -> UInt64 {
    lock.withLock {
      let index: UInt32
      if handle.usesPageCache { caching[handle.inode, default: 0] += 1 }
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
      if handle.usesPageCache { removeCaching(handle.inode) }
      slots[index].handle = nil
      slots[index].sequence &+= 1
      if slots[index].sequence != 0 { free.append(UInt32(index)) }
      return handle
    }
  }

  /// `thread` takes a request, through the handle if there is one.
  func taker(_ id: UInt64?, thread: Int32) -> Taker {
    if let id, let known = self[id]?.taker, known.thread == thread { return known }
    let taker = Taker(thread: thread)
    if let id {
      lock.withLock { if let index = index(of: id), slots[index].handle != nil { slots[index].handle!.taker = taker } }
    }
    return taker
  }

  /// The kernel will be told that this handle, just made, is not to use its page cache.
  func bypassPageCache(_ id: UInt64) {
    lock.withLock {
      guard let index = index(of: id), slots[index].handle?.usesPageCache == true else { return }
      slots[index].handle!.usesPageCache = false
      removeCaching(slots[index].handle!.inode)
    }
  }

  /// Whether another handle of this inode uses the page cache.
  func isCached(_ inode: InodeNumber, besides id: UInt64) -> Bool {
    lock.withLock {
      let own = index(of: id).flatMap { slots[$0].handle }?.usesPageCache == true ? 1 : 0
      return caching[inode] ?? 0 > own
    }
  }

  /// Handles of this inode that use the page cache, but for `excepted`: how many, and who opened the first `limit`.
  func caching(_ inode: InodeNumber, except excepted: Set<UInt64>, limit: Int) -> (count: Int, openers: [Int32]) {
    lock.withLock {
      var count = caching[inode] ?? 0
      for id in excepted {
        if let index = index(of: id), slots[index].handle?.usesPageCache == true { count -= 1 }
      }
      // A look through all there are, only where somebody is in the way.
      guard count > 0 else { return (0, []) }
      var openers: [Int32] = []
      for (index, slot) in slots.enumerated() where openers.count < limit {
        guard let handle = slot.handle, handle.inode == inode, handle.usesPageCache,
          !excepted.contains(UInt64(slot.sequence) << 32 | UInt64(index))
        else { continue }
        openers.append(handle.opener)
      }
      return (count, openers)
    }
  }

  private func removeCaching(_ inode: InodeNumber) {
    let count = caching[inode]!
    caching[inode] = count > 1 ? count - 1 : nil
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
