/// The image: a regular file or a block device, opened once, locked against a second Holdfast process
/// by flock(2) (exclusive for writers, shared for readers), which the kernel drops with the process.

import CPlatform
import Glibc
import HoldfastBase
import Synchronization

public final class ImageFile: BlockDevice, @unchecked Sendable {
  public enum Mode: Sendable { case readOnly, readWrite }

  public let path: String
  public let descriptor: Int32
  public let isDirect: Bool
  public var isBlockDevice: Bool { !isRegular }
  private let isRegular: Bool
  /// Opened without O_DIRECT, beside a descriptor with it.
  private let cachedDescriptor: Int32?
  private let alignmentBytes: Int
  /// Of what a loop device shows, as far down as loop devices go: held for their locks.
  private let backingDescriptors: [Int32]
  /// The file is not to be shorter than this.
  private let leastByteCount: Atomic<UInt64>

  public override var alignment: Int { alignmentBytes }

  /// Opens and locks `path`. With `direct`, by O_DIRECT: every transfer must then be aligned to 4096.
  /// Waits at most `waitMilliseconds` for another process's lock.
  /// - Parameter claim: what to do about the kernel's use of the device; `.unused` by default where it is written.
  /// - Throws: `.device(.open…)` with the errno of open(2), `.imageBusy`, or `.deviceClaimed`.
  public init(
    path: String, mode: Mode, direct: Bool = false, waitMilliseconds: Int = 0, claim: DeviceClaim? = nil
  ) throws(FSError) {
    // A pipe by that name must not be waited for.
    let flags = (mode == .readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | (direct ? O_DIRECT : 0)
    let fd = holdfast_open(path, flags, 0)
    guard fd >= 0 else { throw .device(operation: .open, byteOffset: 0, errno: errno) }
    var backing: [Int32] = []
    do throws(FSError) {
      try Self.lock(fd, mode, waitMilliseconds: waitMilliseconds)
      // The same bytes by another way: whoever opens the file itself, or another loop device over it, meets this lock.
      while let file = LoopDevice.backingFile(of: backing.last ?? fd) {
        let below = holdfast_open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0)
        // Out of our sight (another namespace): then it is out of the sight of others here as well.
        guard below >= 0 else { break }
        backing.append(below)
        try Self.lock(below, mode, waitMilliseconds: waitMilliseconds)
      }
      backingDescriptors = backing
      try (claim ?? (mode == .readWrite ? .unused : .any)).check(fd, path: path)
      if mode == .readWrite {
        for (upper, lower) in zip([fd] + backing, backing) {
          try DeviceClaim.checkSiblings(ofLoopDevice: upper, showing: lower)
        }
      }
      let (size, isRegular) = try Self.byteCount(of: fd)
      cachedDescriptor = direct ? try Self.reopenCached(fd, mode) : nil
      self.isRegular = isRegular
      self.path = path
      descriptor = fd
      isDirect = direct
      alignmentBytes = direct ? 4096 : 1
      leastByteCount = Atomic(size)
      super.init(byteCount: size)
    } catch {
      for descriptor in backing + [fd] { close(descriptor) }
      throw error
    }
  }

  deinit {
    for descriptor in backingDescriptors + [descriptor] { close(descriptor) }
    if let cachedDescriptor { close(cachedDescriptor) }
  }

  private static func reopenCached(_ fd: Int32, _ mode: Mode) throws(FSError) -> Int32 {
    let flags = (mode == .readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK
    let cached = holdfast_open("/proc/self/fd/\(fd)", flags, 0)
    guard cached >= 0 else { throw .device(operation: .open, byteOffset: 0, errno: errno) }
    return cached
  }

  /// The kernel keeps the two ways coherent as long as one follows the other: O_DIRECT writes back and drops cached pages
  /// first.
  public override var pageCached: BlockDevice {
    guard let cachedDescriptor else { return self }
    return PageCachedImage(self, descriptor: cachedDescriptor)
  }

  private static func lock(_ fd: Int32, _ mode: Mode, waitMilliseconds: Int) throws(FSError) {
    var waited = 0
    while flock(fd, (mode == .readOnly ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0 {
      if errno == EINTR { continue }
      guard errno == EWOULDBLOCK else { throw .device(operation: .open, byteOffset: 0, errno: errno) }
      guard waited < waitMilliseconds else { throw .imageBusy }
      usleep(20_000)
      waited += 20
    }
  }

  /// mkfs: gives a regular file its size, before it holds anything.
  public func resize(to byteCount: UInt64) throws(FSError) {
    while ftruncate(descriptor, off_t(byteCount)) != 0 {
      guard errno == EINTR else { throw .device(operation: .write, byteOffset: byteCount, errno: errno) }
    }
    leastByteCount.store(min(byteCount, self.byteCount), ordering: .relaxed)
  }

  public override func currentByteCount() throws(FSError) -> UInt64 { try Self.byteCount(of: descriptor).bytes }

  public override func extend(to byteCount: UInt64) throws(FSError) { try extendFile(to: byteCount) }

  public override func cut(to byteCount: UInt64) throws(FSError) { try cutFile(to: byteCount) }

  /// The file is not to be shorter than this from now on.
  func requireLength(_ byteCount: UInt64) { leastByteCount.store(byteCount, ordering: .relaxed) }

  static func byteCount(of fd: Int32) throws(FSError) -> (bytes: UInt64, isRegular: Bool) {
    var status = stat()
    guard fstat(fd, &status) == 0 else { throw .device(operation: .open, byteOffset: 0, errno: errno) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return (UInt64(status.st_size), true)
    case S_IFBLK:
      let size = holdfast_block_device_size(fd)
      guard size >= 0 else { throw .device(operation: .open, byteOffset: 0, errno: errno) }
      return (UInt64(size), false)
    default: throw .device(operation: .open, byteOffset: 0, errno: ENOTBLK)
    }
  }

  public override var identity: ImageIdentity? {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return nil }
    return ImageIdentity(
      device: UInt64(status.st_dev), inode: UInt64(status.st_ino), rdev: isRegular ? 0 : UInt64(status.st_rdev))
  }

  public override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    try read(into: buffer, at: offset, by: descriptor)
  }

  public override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    try write(bytes, at: offset, by: descriptor)
  }

  fileprivate func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, by descriptor: Int32
  ) throws(FSError) {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw .device(operation: .read, byteOffset: offset + UInt64(done), errno: errno) }
      if count == 0 {
        try checkLength()
        throw .device(operation: .read, byteOffset: offset + UInt64(done), errno: EIO)
      }
      done += count
    }
  }

  fileprivate func write(
    _ bytes: UnsafeRawBufferPointer, at offset: UInt64, by descriptor: Int32
  ) throws(FSError) {
    // A file that was cut short would grow back by being written to, full of holes that read as zeros.
    try checkLength()
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        throw .device(operation: .write, byteOffset: offset + UInt64(done), errno: count == 0 ? EIO : errno)
      }
      done += count
    }
  }

  public override func barrier() throws(FSError) {
    while fdatasync(descriptor) != 0 {
      guard errno == EINTR else { throw .device(operation: .barrier, byteOffset: 0, errno: errno) }
    }
    try checkLength()
  }

  /// Asks by a write lock that is never taken: every lock of somebody else's is in its way. Locks are the inode's that
  /// was opened: those on a loop device and on the file below it are not the same, so both are asked about.
  public override func lease(within inodes: ClosedRange<InodeNumber>) throws(FSError) -> Lease? {
    for descriptor in [descriptor] + backingDescriptors {
      if let lease = try Self.lease(within: inodes, of: descriptor) { return lease }
    }
    return nil
  }

  private static func lease(
    within inodes: ClosedRange<InodeNumber>, of descriptor: Int32
  ) throws(FSError) -> Lease? {
    precondition(Lease.everyInode.contains(inodes.lowerBound) && Lease.everyInode.contains(inodes.upperBound))
    let start = Lease.byteOffset + inodes.lowerBound
    let end = Lease.byteOffset + inodes.upperBound
    var found = holdfast_lock()
    switch holdfast_ofd_find_lock(descriptor, Int64(start), Int64(end - start + 1), &found) {
    case 0: return nil
    case 1:
      // A length of 0 reaches to the end of all offsets.
      let foundEnd = found.length == 0 ? end : UInt64(found.start) &+ UInt64(found.length) &- 1
      let first = max(UInt64(found.start), start) - Lease.byteOffset
      let last = min(foundEnd, end) - Lease.byteOffset
      return Lease(inodes: first...max(first, last), pid: max(found.pid, 0))
    default:
      // A filesystem without locks has no lockers either. (ENOLCK may pass: a server of locks that is away.)
      if [EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) { return nil }
      throw .device(operation: .findLock, byteOffset: start, errno: errno)
    }
  }

  /// Throws `.imageTruncated` when somebody has cut the file short since it was opened.
  private func checkLength() throws(FSError) {
    guard isRegular else { return }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .device(operation: .barrier, byteOffset: 0, errno: errno) }
    let least = leastByteCount.load(ordering: .relaxed)
    guard UInt64(status.st_size) >= least else {
      throw .imageTruncated(expectedBytes: least, actualBytes: UInt64(status.st_size))
    }
  }
}

/// An image opened with O_DIRECT, read and written through the host's page cache all the same.
private final class PageCachedImage: BlockDevice, @unchecked Sendable {
  private let image: ImageFile
  private let descriptor: Int32

  init(_ image: ImageFile, descriptor: Int32) {
    self.image = image
    self.descriptor = descriptor
    super.init(byteCount: image.byteCount)
  }

  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    try image.read(into: buffer, at: offset, by: descriptor)
  }

  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    try image.write(bytes, at: offset, by: descriptor)
  }

  override func barrier() throws(FSError) { try image.barrier() }
}
