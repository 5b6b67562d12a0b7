import Glibc

/// Page-aligned memory, released with its owner: O_DIRECT and the tree's frames want alignment.
public final class AlignedBuffer: @unchecked Sendable {
  public let bytes: UnsafeMutableRawBufferPointer

  /// `byteCount` bytes aligned to 4096; zeroed, unless whoever takes them fills them first.
  public init(byteCount: Int, zeroed: Bool = true) {
    bytes = .allocate(byteCount: max(byteCount, 1), alignment: 4096)
    if zeroed { memset(bytes.baseAddress!, 0, bytes.count) }
  }

  deinit { bytes.deallocate() }
}
