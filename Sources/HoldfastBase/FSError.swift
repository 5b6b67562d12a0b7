/// Everything that can go wrong with a volume, one closed list. Layers throw these; the errno a program
/// sees is chosen in `errno` below and nowhere else.

import Glibc

public enum FSError: Error, Equatable, Sendable {
  case notFound
  case exists
  case notDirectory
  case isDirectory
  case directoryNotEmpty
  case nameTooLong
  case noSpace
  case readOnly
  case notPermitted
  case accessDenied
  case invalid(InvalidReason)
  case noData
  case noSuchOffset
  case sealed(Refusal)
  /// Breakable requests are in the way and have been recalled, or a recall runs already.
  case recallInFlight
  /// The same, for an operation that waits: it parks as this breaker (`SealTable.park`) and begins again.
  case mustWait(breaker: UInt64)
  case stale
  /// A layout for writing stands on these blocks: what the page cache has of them must not overwrite its stores.
  case laidOut
  /// The kernel has been told where these blocks are, and may store into them (swap).
  case knownToKernel
  /// A process has a lease on the file and no request any more: its mappings keep the blocks where they are.
  case leased
  /// Handles that use the page cache keep a layout from being granted.
  case cachedByOthers
  case tooManyLinks
  case fileTooBig
  case numberTooLarge
  case resultTooLarge
  case bufferTooSmall
  case argumentTooLong
  case unsupported
  case quotaExceeded
  case interrupted
  case wouldBlock
  case noSuchProcess
  case nameHashExhausted
  case badHandle
  /// The device answered a read, write or barrier with this errno.
  case device(operation: DeviceOperation, byteOffset: UInt64, errno: Int32)
  /// A structure on the image is not what it must be; `block` is its block, of a record of an inode that inode.
  case corrupt(structure: Structure, block: BlockNumber)
  /// The volume stopped itself after an error (`errors=shutdown`).
  case shutDown
  case notAnImage
  /// Both superblock copies are valid, but of different volumes.
  case superblocksDisagree
  case imageTruncated(expectedBytes: UInt64, actualBytes: UInt64)
  case incompatibleFormat(features: UInt64)
  case imageBusy
  /// The kernel has the device claimed: a filesystem on it is mounted, perhaps without its daemon and swapped to.
  case deviceClaimed
  case imageTooSmall(minimumBytes: UInt64)
  /// More was asked for than the block device has.
  case deviceTooSmall(byteCount: UInt64)
  /// The volume is being grown or shrunk already.
  case resizeInProgress

  public enum DeviceOperation: String, Sendable { case read, write, barrier, open, findLock, resize }

  public enum Structure: String, Sendable {
    case superblock, treeNode, chunkMap, journalRecord, journalSequence
    case inodeRecord, direntRecord, extentRecord, xattrRecord, freeRecord, symlinkRecord, sealRecord, orphanRecord

    /// What is told of it is an inode's number, not a block's.
    var isOfInode: Bool {
      switch self {
      case .inodeRecord, .direntRecord, .extentRecord, .xattrRecord, .symlinkRecord, .sealRecord: true
      default: false
      }
    }
  }

  public enum InvalidReason: Equatable, Sendable {
    case argument
    /// Sealing without `fill` or `as-is` met a range that is not plain written blocks. Bytes of the file.
    case unsealableRange(MapDefect, byteOffset: UInt64, byteCount: UInt64)
    case sealSpecification
    case aclFormat
    case moveIntoItself
    /// BMAP of a file that no hard request of the whole file keeps in place.
    case notSealed
  }

  /// Why a range of a file cannot be sealed as it stands.
  public enum MapDefect: String, Equatable, Sendable { case hole, unwritten, shared }

  /// Who stands in the way of a map change.
  public struct Refusal: Equatable, Sendable {
    public var inode: InodeNumber
    public var requestName: String
    public var uid: UInt32
    public var pid: Int32
    public init(inode: InodeNumber, requestName: String, uid: UInt32, pid: Int32) {
      self.inode = inode
      self.requestName = requestName
      self.uid = uid
      self.pid = pid
    }
  }
}

extension FSError {
  /// The one table from errors to errno.
  public var errno: Int32 {
    switch self {
    case .notFound: ENOENT
    case .exists: EEXIST
    case .notDirectory: ENOTDIR
    case .isDirectory: EISDIR
    case .directoryNotEmpty: ENOTEMPTY
    case .nameTooLong: ENAMETOOLONG
    case .noSpace, .nameHashExhausted: ENOSPC
    case .readOnly: EROFS
    case .notPermitted: EPERM
    case .accessDenied: EACCES
    case .invalid: EINVAL
    case .noData: ENODATA
    case .noSuchOffset: ENXIO
    case .sealed, .leased: ETXTBSY
    case .recallInFlight, .mustWait, .wouldBlock: EAGAIN
    case .stale: ESTALE
    case .tooManyLinks: EMLINK
    case .fileTooBig: EFBIG
    case .numberTooLarge, .bufferTooSmall: ERANGE
    case .resultTooLarge, .argumentTooLong: E2BIG
    case .unsupported: EOPNOTSUPP
    case .quotaExceeded: EDQUOT
    case .interrupted: EINTR
    case .noSuchProcess: ESRCH
    case .badHandle: EBADF
    case .device(_, _, let code): code == ENOSPC ? ENOSPC : EIO
    case .corrupt, .shutDown, .imageTruncated: EIO
    case .notAnImage, .superblocksDisagree, .incompatibleFormat, .imageTooSmall: EINVAL
    case .imageBusy, .deviceClaimed, .laidOut, .cachedByOthers, .knownToKernel, .resizeInProgress: EBUSY
    case .deviceTooSmall: ENOSPC
    }
  }
}

extension FSError {
  /// The image is not what it must be: `errors=` decides what becomes of the volume.
  public var isDamage: Bool {
    switch self {
    case .corrupt, .imageTruncated: true
    default: false
    }
  }
}

extension FSError: CustomStringConvertible {
  /// One line for logs and the command's stderr: what is wrong, where, and what to do when that is known.
  public var description: String {
    switch self {
    case .sealed(let refusal):
      "sealed by request '\(refusal.requestName)' of uid \(refusal.uid), pid \(refusal.pid)"
    case .invalid(.unsealableRange(let defect, let offset, let count)):
      "\(defect.rawValue) at byte \(offset), \(count) bytes long: seal with fill or as-is, or write it first"
    case .invalid(.sealSpecification): "malformed seal specification"
    case .invalid(.aclFormat): "malformed access control list"
    case .invalid(.moveIntoItself): "a directory cannot move into itself"
    case .invalid(.notSealed):
      "the kernel is told where blocks are only under a hard seal of the whole file: holdfast seal --fill"
    case .device(let operation, let offset, let code):
      "device \(operation.rawValue) at byte \(offset): \(String(cString: strerror(code)))"
    case .corrupt(let structure, let number):
      "damaged \(structure.rawValue) \(structure.isOfInode ? "of inode" : "at block") \(number): run holdfast fsck"
    case .shutDown: "the volume shut itself down after an error: unmount and run holdfast fsck"
    case .notAnImage: "not a Holdfast image"
    case .superblocksDisagree: "the two superblock copies are of different volumes: run holdfast fsck"
    case .imageTruncated(let expected, let actual):
      "the image is cut short: \(actual) bytes of \(expected)"
    case .incompatibleFormat(let features):
      "made by a newer Holdfast (incompatible features 0x\(String(features, radix: 16)))"
    case .imageBusy: "the image is in use by another Holdfast process"
    case .deviceClaimed: "the kernel uses the device: it is mounted or swapped to, or part of another device"
    case .imageTooSmall(let minimum): "too small: at least \(minimum) bytes"
    case .laidOut: "a layout for writing stands on these blocks: what a mapping of the mount stored there is dropped"
    case .knownToKernel: "the kernel uses the file's blocks by itself: swapoff first"
    case .leased: "a process maps its blocks on the image (a lease): they stay where they are until it ends"
    case .cachedByOthers: "other open handles use the page cache"
    case .deviceTooSmall(let bytes): "the device has \(bytes) bytes, fewer than that"
    case .resizeInProgress: "it is being resized already"
    case .nameHashExhausted: "too many names with one hash"
    default: String(cString: strerror(errno))
    }
  }
}
