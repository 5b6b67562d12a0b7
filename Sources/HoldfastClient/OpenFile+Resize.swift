/// HOLDFAST_IOC_RESIZE: making a mounted volume larger or smaller.

import CHoldfast
import Glibc

public struct VolumeResize: Equatable, Sendable {
  public enum Request: Equatable, Sendable {
    /// To so many bytes; nil: all that its file or device has.
    case grow(to: UInt64?)
    case shrink(to: UInt64)
  }

  public enum Outcome: Equatable, Sendable {
    case done
    /// What `obstacles` name is in the way.
    case obstructed
    /// What is used does not fit.
    case noRoom
    /// No volume with this journal is that small.
    case tooSmall
  }

  /// What keeps blocks behind the new end.
  public struct Obstacle: Equatable, Sendable {
    public enum Reason: Equatable, Sendable {
      case request(name: String)
      /// Somebody may reach the blocks directly, without a request that stands.
      case holder
      /// The same, of blocks that have left their file.
      case quarantine
    }

    public var inode: UInt64
    /// Bytes of the file; none of blocks that have left it.
    public var offset: UInt64
    public var length: UInt64
    public var reason: Reason
    /// Of the holder; 0 when not known.
    public var pid: Int32
    public var uid: UInt32
    public var command: String

    public init(
      inode: UInt64, offset: UInt64, length: UInt64, reason: Reason, pid: Int32, uid: UInt32, command: String
    ) {
      self.inode = inode
      self.offset = offset
      self.length = length
      self.reason = reason
      self.pid = pid
      self.uid = uid
      self.command = command
    }
  }

  public var outcome: Outcome
  /// Bytes, before and after.
  public var previousSize: UInt64
  public var size: UInt64
  /// That is possible now.
  public var smallestSize: UInt64
  public var movedBlocks: UInt64
  /// The first so many.
  public var obstacles: [Obstacle]
  /// All there are.
  public var obstacleCount: Int
  /// Why the file could not be cut after the volume became smaller; 0 otherwise.
  public var cutErrno: Int32

  public init(
    outcome: Outcome, previousSize: UInt64, size: UInt64, smallestSize: UInt64, movedBlocks: UInt64,
    obstacles: [Obstacle], obstacleCount: Int, cutErrno: Int32
  ) {
    self.outcome = outcome
    self.previousSize = previousSize
    self.size = size
    self.smallestSize = smallestSize
    self.movedBlocks = movedBlocks
    self.obstacles = obstacles
    self.obstacleCount = obstacleCount
    self.cutErrno = cutErrno
  }
}

extension OpenFile {
  /// Resizes this file's mount. Administrators only. A signal ends it with EINTR, and the size is what it was.
  public func resizeMount(_ request: VolumeResize.Request) throws(ClientError) -> VolumeResize {
    var argument = holdfast_resize()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    switch request {
    case .grow(let size):
      argument.flags = UInt32(HOLDFAST_RESIZE_GROW)
      argument.size = size ?? 0
    case .shrink(let size):
      argument.flags = UInt32(HOLDFAST_RESIZE_SHRINK)
      argument.size = size
    }
    let code = control(holdfast_ioc_resize, &argument, restarts: false)
    let outcome: VolumeResize.Outcome
    switch (code, argument.outcome) {
    case (0, HOLDFAST_RESIZE_DONE): outcome = .done
    case (ETXTBSY, HOLDFAST_RESIZE_OBSTRUCTED): outcome = .obstructed
    case (ENOSPC, HOLDFAST_RESIZE_NO_ROOM): outcome = .noRoom
    case (EINVAL, HOLDFAST_RESIZE_TOO_SMALL): outcome = .tooSmall
    default: throw ClientError(.resize, path: path, errno: code)
    }
    return VolumeResize(
      outcome: outcome, previousSize: argument.previous_size, size: argument.current_size,
      smallestSize: argument.smallest_size, movedBlocks: argument.moved_blocks, obstacles: Self.obstacles(argument),
      obstacleCount: Int(argument.obstacle_count), cutErrno: Int32(argument.cut_errno))
  }

  /// Blocks moved so far by the resize under way, and to be moved in all; nil when none is.
  public func resizeProgress() throws(ClientError) -> (moved: UInt64, planned: UInt64)? {
    var argument = holdfast_resize()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = UInt32(HOLDFAST_RESIZE_PROGRESS)
    let code = control(holdfast_ioc_resize, &argument)
    if code == ENODATA { return nil }
    guard code == 0 else { throw ClientError(.resize, path: path, errno: code) }
    return (argument.moved_blocks, argument.planned_blocks)
  }

  private static func obstacles(_ answer: holdfast_resize) -> [VolumeResize.Obstacle] {
    withUnsafeBytes(of: answer.obstacles) { bytes in
      bytes.bindMemory(to: holdfast_resize_obstacle.self).prefix(Int(answer.obstacle_count)).map { found in
        let reason: VolumeResize.Obstacle.Reason =
          switch found.reason {
          case HOLDFAST_RESIZE_OBSTACLE_REQUEST: .request(name: text(found.name))
          case HOLDFAST_RESIZE_OBSTACLE_QUARANTINE: .quarantine
          default: .holder
          }
        return VolumeResize.Obstacle(
          inode: found.inode, offset: found.offset, length: found.length, reason: reason, pid: found.pid,
          uid: found.uid, command: text(found.command))
      }
    }
  }

  private static func text<Field>(_ field: Field) -> String {
    withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
