/// A mounted volume: the engine's one entry. Its parts are in the folders beside this file:
///
///     Mount        opening, formatting, unmounting        Transaction  admission, mutations, commit
///     BTree        the copy-on-write tree                 Journal      the redo ring
///     Checkpoint   metadata blocks, checkpoints           Allocator    free space, quarantine
///     Extent       maps of files, editing them            Inode        attributes, references, orphans, xattrs
///     Directory    names                                  File         read, write, truncate, allocate, sync
///     Seal         requests against the map              Resize       growing and shrinking the volume
///
/// Locks, in the order in which they may be taken:
///   1. an inode's lock (`InodeLocks`): shared while its data is read or overwritten in place, exclusive while its
///      map, size or seals change. Two inodes: in ascending order.
///   2. `checkpointLock`: one checkpoint at a time.
///   3. commit leadership (`commitState`).
///   4. `barrierLock`: one barrier at a time.
///   5. `treeLock`: tree, pending mutations, allocator, counters. Short; the only I/O under it is reading tree nodes
///      that are not in memory.
///   6. leaf locks: references, journal head, the seal table's.
/// Data moves under 1 alone. Barriers, journal and checkpoint writes hold 2, 3 or 4, never 5.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import Synchronization

public final class Store: @unchecked Sendable {
  let device: BlockDevice
  var options: StoreOptions
  /// Requests against extent maps, and the gate every map change crosses.
  public let seals: SealTable

  let treeLock = Lock()
  let tree: Tree
  let chunks: MetadataChunks
  var pending = PendingMutations()
  /// Facts of the volume; counters are current, checkpoint fields are those of the last checkpoint.
  var volume: Superblock
  /// The superblock both copies hold; nil before this mount's first checkpoint.
  var durableSuperblock: Superblock?
  /// Rises with every transaction; a commit makes all up to its ticket durable.
  var ticket: UInt64 = 0
  /// Ticket of the last transaction that changed more than times: what fdatasync needs durable.
  var lastingTicket: UInt64 = 0
  /// Mutations in all; tells whether a failing transaction had changed anything.
  var mutations: UInt64 = 0
  /// Freed ranges whose freeing is not yet durable, or that somebody may still reach: see `Quarantine`.
  var releaseQueue = ReleaseQueue()
  /// The end of the volume while a shrink empties it.
  var enclosure: Enclosure?
  /// The volume is being grown or shrunk.
  var isResizing = false
  /// Low half of map generations handed out by this mount.
  var mapChanges: UInt64 = 0
  /// Set when the volume must not be changed (any more).
  var writeFailure: FSError?
  /// Set when the volume must not even be read (`errors=shutdown`).
  var shutDown = false
  /// Inodes without a name, waiting for their last user.
  var unlinked: Set<InodeNumber> = []
  /// Inodes whose truncation a crash interrupted; done before the mount is.
  var truncating: [InodeNumber] = []
  /// Inodes on which a request was put for leases that were found: see `Holders`.
  var leasedInodes: Set<InodeNumber> = []
  /// Inodes whose holders lost a request against their will, or to their own change of the map: leases that are left keep
  /// blocks from others, not in place. Forgotten when nobody holds any.
  var surrenderedLeases: Set<InodeNumber> = []
  /// Inodes with speculative preallocation beyond their end.
  var speculative: Set<InodeNumber> = []

  let journal: Journal
  let commitState = CommitState()
  let checkpointLock = Lock()
  let barrierLock = Lock()
  let inodeLocks = InodeLocks()
  let references = References()
  /// Data writes begun to be durable: counts completed writes, so that a commit knows whether a barrier is due.
  let dataWrites = Atomic<UInt64>(0)
  /// Holders of layouts may have stored something since somebody synced: see `holderMayHaveStored`.
  let directStores = Atomic<Bool>(false)
  /// Unlinked inodes whose last user is gone: reclaimed by `housekeep`.
  let reclaimQueue = ReclaimQueue()
  var background: BackgroundWorker?
  /// A failure `onFailure` has not heard of yet.
  var unreportedFailure: FSError?

  /// Called by `housekeep` after an error made the volume read-only or shut it down; holds no lock. For logs.
  public var onFailure: (@Sendable (FSError) -> Void)?

  /// What an error has made of the volume.
  public enum Health: Equatable, Sendable {
    case sound
    /// Reads go on, changes are refused (`errors=remount-ro`).
    case readOnly(FSError)
    /// Everything is refused (`errors=shutdown`).
    case shutDown(FSError)
  }

  public var health: Health {
    treeLock.withLock {
      guard let writeFailure else { return .sound }
      return shutDown ? .shutDown(writeFailure) : .readOnly(writeFailure)
    }
  }

  init(
    device: BlockDevice, options: StoreOptions, volume: Superblock, tree: Tree, chunks: MetadataChunks,
    journal: Journal,
    seals: SealTable
  ) {
    self.device = device
    self.options = options
    self.volume = volume
    self.tree = tree
    self.chunks = chunks
    self.journal = journal
    self.seals = seals
  }

  /// The volume's facts and current counters.
  public var superblock: Superblock { treeLock.withLock { volume } }

  public var isReadOnly: Bool { treeLock.withLock { options.readOnly || writeFailure != nil } }

  public var usage: VolumeUsage {
    treeLock.withLock {
      let reclaimable = volume.freeBlocks &+ releaseQueue.blocks
      return VolumeUsage(
        totalBlocks: volume.totalBlocks,
        freeBlocks: reclaimable > metadataReserve ? reclaimable - metadataReserve : 0,
        quarantinedBlocks: releaseQueue.heldBlocks,
        inodes: volume.inodeCount)
    }
  }

  /// Blocks kept back from data so that metadata can grow and deleting always works: two chunks.
  var metadataReserve: UInt64 { 2 * chunkBlocks }

  /// Size of a metadata chunk on this volume.
  var chunkBlocks: UInt64 { Store.chunkBlocks(totalBlocks: volume.totalBlocks) }

  /// A 64th of the volume in whole bitmap words, at most `Geometry.chunkBlocks`.
  static func chunkBlocks(totalBlocks: UInt64) -> UInt64 {
    min(max(totalBlocks / 64 / 64 * 64, 256), Geometry.chunkBlocks)
  }
}
