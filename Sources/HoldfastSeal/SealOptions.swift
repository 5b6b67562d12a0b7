/// What the mount decides about seals: who may take them, how long a recall waits, how many a user may hold.

import HoldfastBase

/// `seal_policy` (rule 9). Administrators always may.
public enum SealPolicy: String, CaseIterable, Sendable {
  /// The file's owner.
  case owner
  /// Also who holds the file open for writing.
  case writer
  /// Administrators only.
  case admin
}

/// What one unprivileged user may hold at a time on a mount. uid 0 is not bounded.
public struct SealLimits: Equatable, Sendable {
  /// Twice what a large holder takes (10^4 pins); at about 300 bytes each, 6 MiB of daemon memory per user.
  public static let defaultRequests = 20_000
  /// Blocks held in place keep the volume from being defragmented, shrunk or reclaimed. Above what is mapped or
  /// registered for direct access at a time today, so that it bounds mistakes rather than use.
  public static let defaultPinnedBytes: UInt64 = 1 << 40

  public var requests = defaultRequests
  public var pinnedBytes = defaultPinnedBytes
  public init() {}
}

public struct SealOptions: Equatable, Sendable {
  public var policy = SealPolicy.owner
  /// `grace=` of the mount.
  public var defaultGraceSeconds: UInt32 = 30
  public var limits = SealLimits()
  public init() {}
}
