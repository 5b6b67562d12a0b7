/// Tells the kernel what it cannot know: to forget cached attributes or pages, to look again at what poll(2) waits for.
///
/// A notification from inside an operation deadlocks (it waits for pages the operation's caller has locked),
/// so operations queue them here and one thread, which holds no lock and no request, sends them.
/// Owns: the queue, under `lock`. Notifications still queued when the mount ends are dropped.

import CFuse3
import Glibc
import HoldfastBase

final class Notifier: @unchecked Sendable {
  private enum Message {
    case pages(InodeNumber, offset: Int64, length: Int64)
    /// All pages of the file; then `done`, with whether the kernel was told.
    case flush(InodeNumber, done: @Sendable (Bool) -> Void)
    /// When everything before has been told.
    case call(@Sendable () -> Void)
    case attributes(InodeNumber)
    /// libfuse's; given back when it was told.
    case poll(OpaquePointer)
  }

  private let name: String
  private let lock = Lock()
  private let changed = Condition()
  private var queue: [Message] = []
  private var isStopped = false
  private var isIdle = true
  private var thread: Thread?

  init(name: String) { self.name = name }

  func start(_ session: OpaquePointer) {
    nonisolated(unsafe) let session = session
    thread = Thread(name: name) { self.run(session) }
  }

  /// Bytes `offset ..< offset + length` of the page cache no longer show what the file holds; 0: to the end.
  func invalidatePages(of inode: InodeNumber, offset: UInt64, length: UInt64) {
    let start = Int64(clamping: offset)
    post(.pages(inode, offset: start, length: Int64(clamping: length)))
  }

  /// Writes the file's dirty pages back and drops all of them; then calls `done`, on the notifier's thread, with false when
  /// the mount ended before.
  func flushPages(of inode: InodeNumber, done: @escaping @Sendable (Bool) -> Void) { post(.flush(inode, done: done)) }

  /// Calls `errand` on the notifier's thread when all that was posted before has been told, or the mount ended.
  func call(_ errand: @escaping @Sendable () -> Void) { post(.call(errand)) }

  func invalidateAttributes(of inode: InodeNumber) { post(.attributes(inode)) }

  /// Whoever polls asks again. Takes the notification over.
  func wakePoll(_ notification: OpaquePointer) { post(.poll(notification)) }

  /// Ends the thread, or abandons it when the kernel does not answer a notification within a second
  /// (possible only while the connection is being torn down, which then ends it).
  func stop() {
    lock.lock()
    isStopped = true
    let dropped = queue
    queue.removeAll()
    lock.unlock()
    dropped.forEach(Self.drop)
    lock.lock()
    changed.broadcast()
    if !isIdle { _ = changed.wait(lock, milliseconds: 1000) }
    let ended = isIdle
    lock.unlock()
    if ended { thread?.join() } else { thread?.detach() }
    thread = nil
  }

  private func post(_ message: Message) {
    let isDropped = lock.withLock {
      if isStopped { return true }
      queue.append(message)
      changed.signal()
      return false
    }
    if isDropped { Self.drop(message) }
  }

  /// A message that is not going to be sent.
  private static func drop(_ message: Message) {
    switch message {
    case .poll(let notification): fuse_pollhandle_destroy(notification)
    case .flush(_, let done): done(false)
    case .call(let errand): errand()
    case .pages, .attributes: break
    }
  }

  private func run(_ session: OpaquePointer) {
    lock.lock()
    while true {
      while queue.isEmpty, !isStopped { changed.wait(lock) }
      if isStopped { break }
      let batch = queue
      queue.removeAll(keepingCapacity: true)
      isIdle = false
      lock.unlock()
      // An inode the kernel does not know answers ENOENT: there was nothing to forget.
      for message in batch {
        switch message {
        case .pages(let inode, let offset, let length):
          _ = fuse_lowlevel_notify_inval_inode(session, inode, off_t(offset), off_t(length))
        case .flush(let inode, let done):
          _ = fuse_lowlevel_notify_inval_inode(session, inode, 0, 0)
          done(true)
        case .call(let errand): errand()
        case .attributes(let inode):
          _ = fuse_lowlevel_notify_inval_inode(session, inode, -1, 0)
        case .poll(let notification):
          _ = fuse_lowlevel_notify_poll(notification)
          fuse_pollhandle_destroy(notification)
        }
      }
      lock.lock()
      isIdle = true
    }
    changed.broadcast()
    lock.unlock()
  }
}
