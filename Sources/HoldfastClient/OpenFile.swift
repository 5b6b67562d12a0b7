/// An open file or directory on a Holdfast mount. Closing it, by the end of its life, releases what is
/// bound to the handle. Calls restart after EINTR, which no ioctl here gives with half its work done; those that wait
/// for other holders (`prepare`, `waitForRecall`) end with it.

import CPlatform
import Glibc

public struct OpenFile: ~Copyable, Sendable {
  /// As given to `init`; for messages.
  public let path: String
  public let descriptor: Int32

  public enum Access: Sendable {
    case readOnly
    case readWrite
    /// For reading or, where only that is permitted, for writing: enough to seal one's own file.
    case any
  }

  /// open(2). FIFOs, sockets and devices are refused with EINVAL before they could block.
  /// `inheritable`: programs started by this one keep the handle (no O_CLOEXEC).
  public init(_ path: String, access: Access = .any, inheritable: Bool = false) throws(ClientError) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw ClientError(.open, path: path, errno: errno) }
    let type = status.st_mode & S_IFMT
    guard type == S_IFREG || type == S_IFDIR else { throw ClientError(.open, path: path, errno: EINVAL) }
    let common = (inheritable ? 0 : O_CLOEXEC) | O_NOCTTY
    var descriptor = Self.open(path, (access == .readWrite ? O_RDWR : O_RDONLY) | common)
    if descriptor < 0 && errno == EACCES && access == .any && type == S_IFREG {
      descriptor = Self.open(path, O_WRONLY | common)
    }
    guard descriptor >= 0 else { throw ClientError(.open, path: path, errno: errno) }
    self.path = path
    self.descriptor = descriptor
  }

  /// The same open file description again (dup(2)): what is bound to its handle is bound to this one's.
  /// - Throws: EBADF, EMFILE.
  public init(duplicating descriptor: Int32) throws(ClientError) {
    var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = path.withUnsafeMutableBytes { bytes in
      readlink("/proc/self/fd/\(descriptor)", bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
    }
    self.path = count > 0 ? String(decoding: path.prefix(count), as: UTF8.self) : "descriptor \(descriptor)"
    let duplicate = holdfast_duplicate(descriptor)
    guard duplicate >= 0 else { throw ClientError(.open, path: self.path, errno: errno) }
    self.descriptor = duplicate
  }

  deinit { close(descriptor) }

  private static func open(_ path: String, _ flags: Int32) -> Int32 {
    while true {
      let descriptor = holdfast_open(path, flags, 0)
      if descriptor >= 0 || errno != EINTR { return descriptor }
    }
  }

  /// ioctl(2) with `argument`; 0, or the errno.
  func control(_ request: UInt32, _ argument: UnsafeMutableRawPointer, restarts: Bool = true) -> Int32 {
    while holdfast_ioctl(descriptor, UInt(request), argument) < 0 {
      if errno != EINTR || !restarts { return errno }
    }
    return 0
  }
}
