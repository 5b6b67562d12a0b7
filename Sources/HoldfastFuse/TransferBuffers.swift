/// Page-aligned buffers of one largest transfer, lent to operations that answer with bytes.
///
/// Owns: a stack of idle buffers, under its lock. There are never more than operations at work.

import Glibc
import HoldfastBase

final class TransferBuffers: @unchecked Sendable {
  /// The largest READ or WRITE: more made the mount unusable, less is slower.
  static let bytes = 1 << 20

  private let lock = Lock()
  private var idle: [UnsafeMutableRawPointer] = []

  deinit { for buffer in idle { free(buffer) } }

  func take() -> UnsafeMutableRawBufferPointer {
    let buffer = lock.withLock { idle.popLast() } ?? Self.allocate()
    return UnsafeMutableRawBufferPointer(start: buffer, count: Self.bytes)
  }

  func give(back buffer: UnsafeMutableRawBufferPointer) {
    lock.withLock { idle.append(buffer.baseAddress!) }
  }

  private static func allocate() -> UnsafeMutableRawPointer {
    var memory: UnsafeMutableRawPointer?
    let status = posix_memalign(&memory, Block.size, bytes)
    precondition(status == 0, "posix_memalign: \(status)")
    return memory!
  }
}
