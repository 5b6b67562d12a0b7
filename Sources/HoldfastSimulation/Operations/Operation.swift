/// The vocabulary of the stress: one operation is plain data. The generator makes them, a target (the store in
/// memory, or a mounted directory) performs them, the model predicts them, a log holds one a line.
///
/// Operations name things by small numbers that mean the same whatever ran before: directory slots (0 is the
/// root), name numbers, handle slots. An operation whose slot is empty is skipped by everyone, so any
/// subsequence of a run is a run: that is what shrinking needs.

/// A name in a directory: directory slot and name number.
public struct Place: Hashable, Sendable {
  public var directory: Int
  public var name: Int
  public init(_ directory: Int, _ name: Int) {
    self.directory = directory
    self.name = name
  }
}

/// How a handle is opened.
public struct Access: OptionSet, Hashable, Sendable {
  public let rawValue: Int
  public init(rawValue: Int) { self.rawValue = rawValue }
  public static let write = Access(rawValue: 1)
  public static let append = Access(rawValue: 2)
  public static let truncate = Access(rawValue: 4)
  public static let direct = Access(rawValue: 8)
  /// It does not wait for holders; where there is such a flag.
  public static let nonblocking = Access(rawValue: 16)
}

/// What is asked for when a seal is taken.
public struct SealSpec: Hashable, Sendable {
  public enum Preparation: Int, Sendable { case strict = 0, fill = 1, asIs = 2 }
  public var preparation: Preparation
  public var persistent: Bool
  public var createOnly: Bool
  public var breakable: Bool
  /// A pin of these bytes; nil for the whole file.
  public var range: Range<Int>?
  public init(
    _ preparation: Preparation, persistent: Bool = false, createOnly: Bool = false, breakable: Bool = false,
    range: Range<Int>? = nil
  ) {
    self.preparation = preparation
    self.persistent = persistent
    self.createOnly = createOnly
    self.breakable = breakable
    self.range = range
  }

  /// What a pin holds: blocks, rounded outward.
  var blocks: Range<UInt64>? { range.map { TruthTable.blocks(UInt64($0.lowerBound)..<UInt64($0.upperBound)) } }
}

/// How an operation that meets breakable requests waits for them, and what becomes of their holders meanwhile.
public enum Patience: Int, CaseIterable, Sendable {
  /// The holders release.
  case released = 0
  /// They do not, and are fenced.
  case fenced = 1
  /// It is interrupted; the recall goes on.
  case interrupted = 2
}

public indirect enum Operation: Equatable, Sendable {
  // Namespace
  case create(Place, handle: Int, mode: Int)
  case open(Place, handle: Int, Access)
  case close(handle: Int)
  case makeDirectory(Place, slot: Int)
  case removeDirectory(Place)
  case unlink(Place)
  case rename(Place, to: Place, flags: Int)
  case link(Place, to: Place)
  case symlink(Place, length: Int, tag: Int)
  case readSymlink(Place)
  case list(directory: Int)
  case status(Place)
  // Contents
  case read(handle: Int, offset: Int, length: Int)
  case write(handle: Int, offset: Int, length: Int, tag: Int)
  case append(handle: Int, length: Int, tag: Int)
  case truncate(handle: Int, size: Int)
  case truncateName(Place, size: Int)
  case allocate(handle: Int, mode: Int, offset: Int, length: Int)
  case copy(handle: Int, offset: Int, to: Int, toOffset: Int, length: Int)
  case seek(handle: Int, offset: Int, hole: Bool)
  /// Blocks move to runs that begin at a multiple of `alignment` blocks; where operations are the engine's own.
  case relocate(handle: Int, offset: Int, length: Int, alignment: Int)
  case sync(handle: Int, dataOnly: Bool)
  /// fsync of a directory.
  case syncDirectory(Int)
  case syncAll
  case mapRead(handle: Int, offset: Int, length: Int)
  case mapWrite(handle: Int, offset: Int, length: Int, tag: Int)
  // Attributes
  case setMode(handle: Int, mode: Int)
  /// `mode`: 0 either, 1 create, 2 replace.
  case setXattr(handle: Int, name: Int, length: Int, tag: Int, mode: Int)
  case getXattr(handle: Int, name: Int)
  case removeXattr(handle: Int, name: Int)
  case listXattrs(handle: Int)
  // Seals
  case seal(handle: Int, name: Int, SealSpec)
  case unseal(handle: Int, name: Int)
  case unpin(handle: Int, name: Int, range: Range<Int>)
  case sealNamed(handle: Int, user: Int, name: Int, SealSpec)
  case unsealNamed(handle: Int, user: Int, name: Int)
  /// A request that lives with the process in `process`, started when the slot is empty.
  case sealProcess(handle: Int, name: Int, process: Int, SealSpec)
  case endProcess(process: Int)
  /// A named request with a time to live: taken, tried against, and waited for until it is gone.
  case sealTimed(handle: Int, name: Int, SealSpec)
  /// Another process opens the file, takes a handle seal, and exits or is killed.
  case holderExit(Place, SealSpec, killed: Bool)
  /// The grace of every recall under way is over.
  case fence
  /// An administrator takes all requests of the handle's file away.
  case revoke(handle: Int)
  /// From now on operations are made by the process in slot `process` - 1; 0: by none that holds anything.
  case become(process: Int)
  /// The operation waits while holders are asked to let go.
  case waiting(Operation, Patience)
  // The world
  case housekeep
  /// The volume is grown or shrunk to this size, if that can be.
  case resize(mebibytes: Int)
  case remount
  /// The power goes before the `events`-th device write or barrier from now (0: at once); then recovery.
  case crash(events: Int, seed: Int)
  /// The device answers EIO once, `after` operations of that kind from now; what the volume makes of it ends in a
  /// power cut by `seed`. `kind`: 0 read, 1 write, 2 barrier.
  case deviceError(kind: Int, after: Int, seed: Int)
  /// For `length` operations the device has damaged metadata, how by `kind` (`MediaFault`) and where by `choice`.
  case mediaFault(kind: Int, choice: Int, length: Int)
}

/// Names by number. Most are short; some are as long as names get, or no UTF-8.
public enum Names {
  /// The number whose name is one byte too long.
  public static let tooLong = 999

  public static func bytes(_ number: Int) -> [UInt8] {
    switch number {
    case tooLong: Array(repeating: 0x4c, count: 256)
    case 7: Array(repeating: 0x6c, count: 255)
    case 8: [0xff, 0xfe, 0x80]
    case 9: Array("a name with spaces \u{1F512}".utf8)
    default: Array("n\(number)".utf8)
    }
  }

  /// The number of a name, nil when no operation makes such a name.
  public static func number(_ name: UnsafeRawBufferPointer) -> Int? {
    if let digits = parse(name) { return digits }
    return [7, 8, 9].first { bytes($0).elementsEqual(name) }
  }

  private static func parse(_ name: UnsafeRawBufferPointer) -> Int? {
    guard name.count >= 2, name.count <= 7, name[0] == 0x6e else { return nil }
    var value = 0
    for byte in name[1...] {
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      value = value * 10 + Int(byte - 0x30)
    }
    return value
  }

  /// Name of attribute `number`.
  public static func xattr(_ number: Int) -> [UInt8] { Array("user.x\(number)".utf8) }

  /// Name of a seal request; 0 is the default request, whose name is empty.
  public static func seal(_ number: Int) -> String { number == 0 ? "" : "s\(number)" }

  /// User ids of seal takers.
  public static func user(_ number: Int) -> UInt32 { [0, 1001, 1002][min(max(number, 0), 2)] }

  /// Target of the symlink operation `tag` makes: `length` printable bytes.
  public static func symlinkTarget(length: Int, tag: Int) -> [UInt8] {
    (0..<length).map { UInt8(0x61 + Int(truncatingIfNeeded: SeededRandom.mix(UInt64(tag &* 4096 &+ $0)) % 26)) }
  }
}
