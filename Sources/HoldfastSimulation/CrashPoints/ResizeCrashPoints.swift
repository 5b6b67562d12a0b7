/// Every crash point of a shrink and of the grow that follows it: after every write and barrier of theirs, with the fates
/// of `CrashStates` for what was in flight. Whatever is left is one sound volume, of the size before or the one after,
/// with every file as it was synced; and a resize that was told done stays done.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

public struct ResizeCrashPoints {
  public struct Counts: Equatable, Sendable {
    public var crashPoints = 0
    public var states = 0
    /// Sizes found, in blocks, during the shrink and during the grow.
    public var sizes: [Set<UInt64>] = [[], []]
  }

  private static let byteCount: UInt64 = 24 << 20
  private static let smaller: UInt64 = 18 << 20
  private static let larger: UInt64 = 28 << 20
  private static let fileBytes = 300_000

  private let base: SimulatedDevice
  /// By name: what they hold for good.
  private let files: [String: [UInt8]]
  private var random: SeededRandom
  private var counts = Counts()
  /// Images that were recovered, by their fingerprint, and the size each had.
  private var known: [UInt64: UInt64] = [:]

  public init(seed: UInt64) throws(FSError) {
    random = SeededRandom(seed: seed)
    (base, files) = try Self.makeBase(&random)
  }

  private static var options: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    options.cacheBytes = 1 << 20
    options.accessTime = .none
    return options
  }

  /// A volume with files up to its end, some of those before them gone again, and one that is sealed low down.
  private static func makeBase(
    _ random: inout SeededRandom
  ) throws(FSError) -> (SimulatedDevice, [String: [UInt8]]) {
    let device = SimulatedDevice(byteCount: byteCount, room: larger)
    try Store.format(device, options: FormatOptions(id: FilesystemID(high: 3, low: 4), hashSeed: 5))
    let store = try Store(mounting: device, options: options)
    var files: [String: [UInt8]] = [:]
    for index in 0..<200 {
      let bytes = Self.bytes(fileBytes, &random)
      do throws(FSError) {
        let inode = try make("file-\(index)", store)
        try write(bytes, to: inode, store)
        if index == 0 { try seal(inode, store) }
      } catch .noSpace {
        try withBytes("file-\(index)") { (name) throws(FSError) in try store.unlink(name, in: RootDirectory.inode) }
        break
      }
      files["file-\(index)"] = bytes
    }
    // Every third stays: what does fits in the smaller volume.
    for index in 0..<files.count where index % 3 != 0 {
      let name = "file-\(index)"
      try withBytes(name) { (name) throws(FSError) in try store.unlink(name, in: RootDirectory.inode) }
      files[name] = nil
    }
    try store.settle()
    try store.unmount()
    return (device.syncedCopy(), files)
  }

  /// - Throws: what a crash must not leave, with the crash in words.
  public mutating func explore() throws(StressFailure) -> Counts {
    let live = SimulatedDevice(rewindingTo: base)
    let medium = SimulatedDevice(rewindingTo: base)
    let recording = DeviceRecording()
    live.recording = recording
    var image = CrashImage(recording, on: medium)
    let store = try Self.environment { () throws(FSError) in try Store(mounting: live, options: Self.options) }
    image.advance(to: recording.events.count)
    try Self.environment { () throws(FSError) in
      let report = try store.shrink(to: Self.smaller, by: Actor(credentials: .daemon, handle: nil))
      guard report.outcome == .done else { throw .wouldBlock }
    }
    try examine(&image, recording, medium, from: Self.byteCount, to: Self.smaller, index: 0)
    try Self.environment { () throws(FSError) in _ = try store.grow(to: Self.larger) }
    try examine(&image, recording, medium, from: Self.smaller, to: Self.larger, index: 1)
    return counts
  }

  private static func environment<Result>(
    _ body: () throws(FSError) -> Result
  ) throws(StressFailure) -> Result {
    do throws(FSError) {
      return try body()
    } catch {
      throw StressFailure(.environment, "the resize itself: \(error)")
    }
  }

  /// Tries the crash points of what was recorded since the last time.
  private mutating func examine(
    _ image: inout CrashImage, _ recording: DeviceRecording, _ medium: SimulatedDevice, from old: UInt64,
    to new: UInt64, index: Int
  ) throws(StressFailure) {
    while image.position < recording.events.count {
      _ = image.advance()
      let isLast = image.position == recording.events.count
      counts.crashPoints += 1
      for fates in CrashStates.fates(image.inFlight.count, newest: false, &random) {
        image.make(fates)
        counts.states += 1
        let size: UInt64
        do throws(StressFailure) {
          size = try recover(medium)
          // What was told done is done.
          guard size == new || size == old && !isLast else {
            throw StressFailure(.recovery, "the volume has \(size) bytes")
          }
        } catch {
          throw StressFailure(error.kind, "\(image.describe(fates)): \(error.message)")
        }
        counts.sizes[index].insert(size)
      }
    }
  }

  /// Checks, mounts, reads and unmounts what a crash left; the size it has.
  private mutating func recover(_ device: SimulatedDevice) throws(StressFailure) -> UInt64 {
    let fingerprint = device.fingerprint()
    if let size = known[fingerprint] { return size }
    try StoreTarget.check(device, "the crash image", expectingClean: false)
    let size: UInt64
    do throws(FSError) {
      let store = try Store(mounting: device, options: Self.options)
      size = store.superblock.totalBlocks << UInt64(Block.shift)
      if let name = try Self.firstWrong(files, store) {
        throw FSError.corrupt(structure: .extentRecord, block: try Self.inode(name, store))
      }
      try store.unmount()
    } catch {
      throw StressFailure(.crashContents, "\(error)")
    }
    try StoreTarget.check(device, "the recovered image", expectingClean: true)
    known[fingerprint] = size
    return size
  }

  /// A file that is not there as it was synced.
  private static func firstWrong(_ files: [String: [UInt8]], _ store: Store) throws(FSError) -> String? {
    var buffer = [UInt8](repeating: 0, count: fileBytes + 1)
    for (name, bytes) in files {
      let inode = try inode(name, store)
      let result = buffer.withUnsafeMutableBytes { buffer -> Result<Int, FSError> in
        do throws(FSError) { return .success(try store.read(inode, into: buffer, at: 0)) } catch {
          return .failure(error)
        }
      }
      guard try result.get() == bytes.count, buffer[..<bytes.count].elementsEqual(bytes) else { return name }
      if name == "file-0", store.seals.count(inode) != 1 { return name }
    }
    return nil
  }

  // MARK: Calls by strings and arrays

  /// Each block begins with its number, and all are of one kind.
  private static func bytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
    var bytes = [UInt8](repeating: UInt8(random.below(256)), count: count)
    for (index, start) in stride(from: 0, to: count, by: Block.size).enumerated() {
      bytes[start] = UInt8(truncatingIfNeeded: index)
    }
    return bytes
  }

  private static func withBytes<Result>(
    _ name: String, _ body: (UnsafeRawBufferPointer) throws(FSError) -> Result
  ) throws(FSError) -> Result {
    let result = Array(name.utf8).withUnsafeBytes { bytes -> Swift.Result<Result, FSError> in
      do throws(FSError) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  private static func make(_ name: String, _ store: Store) throws(FSError) -> InodeNumber {
    try withBytes(name) { (name) throws(FSError) in
      try store.make(NewInode(mode: 0o100644, umask: 0), name, in: RootDirectory.inode, by: .daemon).inode
    }
  }

  private static func inode(_ name: String, _ store: Store) throws(FSError) -> InodeNumber {
    try withBytes(name) { (name) throws(FSError) in try store.lookup(name, in: RootDirectory.inode).inode }
  }

  private static func write(_ data: [UInt8], to inode: InodeNumber, _ store: Store) throws(FSError) {
    let result = data.withUnsafeBytes { bytes -> Result<Void, FSError> in
      do throws(FSError) {
        _ = try store.write(inode, bytes, at: 0, append: false, dropPrivileges: false, handle: nil, by: .daemon)
        return .success(())
      } catch { return .failure(error) }
    }
    try result.get()
  }

  private static func seal(_ inode: InodeNumber, _ store: Store) throws(FSError) {
    let request = SealRequest(lifetime: .persistent, name: "low", taker: .daemon)
    _ = try store.seal(request, createOnly: false, of: inode)
  }
}
