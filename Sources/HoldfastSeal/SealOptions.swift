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

/// What unprivileged users may hold at a time on a mount, each and together. uid 0 is neither refused nor counted.
public struct SealLimits: Equatable, Sendable {
  /// Twice what a large holder takes (10^4 pins); at about 300 bytes each, 6 MiB of daemon memory per user.
  public static let defaultRequests = 20_000
  /// Blocks held in place keep the volume from being defragmented, shrunk or reclaimed. Above what is mapped or
  /// registered for direct access at a time today, so that it bounds mistakes rather than use.
  public static let defaultPinnedBytes: UInt64 = 1 << 40

  /// Fifty such users: 300 MiB of daemon memory.
  public static let defaultAllRequests = 1_000_000
  /// More than any image holds today: pins of all count only where an administrator says so.
  public static let defaultAllPinnedBytes: UInt64 = 1 << 60

  /// Of one user.
  public var requests = defaultRequests
  public var pinnedBytes = defaultPinnedBytes
  /// Of all users.
  public var allRequests = defaultAllRequests
  public var allPinnedBytes = defaultAllPinnedBytes
  public init() {}
}

public struct SealOptions: Equatable, Sendable {
  public var policy = SealPolicy.owner
  /// `grace=` of the mount.
  public var defaultGraceSeconds: UInt32 = 30
  public var limits = SealLimits()
  public init() {}
}
