/// An image opened for reading without its lock: for looking at a volume that may be mounted. What is read
/// may be changing meanwhile; checksums tell.

import CPlatform
import Glibc
import HoldfastBase
import HoldfastDevice

final class UnlockedImage: BlockDevice, @unchecked Sendable {
  private let descriptor: Int32

  init(_ path: String) throws(FSError) {
    let descriptor = holdfast_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0)
    guard descriptor >= 0 else { throw .device(operation: .open, byteOffset: 0, errno: errno) }
    var status = stat()
    fstat(descriptor, &status)
    let size: Int64
    switch status.st_mode & S_IFMT {
    case S_IFREG: size = Int64(status.st_size)
    case S_IFBLK: size = holdfast_block_device_size(descriptor)
    default: size = -1
    }
    guard size >= 0 else {
      close(descriptor)
      throw .notAnImage
    }
    self.descriptor = descriptor
    super.init(byteCount: UInt64(size))
  }

  deinit { close(descriptor) }

  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        throw .device(operation: .read, byteOffset: offset + UInt64(done), errno: count == 0 ? EIO : errno)
      }
      done += count
    }
  }

  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) { throw .readOnly }
  override func barrier() throws(FSError) { throw .readOnly }
}
