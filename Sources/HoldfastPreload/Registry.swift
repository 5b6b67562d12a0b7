/// What the library knows of this process: its descriptors that are served from an image, the files behind them, and
/// the one question at a time that its threads have for the keeper.
///
/// All of it lies in memory that a child's copy finds zeroed (MADV_WIPEONFORK): a child, however made, has
/// descriptors that are nobody's business, and real calls serve them. Everything is therefore sound when it is all
/// zeros.
///
/// Words of descriptors and the atomics of files are touched by any thread, signal handlers included, without a lock;
/// the rest of a file by the keeper's threads alone, under `keeperLock`.

import CPreload
import Synchronization

/// What a descriptor is served by, in one word: file (16 bits), its generation (16), description (24), flags (8). 0:
/// real calls.
struct DescriptorWord {
  var bits: UInt64
  static let canRead: UInt64 = 1
  static let canWrite: UInt64 = 2
  /// Writes go to the end, wherever that is.
  static let appends: UInt64 = 4
  /// O_DSYNC, O_SYNC: a write is durable when it returns.
  static let syncs: UInt64 = 8
  /// A number of ours that the program does not know.
  static let own: UInt64 = 128

  init(_ bits: UInt64) { self.bits = bits }
  init(file: Int, generation: UInt32, description: UInt32, flags: UInt64) {
    bits = UInt64(file) << 48 | UInt64(generation & 0xffff) << 32 | UInt64(description & 0xff_ffff) << 8 | flags
  }
  var file: Int { Int(bits >> 48) }
  var generation: UInt32 { UInt32(bits >> 32 & 0xffff) }
  var description: UInt64 { bits >> 8 & 0xff_ffff }
  func has(_ flag: UInt64) -> Bool { bits & flag != 0 }
}

/// A file this process has open, once for reading only and once for writing.
struct ServedFile: ~Copyable {
  /// Transfers on the image now, and above them one of the states, or none: no layout, to be taken again.
  let word: Atomic<UInt32>
  static let direct: UInt32 = 1 << 24
  /// Mapped through the mount; read and written there, too, until it is closed.
  static let cached: UInt32 = 1 << 25
  /// Real calls until it is closed.
  static let plain: UInt32 = 1 << 26
  static let transfers: UInt32 = 0xff_ffff

  let generation: Atomic<UInt32>
  /// Descriptors.
  let references: Atomic<UInt32>
  /// Stored into since the layout was taken; since the last fsync(2).
  let isStored: Atomic<UInt32>
  let isUnsynced: Atomic<UInt32>
  /// Transfers since the layout was taken, about.
  let served: Atomic<UInt32>
  /// When to ask for the layout again (`holdfast_now`).
  let retryAt: Atomic<UInt64>
  /// The program has taken a lock of it (fcntl(2)); closing any of its numbers would drop that.
  let isLocked: Atomic<UInt32>
  /// With `cached`: a descriptor of the program's table that uses the page cache, plus 1.
  let cachedDescriptor: Atomic<Int32>

  // Read by any thread while it counts as a transfer and `direct` is set.
  var layout: UnsafeMutablePointer<DirectLayout>?
  var volume: Int
  // Set before the first descriptor is.
  var device: UInt64
  var inode: UInt64
  var isWriting: Bool

  // The keeper's.
  var isUsed: Bool
  /// The handle the layout is bound to, in the keeper's table.
  var handle: Int32
  /// With `cached`, or on the way there: one that uses the page cache, plus 1.
  var cachedHandle: Int32
  var grantSerial: UInt64
  var grantNanoseconds: UInt64
  /// Without a descriptor: its mappings are all there is of it. Counted in `orphans`.
  var isOrphan: Bool
  /// Mappings of the image may be left in this process.
  var isMapped: Bool
  /// Asked to let go; transfers are still on their way.
  var isRecalled: Bool
  /// LAYOUT_GET is under way, without the lock: the file is not to be forgotten.
  var isBeingGranted: Bool
  /// Mappings cannot be kept on the image: a part of them has no blocks any more.
  var isLost: Bool
  /// The extents under which the mappings were made, while there is no layout.
  var mappedLayout: UnsafeMutablePointer<DirectLayout>?
}

/// An image, open in the program's table: its number there, plus 1.
struct Volume: ~Copyable {
  let descriptor: Atomic<Int32>
  var device: UInt64
  var inode: UInt64
  var isWritable: Bool
  var isUsed: Bool
}

struct Registry: ~Copyable {
  /// The process these contents are of; 0 before the keeper runs.
  let process: Atomic<Int32>
  /// The keeper's thread.
  let keeper: Atomic<Int32>
  /// Counts grants and opens: an open later than a grant that stands was answered with direct_io.
  let serial: Atomic<UInt64>
  let descriptions: Atomic<UInt32>
  /// Files without a descriptor whose mappings stand.
  let orphans: Atomic<UInt32>
  /// Files open for reading only.
  let readers: Atomic<UInt32>
  var question: Question
  var answer: Answer
  /// They wake the watcher and the mender, in the keeper's table.
  var wakeEvent: Int32
  var mendEvent: Int32

  /// Files at a time; more are served by real calls. Each costs the keeper two to four descriptors.
  static let maximumFiles = 1024
  static let maximumVolumes = 8
  /// Numbers above it are real calls' alone.
  static let maximumDescriptors = 65_536
  /// Numbers of ours begin here, if the process may have that many.
  static let ownDescriptors = 4000

  // The words that threads wait on come first, each on a cache line of its own.
  fileprivate static let askLockOffset = 0
  fileprivate static let keeperLockOffset = 64
  fileprivate static let phaseOffset = 128
  fileprivate static let selfOffset = 192
  fileprivate static let filesOffset = 4096
  fileprivate static let volumesOffset = filesOffset + maximumFiles * MemoryLayout<ServedFile>.stride
  fileprivate static let wordsOffset = volumesOffset + maximumVolumes * MemoryLayout<Volume>.stride + 4096 & ~4095
  fileprivate static let bytes = wordsOffset + maximumDescriptors * 8
}

/// Its address, or 0.
private let registryAddress = Atomic<UInt>(0)

/// nil before anything was served.
@inline(__always)
var registry: UnsafeMutablePointer<Registry>? {
  UnsafeMutablePointer(bitPattern: registryAddress.load(ordering: .acquiring))
}

/// Made when it is needed first; nil without memory, or on a kernel that cannot wipe it.
func makeRegistry() -> UnsafeMutablePointer<Registry>? {
  if let registry { return registry }
  guard let memory = holdfast_own_memory(Registry.bytes) else { return nil }
  let (isFirst, _) = registryAddress.compareExchange(
    expected: 0, desired: UInt(bitPattern: memory + Registry.selfOffset), ordering: .acquiringAndReleasing)
  if !isFirst { _ = holdfast_direct_unmap(UInt(bitPattern: memory), Registry.bytes) }
  return registry
}

extension UnsafeMutablePointer where Pointee == Registry {
  private var start: UnsafeMutableRawPointer { UnsafeMutableRawPointer(self) - Registry.selfOffset }

  /// Who may ask.
  var askLock: FutexLock { FutexLock(start + Registry.askLockOffset) }
  /// The keeper's own state: for its three threads.
  var keeperLock: FutexLock { FutexLock(start + Registry.keeperLockOffset) }
  /// 0 idle, 1 asked, 2 answered.
  var phase: Futex { Futex(start + Registry.phaseOffset) }

  @inline(__always)
  var files: UnsafeMutablePointer<ServedFile> {
    (start + Registry.filesOffset).assumingMemoryBound(to: ServedFile.self)
  }

  @inline(__always)
  var volumes: UnsafeMutablePointer<Volume> {
    (start + Registry.volumesOffset).assumingMemoryBound(to: Volume.self)
  }

  @inline(__always)
  var words: UnsafeMutablePointer<Atomic<UInt64>> {
    (start + Registry.wordsOffset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Whether this is the process the contents are of, and not a child in its memory (vfork).
  var isOurs: Bool { pointee.process.load(ordering: .relaxed) == holdfast_getpid() }
}

/// The word of a number; 0 where real calls serve.
@inline(__always)
func descriptorWord(_ descriptor: Int32) -> DescriptorWord {
  guard let registry, descriptor >= 0, Int(descriptor) < Registry.maximumDescriptors else { return DescriptorWord(0) }
  return DescriptorWord(registry.words[Int(descriptor)].load(ordering: .acquiring))
}
