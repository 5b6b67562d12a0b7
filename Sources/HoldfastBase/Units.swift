import Glibc

/// The units every layer speaks. Numbers of different kinds carry their unit in the parameter's label.

/// Inode number, 1...2^56-1; the root directory is 1. Numbers are never reused within a volume's life.
public typealias InodeNumber = UInt64

/// Index of a 4 KiB block on the image, 0 being the first superblock.
public typealias BlockNumber = UInt64

/// Index of a 4 KiB block within a file.
public typealias FileBlock = UInt64

public enum Block {
  /// Bytes in a block: the page size of every machine we serve, so a block maps and pins alone.
  public static let size = 4096
  public static let shift = 12
  /// The number of blocks that hold `bytes` bytes.
  @inlinable public static func count(covering bytes: UInt64) -> UInt64 {
    (bytes >> 12) + ((bytes & 4095) == 0 ? 0 : 1)
  }
}

/// A run of blocks, of the image or of a file: [start, start + count).
public struct BlockRange: Equatable, Hashable, Sendable {
  public var start: UInt64
  public var count: UInt64
  @inlinable public init(start: UInt64, count: UInt64) {
    self.start = start
    self.count = count
  }
  /// From `start` up to, not including, `end`; empty when `end` is not beyond `start`.
  @inlinable public init(from start: UInt64, to end: UInt64) {
    self.start = start
    self.count = end > start ? end - start : 0
  }
  @inlinable public var end: UInt64 { start + count }
  @inlinable public var isEmpty: Bool { count == 0 }
  @inlinable public func overlaps(_ other: BlockRange) -> Bool { start < other.end && other.start < end }
  @inlinable public func contains(_ block: UInt64) -> Bool { block >= start && block < end }
  @inlinable public func intersection(_ other: BlockRange) -> BlockRange {
    BlockRange(from: max(start, other.start), to: min(end, other.end))
  }
}

/// Seconds and nanoseconds since 1970, nanoseconds 0..<10^9.
public struct Timestamp: Equatable, Sendable {
  public var seconds: Int64
  public var nanoseconds: UInt32
  @inlinable public init(seconds: Int64, nanoseconds: UInt32) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }
}

extension Timestamp {
  /// CLOCK_REALTIME, or what a simulation says it is.
  public static var now: Timestamp {
    if let simulated = SimulatedTime.current { return simulated }
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
  }
}

/// Who asks: effective ids of the calling thread and its process.
public struct Credentials: Equatable, Sendable {
  public var uid: UInt32
  public var gid: UInt32
  /// Process id in the daemon's pid namespace; 0 when the request comes from no process (writeback, RELEASE).
  public var pid: Int32
  public init(uid: UInt32, gid: UInt32, pid: Int32) {
    self.uid = uid
    self.gid = gid
    self.pid = pid
  }
  public static let daemon = Credentials(uid: 0, gid: 0, pid: 0)
}
