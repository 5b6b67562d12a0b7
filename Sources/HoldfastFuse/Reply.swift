/// A request that waits for its answer. Every request is answered exactly once: sending consumes the value, and
/// one that is dropped unsent traps in debug builds and answers EIO in others.
///
/// `Kind` says which answers fit. A value may be kept and answered later from another thread.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastStore

struct Reply<Kind>: ~Copyable {
  private let request: fuse_req_t

  init(_ request: fuse_req_t?) { self.request = request! }

  deinit {
    assertionFailure("a request was dropped without an answer")
    fuse_reply_err(request, EIO)
  }

  consuming func fail(errno: Int32) { fuse_reply_err(take(), errno) }

  /// For the one function call that sends: libfuse frees the request with it.
  fileprivate consuming func take() -> fuse_req_t {
    let request = self.request
    discard self
    return request
  }

  /// From now on a signal to the caller is `waiting`'s to hear of: perhaps at once, under libfuse's lock of the request.
  /// - Precondition: `waiting` lives until `ignoreInterrupts` returns.
  borrowing func onInterrupt(_ waiting: Interruptible) {
    fuse_req_interrupt_func(
      request, { _, waiting in Unmanaged<Interruptible>.fromOpaque(waiting!).takeUnretainedValue().giveUp() },
      Unmanaged.passUnretained(waiting).toOpaque())
  }

  /// Waits for a callback under way. To be called before the answer, with which libfuse frees the request.
  borrowing func ignoreInterrupts() { fuse_req_interrupt_func(request, nil, nil) }

  /// Whether a signal has come for the caller; to be asked before the answer, with which libfuse frees the request.
  var interruption: Interruption { Interruption(request: request) }

  /// Ids of the calling thread; `pid` is the thread's.
  var caller: Credentials {
    let context = fuse_req_ctx(request).pointee
    return Credentials(uid: context.uid, gid: context.gid, pid: context.pid)
  }

  /// The caller's umask (requests that create).
  var umask: UInt32 { fuse_req_ctx(request).pointee.umask }
}

struct Interruption {
  fileprivate let request: fuse_req_t
  var hasCome: Bool { fuse_req_interrupted(request) != 0 }
}

/// A reply for a closure to send, which cannot own one.
final class HeldReply<Kind>: @unchecked Sendable {
  private var reply: Reply<Kind>?

  init(_ reply: consuming Reply<Kind>) { self.reply = consume reply }

  /// Once; whoever takes it sends.
  func take() -> Reply<Kind> { reply.take()! }
}

/// An operation whose caller may be tired of it.
class Interruptible: @unchecked Sendable {
  /// The operation is to end soon. Called under libfuse's lock of the request: waits for nothing, answers nothing.
  func giveUp() { fatalError("abstract") }
}

/// Success without more to say.
enum Done {}
extension Reply where Kind == Done {
  consuming func send() { fuse_reply_err(take(), 0) }
}

/// FORGET has no answer at all.
enum Nothing {}
extension Reply where Kind == Nothing {
  consuming func send() { fuse_reply_none(take()) }
}

/// A name's inode. The kernel counts each one sent as a lookup; false when it did not take the answer.
enum Entry {}
extension Reply where Kind == Entry {
  consuming func send(_ attributes: Attributes) -> Bool {
    var entry = fuse_entry_param(attributes)
    return fuse_reply_entry(take(), &entry) == 0
  }

  /// There is no such name, and the kernel may remember that.
  consuming func sendAbsent() {
    var entry = fuse_entry_param()
    entry.entry_timeout = CacheTime.forever
    fuse_reply_entry(take(), &entry)
  }
}

/// A new file, already open.
enum Created {}
extension Reply where Kind == Created {
  consuming func send(_ attributes: Attributes, _ info: UnsafePointer<fuse_file_info>) -> Bool {
    var entry = fuse_entry_param(attributes)
    return fuse_reply_create(take(), &entry, info) == 0
  }
}

enum Opened {}
extension Reply where Kind == Opened {
  consuming func send(_ info: UnsafePointer<fuse_file_info>) -> Bool { fuse_reply_open(take(), info) == 0 }
}

enum Stat {}
extension Reply where Kind == Stat {
  consuming func send(_ attributes: Attributes) {
    var stat = stat(attributes)
    fuse_reply_attr(take(), &stat, CacheTime.forever)
  }
}

/// Bytes: of a file, a directory, a symlink's target.
enum Bytes {}
extension Reply where Kind == Bytes {
  @discardableResult
  consuming func send(_ bytes: UnsafeRawBufferPointer) -> Bool {
    fuse_reply_buf(take(), bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) == 0
  }

  consuming func send(_ bytes: [UInt8]) {
    let request = take()
    bytes.withUnsafeBytes { _ = fuse_reply_buf(request, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
  }
}

/// How much was written.
enum Written {}
extension Reply where Kind == Written {
  consuming func send(_ count: Int) { fuse_reply_write(take(), count) }
}

/// An extended attribute or the list of them, asked for with room for `capacity` bytes, 0 to learn the size.
enum AttributeValue {}
extension Reply where Kind == AttributeValue {
  consuming func send(_ value: [UInt8], capacity: Int) {
    let request = take()
    if capacity == 0 {
      fuse_reply_xattr(request, value.count)
    } else if value.count > capacity {
      fuse_reply_err(request, ERANGE)
    } else {
      value.withUnsafeBytes {
        _ = fuse_reply_buf(request, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
      }
    }
  }
}

enum Position {}
extension Reply where Kind == Position {
  consuming func send(_ offset: UInt64) { fuse_reply_lseek(take(), off_t(offset)) }
}

/// Where a block of a file is, in blocks of the device; 0 for nowhere.
enum BlockPlace {}
extension Reply where Kind == BlockPlace {
  consuming func send(_ block: UInt64) { fuse_reply_bmap(take(), block) }
}

enum VolumeStat {}
extension Reply where Kind == VolumeStat {
  consuming func send(_ statistics: statvfs) {
    var statistics = statistics
    fuse_reply_statfs(take(), &statistics)
  }
}

enum Control {}
extension Reply where Kind == Control {
  /// `result` is what ioctl(2) returns, or an errno, negative. The bytes reach the caller either way.
  consuming func send(_ output: [UInt8], result: Int32) {
    let request = take()
    output.withUnsafeBytes { _ = fuse_reply_ioctl(request, result, $0.baseAddress, $0.count) }
  }
}

enum PollEvents {}
extension Reply where Kind == PollEvents {
  consuming func send(_ events: UInt32) { fuse_reply_poll(take(), events) }
}
