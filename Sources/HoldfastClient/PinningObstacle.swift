/// Whether devices may pin mapped blocks for long: io_uring's registered buffers, RDMA's memory regions.
///
/// The kernel's answer to a pin it refuses is EFAULT, which says nothing. This says it in words, and beforehand. It goes
/// by the kind of the image: the kernel has no question to ask without pinning.

import Glibc
import HoldfastDirect

public enum PinningObstacle: Equatable, Sendable, CustomStringConvertible {
  /// A filesystem or block device that must hear of each store into a shared mapping to write it back, and would not
  /// hear of a device's: refused by Linux since 6.5. Before, it was let happen, and data could be lost.
  case storesAreTracked
  /// The layout is for reading: its mappings cannot be stored into, and long pins are made for storing.
  case readOnly

  public var description: String {
    switch self {
    case .storesAreTracked:
      "the image is on a disk: kernels since 6.5 refuse long-term pins (EFAULT) of shared mappings whose stores they must "
        + "track to write them back; an image on tmpfs can be pinned"
    case .readOnly: "the layout is for reading: long-term pins want a mapping for writing (EFAULT)"
    }
  }
}

extension Layout {
  /// Why mappings of it cannot be pinned for long; nil: they can, within RLIMIT_MEMLOCK.
  public var pinningObstacle: PinningObstacle? {
    if !direct.space.image.isPinnable { return .storesAreTracked }
    return direct.space.isWritable ? nil : .readOnly
  }
}

extension ClientError {
  /// As an error, for callers that know only those.
  public init(pinning obstacle: PinningObstacle, path: String) {
    self.init(.directMap, path: path, errno: EOPNOTSUPP)
    pinning = obstacle
  }
}
