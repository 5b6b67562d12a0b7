/// An open file and the system calls that take one. A handle's life matters here, so it ends when `close` says, not
/// with the last reference: keep it with `defer { file.close() }`.

import CMountedSupport
import Glibc

final class File {
  /// -1 once it is closed: the number is somebody else's then, of a test that runs beside.
  private(set) var descriptor: Int32

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close() }

  func close() {
    if descriptor >= 0 { _ = Glibc.close(descriptor) }
    descriptor = -1
  }

  func duplicate() throws(Errno) -> File { File(try check(fcntl(descriptor, F_DUPFD_CLOEXEC, 0))) }

  func status() throws(Errno) -> stat {
    var status = stat()
    try check(fstat(descriptor, &status))
    return status
  }

  func size() throws(Errno) -> Int { Int(try status().st_size) }

  // MARK: Contents

  func read(_ count: Int, at offset: Int) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let start = done
      let got = try check(bytes.withUnsafeMutableBytes { pread($0, start, descriptor, offset) })
      if got == 0 { break }
      done += got
    }
    return Array(bytes[..<done])
  }

  private func pread(_ buffer: UnsafeMutableRawBufferPointer, _ start: Int, _ fd: Int32, _ offset: Int) -> Int {
    Glibc.pread(fd, buffer.baseAddress! + start, buffer.count - start, offset + start)
  }

  /// One pwrite(2); how much it wrote.
  @discardableResult
  func write(_ bytes: [UInt8], at offset: Int) throws(Errno) -> Int {
    try check(pwrite(descriptor, bytes, bytes.count, offset))
  }

  /// One write(2) at the file's position.
  @discardableResult
  func write(_ bytes: [UInt8]) throws(Errno) -> Int { try check(Glibc.write(descriptor, bytes, bytes.count)) }

  func writeAll(_ bytes: [UInt8], at offset: Int = 0) throws(Errno) {
    var done = 0
    while done < bytes.count {
      done += try write(done == 0 ? bytes : Array(bytes[done...]), at: offset + done)
    }
  }

  /// The whole of a file opened with O_DIRECT.
  func readDirectly() throws(Errno) -> [UInt8] {
    let size = try size()
    return try withAlignedBuffer((size + 4095) & ~4095 + 4096) { (buffer) throws(Errno) in
      var done = 0
      while done < size {
        let got = try check(Glibc.pread(descriptor, buffer.baseAddress! + done, buffer.count - done, done))
        if got == 0 { break }
        done += got
      }
      return Array(buffer[..<min(done, size)])
    }
  }

  /// One pwrite(2) from an aligned buffer, as O_DIRECT wants it.
  @discardableResult
  func writeDirectly(_ bytes: [UInt8], at offset: Int) throws(Errno) -> Int {
    try withAlignedBuffer(bytes.count) { (buffer) throws(Errno) in
      buffer.copyBytes(from: bytes)
      return try check(pwrite(descriptor, buffer.baseAddress!, bytes.count, offset))
    }
  }

  func sync() throws(Errno) { try check(fsync(descriptor)) }
  func syncData() throws(Errno) { try check(fdatasync(descriptor)) }
  func truncate(_ size: Int) throws(Errno) { try check(ftruncate(descriptor, size)) }

  func allocate(_ mode: Int32 = 0, at offset: Int, _ length: Int) throws(Errno) {
    try check(hmt_fallocate(descriptor, mode, Int64(offset), Int64(length)))
  }

  func seek(_ offset: Int, _ whence: Int32) throws(Errno) -> Int { try check(lseek(descriptor, offset, whence)) }

  @discardableResult
  func copyRange(at offset: Int, _ count: Int, to other: File, at otherOffset: Int) throws(Errno) -> Int {
    try check(hmt_copy_file_range(descriptor, Int64(offset), other.descriptor, Int64(otherOffset), count))
  }

  /// The file's first bytes, mapped shared for as long as `body` runs.
  func withMapping<Result>(
    _ count: Int, writable: Bool = true, _ body: (UnsafeMutableRawBufferPointer) throws -> Result
  ) throws -> Result {
    guard let start = hmt_map(descriptor, count, writable ? 1 : 0) else { throw Errno(errno) }
    defer { munmap(start, count) }
    return try body(UnsafeMutableRawBufferPointer(start: start, count: count))
  }

  // MARK: Control

  func control(_ request: UInt, _ argument: UnsafeMutableRawPointer) throws(Errno) {
    try check(hmt_ioctl(descriptor, request, argument))
  }

  /// FS_IOC_SETFLAGS, chattr's.
  func setFlags(_ flags: UInt32) throws(Errno) {
    var flags = flags
    try control(hmt_setflags, &flags)
  }

  func flags() throws(Errno) -> UInt32 {
    var flags: UInt32 = 0
    try control(hmt_getflags, &flags)
    return flags
  }
}

private func withAlignedBuffer<Result, Failure>(
  _ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
) throws(Failure) -> Result {
  let start = aligned_alloc(4096, max((count + 4095) & ~4095, 4096))!
  defer { free(start) }
  return try body(UnsafeMutableRawBufferPointer(start: start, count: count))
}

/// `count` bytes that tell their place.
func pattern(_ count: Int, seed: UInt8 = 1) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) &+ seed }
}
