/// One mount being served: what every operation reaches. The operations are its extensions in Operations+*.swift.
///
/// Owns: the volume while mounted, open handles, counters, the notifier. Everything here is either constant or
/// has its own lock; `options` is guarded by `optionsLock`.
/// Invariant: each inode the kernel counts a lookup of is retained in the Store as often, and once more per open
/// handle.

import CFuse3
import HoldfastBase
import HoldfastSeal
import HoldfastStore
import Synchronization

final class MountSession: @unchecked Sendable {
  let store: Store
  /// Absolute path of the image, as the mount's source names it.
  let image: String
  let mountPoint: String
  let transport = KernelTransport()
  let handles = HandleTable()
  /// Of attributes and polls.
  let notifier = Notifier(name: "notifier")
  /// Of pages: the kernel may wait for one that a parked write has locked, and nobody else is to wait with it.
  let pageNotifier = Notifier(name: "page notifier")
  /// Grants and returns of layouts wait for pages to be flushed, of one file in order; several so that one whose pages
  /// somebody has locked does not hold up all.
  let layoutNotifiers = (0..<4).map { Notifier(name: "layouts \($0)") }
  let cachedPages = CachedPages()
  let counters = OperationCounters()
  let buffers = TransferBuffers()
  let snapshots = TextSnapshots()
  let parkingLot = ParkingLot()
  /// Parked calls are made again here. They may wait for each other's inode: a few keep the others going.
  let retries = Errands(name: "retries", threads: 4)
  /// Those that may take minutes wait for each other only.
  let longRetries = Errands(name: "long retries", threads: 2)
  /// What is brief and must not wait for those: holders are told of recalls, interrupted callers answered.
  let notices = Errands(name: "notices", threads: 1)
  /// Growing and shrinking the volume, which may take minutes: one at a time, on a thread of its own.
  let resizes = Errands(name: "resize", threads: 1)
  let resizing = ResizeSlot()
  let capabilities = FileCapabilities()
  let processWatcher: ProcessWatcher
  let log: SessionLog
  private let optionsLock = Lock()
  private var currentOptions: MountOptions

  init(store: Store, image: String, mountPoint: String, options: MountOptions, log: SessionLog) {
    self.store = store
    self.image = image
    self.mountPoint = mountPoint
    self.log = log
    processWatcher = ProcessWatcher(table: store.seals)
    currentOptions = options
  }

  var options: MountOptions {
    get { optionsLock.withLock { currentOptions } }
    set { optionsLock.withLock { currentOptions = newValue } }
  }

  /// The kernel's offers we accept; libfuse's defaults are replaced as a whole.
  ///
  /// Not accepted, each for a reason: WRITEBACK_CACHE (a refusal must reach the writer), ASYNC_DIO (synchronous
  /// O_DIRECT writes would wait uninterruptibly), AUTO_INVAL_DATA (nothing changes behind the kernel's back, and a
  /// changed mtime would drop its pages), HANDLE_KILLPRIV (version 2 replaces it), POSIX_LOCKS and FLOCK_LOCKS (the
  /// kernel's own locks do), splicing (slower than copying).
  static func negotiate(_ connection: UnsafeMutablePointer<fuse_conn_info>) {
    let wanted =
      FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_DONT_MASK
      | FUSE_CAP_IOCTL_DIR | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS
      | FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA
    connection.pointee.want = connection.pointee.capable & UInt32(wanted)
    connection.pointee.max_write = UInt32(TransferBuffers.bytes)
    connection.pointee.max_background = 64
    connection.pointee.time_gran = 1
  }

  /// Whether the kernel leaves the clearing of set-id bits and file capabilities to us.
  var clearsPrivileges: Bool { transport.added.contains(.handleKillPrivilegesV2) }

  /// The volume is shut down: what the kernel still has in its caches is not to look as if it were not.
  func forgetCaches() {
    for inode in store.heldInodes { pageNotifier.invalidatePages(of: inode, offset: 0, length: 0) }
  }

  /// Answers with an error, counted and, where somebody should know, logged.
  func fail<Kind>(_ reply: consuming Reply<Kind>, _ error: FSError, _ operation: Operation, _ inode: InodeNumber) {
    counters.countFailure(operation)
    log.note(error, operation: operation, inode: inode)
    reply.fail(errno: error.errno)
  }
}

/// The session a request belongs to, for libfuse's callbacks; it outlives its requests.
func serving(_ request: fuse_req_t?) -> MountSession {
  Unmanaged<MountSession>.fromOpaque(fuse_req_userdata(request)).takeUnretainedValue()
}
