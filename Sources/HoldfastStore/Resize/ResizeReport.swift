/// What growing and shrinking tell: what came of it, and what was in the way.

import HoldfastBase
import HoldfastSeal

/// Something that keeps blocks behind the new end.
public struct ResizeObstacle: Equatable, Sendable {
  public enum Reason: Equatable, Sendable {
    /// A request that does not give way.
    case request(RequestInfo)
    /// Somebody may reach the blocks of this inode without a request that stands: leases, or holders a request was taken
    /// from. In a file still, or in quarantine.
    case holder(isLeased: Bool, processes: [Int32], inQuarantine: Bool)
  }

  public var inode: InodeNumber
  /// Bytes of the file; empty for blocks that left it.
  public var byteOffset: UInt64
  public var byteCount: UInt64
  /// Behind its last block on the image.
  public var end: BlockNumber
  public var reason: Reason
}

public struct ResizeReport: Equatable, Sendable {
  public enum Outcome: Equatable, Sendable {
    /// The volume has the size that was asked for.
    case done
    /// `obstacles` are in the way; the size is what it was.
    case obstructed
    /// What is used does not fit; the size is what it was.
    case noRoom
    /// No volume with this journal is that small; the size is what it was.
    case tooSmall
  }

  public var outcome: Outcome
  public var previousByteCount: UInt64
  /// The size now.
  public var byteCount: UInt64
  /// Of what kept it from shrinking as far: nothing smaller is possible now. After success, the size.
  public var smallestByteCount: UInt64
  public var movedBlocks: UInt64
  public var obstacles: [ResizeObstacle]
  /// The volume is smaller, but its file could not be cut.
  public var cutFailure: FSError?
}

/// How far a shrink is, and how to end it early. Made by who asks for one; any thread may look and cancel.
public final class ResizeControl: @unchecked Sendable {
  private let lock = Lock()
  private let changed = Condition()
  private var cancelled = false
  private var woken = false
  private var moved: UInt64 = 0
  private var planned: UInt64 = 0

  public init() {}

  /// Blocks moved so far, and to be moved in all, as far as that is known.
  public var progress: (moved: UInt64, planned: UInt64) { lock.withLock { (moved, max(planned, moved)) } }

  /// The shrink ends soon with `.interrupted`, if it has not come to its end.
  public func cancel() {
    lock.withLock { cancelled = true }
    changed.broadcast()
  }

  var isCancelled: Bool { lock.withLock { cancelled } }

  func check() throws(FSError) { if isCancelled { throw .interrupted } }

  func plan(_ blocks: UInt64) { lock.withLock { planned = blocks } }
  func noteMoved(_ blocks: UInt64) { lock.withLock { moved += blocks } }

  /// Waits until `wake`, or until it is cancelled; whether it was woken.
  func sleep() -> Bool {
    lock.lock()
    defer { lock.unlock() }
    while !woken, !cancelled { changed.wait(lock) }
    defer { woken = false }
    return woken
  }

  func wake() {
    lock.withLock { woken = true }
    changed.broadcast()
  }
}
