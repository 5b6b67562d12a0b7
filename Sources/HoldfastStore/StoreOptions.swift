import HoldfastBase
import HoldfastFormat
import HoldfastSeal

public struct StoreOptions: Sendable {
  public var readOnly = false
  /// Bytes of tree nodes kept in memory.
  public var cacheBytes = 128 << 20
  /// Seconds between background commits.
  public var commitSeconds = 5
  public enum AccessTime: Sendable { case none, relative, strict }
  public var accessTime = AccessTime.relative
  public enum ErrorAction: Sendable { case remountReadOnly, shutdown }
  public var onError = ErrorAction.remountReadOnly
  public var seals = SealOptions()
  /// Background thread for commits, checkpoints and reclaim; simulation turns it off and calls `housekeep()`.
  public var backgroundThread = true
  public init() {}
}

public struct FormatOptions: Sendable {
  public var label: String
  public var journalBlocks: UInt64?
  public var id: FilesystemID
  public var hashSeed: UInt64
  public var now: Timestamp
  /// Owner of the root directory.
  public var uid: UInt32
  public var gid: UInt32

  public init(
    label: String = "", journalBlocks: UInt64? = nil, id: FilesystemID = .random(),
    hashSeed: UInt64 = .random(in: .min ... .max), now: Timestamp = .now, uid: UInt32 = 0, gid: UInt32 = 0
  ) {
    self.label = label
    self.journalBlocks = journalBlocks
    self.id = id
    self.hashSeed = hashSeed
    self.now = now
    self.uid = uid
    self.gid = gid
  }
}
