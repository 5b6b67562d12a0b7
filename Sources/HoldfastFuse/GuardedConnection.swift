/// What the swap guard does: nothing while the daemon lives. When it has died, the mount goes on without a volume: the swap
/// file can be opened and closed, which is what swapoff(2) wants, and the mount be unmounted; every other request gets
/// ENOTCONN, as from any mount without its daemon. What a path needs beside that the kernel has cached
/// (`CacheTime.forever`), but for access control lists, which it may have dropped: there are none then.
///
/// Offsets are those of <linux/fuse.h>.

import CPlatform
import Glibc

public enum GuardedConnection {
  private enum Opcode {
    static let forget: UInt32 = 2
    static let open: UInt32 = 14
    static let release: UInt32 = 18
    static let getXattr: UInt32 = 22
    static let releaseDirectory: UInt32 = 29
    static let interrupt: UInt32 = 36
    static let destroy: UInt32 = 38
    static let batchForget: UInt32 = 42
  }

  /// Returns when the daemon needs no guard any more, or the mount is gone.
  public static func run() {
    for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE] { signal(number, SIG_IGN) }
    // Whatever else the daemon had open is closed on exec; the working directory is to be nobody's mount.
    _ = chdir("/")
    guard daemonHasDied(SwapGuard.pipeDescriptor) else { return }
    askAgain(SwapGuard.connectionDescriptor)
    serve(SwapGuard.connectionDescriptor)
  }

  private static func daemonHasDied(_ pipe: Int32) -> Bool {
    var byte: UInt8 = 0
    while true {
      let count = read(pipe, &byte, 1)
      if count < 0, errno == EINTR { continue }
      return count == 0
    }
  }

  /// What the daemon had taken and not answered is handed out once more (FUSE_NOTIFY_RESEND, Linux 6.9); older kernels leave
  /// those who wait for it waiting until the connection is aborted.
  private static func askAgain(_ connection: Int32) {
    let resend: Int32 = 7
    answer(connection, unique: 0, error: resend)
  }

  /// Until the mount is gone.
  static func serve(_ connection: Int32) {
    let memory = RequestMemory()
    defer { memory.deallocate() }
    while true {
      let count = read(connection, memory.start, RequestMemory.capacity)
      // ENOENT: one that was given up meanwhile.
      if count < 0, errno == EINTR || errno == ENOENT || errno == EAGAIN { continue }
      guard count >= KernelTransport.requestHeaderBytes else { return }
      answer(connection, UnsafeRawPointer(memory.start), count)
    }
  }

  private static func answer(_ connection: Int32, _ request: UnsafeRawPointer, _ count: Int) {
    let unique = request.load(fromByteOffset: 8, as: UInt64.self)
    switch request.load(fromByteOffset: 4, as: UInt32.self) {
    case Opcode.forget, Opcode.batchForget, Opcode.interrupt: return
    case Opcode.release, Opcode.releaseDirectory, Opcode.destroy: answer(connection, unique: unique, error: 0)
    case Opcode.open where isForSwap(request, count): answerOpen(connection, unique: unique)
    case Opcode.getXattr where isAccessControlList(request, count): answer(connection, unique: unique, error: -ENODATA)
    default: answer(connection, unique: unique, error: -ENOTCONN)
    }
  }

  /// swapoff opens for reading and writing. Who only reads is not to take cached pages for a file.
  private static func isForSwap(_ request: UnsafeRawPointer, _ count: Int) -> Bool {
    guard count >= KernelTransport.requestHeaderBytes + 4 else { return false }
    let flags = request.load(fromByteOffset: KernelTransport.requestHeaderBytes, as: Int32.self)
    return flags & O_ACCMODE == O_RDWR && flags & O_TRUNC == 0
  }

  /// fuse_getxattr_in: size, padding; then the name.
  private static func isAccessControlList(_ request: UnsafeRawPointer, _ count: Int) -> Bool {
    let name = Array("system.posix_acl_".utf8)
    let start = KernelTransport.requestHeaderBytes + 8
    guard count >= start + name.count else { return false }
    return UnsafeRawBufferPointer(start: request + start, count: name.count).elementsEqual(name)
  }

  /// fuse_out_header alone: length, error, unique.
  private static func answer(_ connection: Int32, unique: UInt64, error: Int32) {
    send(connection, [UInt64(KernelTransport.replyHeaderBytes) | UInt64(UInt32(bitPattern: error)) << 32, unique])
  }

  /// And fuse_open_out: a handle, flags (FOPEN_KEEP_CACHE).
  private static func answerOpen(_ connection: Int32, unique: UInt64) {
    send(connection, [UInt64(KernelTransport.replyHeaderBytes + 16), unique, 1, 2])
  }

  private static func send(_ connection: Int32, _ words: [UInt64]) {
    words.withUnsafeBytes { _ = write(connection, $0.baseAddress, $0.count) }
  }
}
