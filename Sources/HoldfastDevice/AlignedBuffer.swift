import Glibc

/// Page-aligned memory, released with its owner: O_DIRECT and the tree's frames want alignment.
public final class AlignedBuffer: @unchecked Sendable {
  public let bytes: UnsafeMutableRawBufferPointer

  /// `byteCount` bytes, zeroed, aligned to 4096.
  public init(byteCount: Int) {
    bytes = .allocate(byteCount: max(byteCount, 1), alignment: 4096)
    memset(bytes.baseAddress!, 0, bytes.count)
  }

  deinit { bytes.deallocate() }
}
