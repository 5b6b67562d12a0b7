/// HOLDFAST_IOC_PREPARE and _DEFRAG: where a file's blocks lie on the image.

import CHoldfast
import Glibc

/// What became of a range that was to lie in one run.
public struct Contiguity: Equatable, Sendable {
  /// Why the volume has no run as long as that. More than one may be true.
  public struct Obstacles: OptionSet, Equatable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let held = Obstacles(rawValue: HOLDFAST_OBSTACLE_HELD)
    public static let metadata = Obstacles(rawValue: HOLDFAST_OBSTACLE_METADATA)
    public static let quarantine = Obstacles(rawValue: HOLDFAST_OBSTACLE_QUARANTINE)
    public static let space = Obstacles(rawValue: HOLDFAST_OBSTACLE_SPACE)
  }

  /// One run, aligned as asked.
  public var isFulfilled: Bool
  public var fragments: UInt64
  /// Bytes: of the longest run of the range, of the longest free one, moved of this file, moved of others.
  public var longest: UInt64
  public var longestFree: UInt64
  public var moved: UInt64
  public var evacuated: UInt64
  public var obstacles: Obstacles
  /// `held`: one of the files, and the name of the request on it.
  public var holder: (inode: UInt64, name: String)?

  init(_ answer: holdfast_prepare) {
    isFulfilled = answer.fulfilled != 0
    fragments = answer.fragments
    longest = answer.longest
    longestFree = answer.longest_free
    moved = answer.moved
    evacuated = answer.evacuated
    obstacles = Obstacles(rawValue: answer.obstacles)
    holder = answer.obstacle_inode == 0 ? nil : (answer.obstacle_inode, text(answer.obstacle_name))
  }

  public static func == (a: Contiguity, b: Contiguity) -> Bool {
    a.isFulfilled == b.isFulfilled && a.fragments == b.fragments && a.longest == b.longest
      && a.longestFree == b.longestFree && a.moved == b.moved && a.evacuated == b.evacuated
      && a.obstacles == b.obstacles && a.holder?.inode == b.holder?.inode && a.holder?.name == b.holder?.name
  }
}

/// What defragmentation did. Bytes.
public struct Defragmentation: Equatable, Sendable {
  public var fragmentsBefore: UInt64
  public var fragmentsAfter: UInt64
  public var moved: UInt64
  /// Left because of a request, one of which is `holder`'s.
  public var skipped: UInt64
  /// Left for want of a longer run.
  public var unplaced: UInt64
  public var holder: Holder?

  public struct Holder: Equatable, Sendable {
    public var uid: UInt32
    public var pid: Int32
    public var name: String
  }
}

extension OpenFile {
  /// Allocates, zeroes and unshares a range (`length` 0: to the end of the file), so that it can be sealed. Waits for
  /// the holders of breakable requests in its way.
  /// - Throws: EBADF (not open for writing), ETXTBSY, ENOSPC, EROFS; EINTR when a signal ended the wait, EAGAIN for a
  ///   handle that does not wait (O_NONBLOCK): the recall goes on.
  public func prepare(offset: UInt64 = 0, length: UInt64 = 0) throws(ClientError) {
    _ = try prepare(offset: offset, length: length, flags: 0, alignment: 0)
  }

  /// The same, in one run of the image that begins at a multiple of `alignment` bytes (a power of two from 4096 to
  /// 2^30; 0: wherever). That there is no such run is no error.
  public func prepareContiguously(
    offset: UInt64 = 0, length: UInt64 = 0, alignment: UInt64 = 0
  ) throws(ClientError) -> Contiguity {
    Contiguity(
      try prepare(offset: offset, length: length, flags: HOLDFAST_PREPARE_CONTIGUOUS, alignment: alignment))
  }

  private func prepare(
    offset: UInt64, length: UInt64, flags: UInt32, alignment: UInt64
  ) throws(ClientError) -> holdfast_prepare {
    var argument = holdfast_prepare()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = flags
    argument.offset = offset
    argument.length = length
    argument.alignment = alignment
    let code = control(holdfast_ioc_prepare, &argument, restarts: false)
    guard code == 0 else { throw ClientError(.prepare, path: path, errno: code) }
    return argument
  }

  /// Brings a range (`length` 0: all) into as few runs of the image as free space allows. With `skippingHeld` what
  /// requests hold stays where it is; else ETXTBSY, and breakable ones are recalled.
  /// - Throws: EPERM (not open for writing, not the owner's), ETXTBSY, EROFS; EINTR, EAGAIN as `prepare`.
  public func defragment(
    offset: UInt64 = 0, length: UInt64 = 0, skippingHeld: Bool = false
  ) throws(ClientError) -> Defragmentation {
    var argument = holdfast_defrag()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = skippingHeld ? HOLDFAST_DEFRAG_SKIP_HELD : 0
    argument.offset = offset
    argument.length = length
    let code = control(holdfast_ioc_defrag, &argument, restarts: false)
    guard code == 0 else { throw ClientError(.defragment, path: path, errno: code) }
    return Defragmentation(
      fragmentsBefore: argument.fragments_before, fragmentsAfter: argument.fragments_after, moved: argument.moved,
      skipped: argument.skipped, unplaced: argument.unplaced,
      holder: argument.skipped == 0
        ? nil
        : Defragmentation.Holder(
          uid: argument.obstacle_uid, pid: argument.obstacle_pid, name: text(argument.obstacle_name)))
  }
}

/// Up to the NUL.
private func text<Characters>(_ characters: Characters) -> String {
  withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
