/// Where mkfs puts a volume: a new file, an existing one, or a block device; opened, locked, looked at,
/// given its size and its blocks, in that order. Until `claim()` nothing that was there before is changed;
/// a file this made is removed again unless `keep()` is called.

import CPlatform
import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

public final class VolumeTarget {
  public let path: String
  public let isBlockDevice: Bool
  /// The file was made by this.
  public var isNew: Bool { newFile != nil }
  /// Size the volume will have, a multiple of the block size.
  public let byteCount: UInt64
  private let image: ImageFile
  private let originalByteCount: UInt64
  private let newFile: NewFile?
  private let exclusive: ExclusiveDevice?

  /// Opens or creates `path`. `size` nil: that of the file or device.
  /// - Throws: a missing or senseless size, a path that is neither, an image or device in use.
  public init(_ path: String, size: UInt64?) throws(CommandError) {
    var status = stat()
    var newFile: NewFile?
    var exclusive: ExclusiveDevice?
    if stat(path, &status) == 0 {
      try Self.checkUse(of: path, status)
      if status.st_mode & S_IFMT == S_IFBLK { exclusive = try ExclusiveDevice(path) }
    } else {
      guard errno == ENOENT else { throw CommandError(path, errno: errno) }
      guard let size else { throw CommandError(path, "no such file: give --size to make one") }
      try Self.check(size: size, path: path)
      newFile = try NewFile(path)
    }
    do throws(FSError) {
      // Of a device the claim is ours.
      image = try ImageFile(path: path, mode: .readWrite, claim: exclusive == nil ? .unused : .any)
    } catch {
      throw CommandError(path, Self.text(error))
    }
    let original = image.byteCount
    let wanted = size ?? original
    try Self.check(size: wanted, path: path)
    if exclusive != nil && wanted > original {
      throw CommandError(path, "--size is more than the device has (\(ByteSize(bytes: original)))")
    }
    self.path = path
    self.newFile = newFile
    self.exclusive = exclusive
    isBlockDevice = exclusive != nil
    originalByteCount = original
    byteCount = wanted / UInt64(Block.size) * UInt64(Block.size)
  }

  /// What is there already, by our own table.
  public var contents: [String] {
    isNew
      ? []
      : ForeignSignature.recognise(byteCount: originalByteCount) { offset, count in
        guard offset + UInt64(count) <= originalByteCount else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        let isRead = bytes.withUnsafeMutableBytes { (try? image.read(into: $0, at: offset)) != nil }
        return isRead ? bytes : nil
      }
  }

  /// Gives the file its size and all its blocks, so that a full host filesystem never surprises a mounted
  /// volume, and clears both ends, where other systems keep their marks. From here on what was there is gone.
  /// `notice` is told when blocks must be written because the host filesystem cannot reserve them.
  public func claim(notice: (String) -> Void) throws(CommandError) -> BlockDevice {
    try ImageLeases.refuse(image, path: path)
    if !isBlockDevice {
      do throws(FSError) { try image.resize(to: byteCount) } catch { throw CommandError(path, Self.text(error)) }
      do throws(CommandError) {
        try preallocate(image.descriptor, notice: notice)
      } catch {
        try? image.resize(to: originalByteCount)
        throw error
      }
    }
    let end = UInt64(Geometry.superblocks[1]) * UInt64(Block.size)
    do throws(FSError) {
      try zero(0, end)
      try zero(byteCount - end, byteCount)
      try image.barrier()
    } catch {
      throw CommandError(path, Self.text(error))
    }
    return ResizedDevice(image, byteCount: byteCount)
  }

  /// The volume is made: a new file stays.
  public func keep() { newFile?.isKept = true }

  private func preallocate(_ descriptor: Int32, notice: (String) -> Void) throws(CommandError) {
    while fallocate(descriptor, 0, 0, off_t(byteCount)) != 0 {
      switch errno {
      case EINTR: continue
      case ENOSPC, EDQUOT, EFBIG:
        throw CommandError(path, "cannot reserve \(ByteSize(bytes: byteCount)): \(Self.text(errno))")
      case EOPNOTSUPP, ENOSYS, EINVAL:
        notice("\(path): the filesystem it is on cannot reserve blocks; writing zeros instead")
        do throws(FSError) {
          return try zero(0, byteCount)
        } catch {
          throw CommandError(path, Self.text(error))
        }
      default: throw CommandError(path, errno: errno)
      }
    }
  }

  private func zero(_ from: UInt64, _ to: UInt64) throws(FSError) {
    let zeros = AlignedBuffer(byteCount: 1 << 20)
    var position = from
    while position < to {
      let count = min(UInt64(zeros.bytes.count), to - position)
      try image.write(UnsafeRawBufferPointer(rebasing: zeros.bytes[..<Int(count)]), at: position)
      position += count
    }
  }

  private static func check(size: UInt64, path: String) throws(CommandError) {
    let minimum = Geometry.minimumBlocks * UInt64(Block.size)
    guard size >= minimum else {
      throw CommandError(
        path, "\(ByteSize(bytes: size)) is too small: a volume takes at least \(ByteSize(bytes: minimum))")
    }
  }

  /// Refuses what is neither file nor device, and files a loop device shows to somebody.
  private static func checkUse(of path: String, _ status: stat) throws(CommandError) {
    switch status.st_mode & S_IFMT {
    case S_IFBLK: return
    case S_IFREG: break
    case S_IFDIR: throw CommandError(path, "is a directory, not an image file or block device")
    default: throw CommandError(path, "is neither a regular file nor a block device")
    }
    let resolved = try Path.resolved(path)
    for name in Processes.names(in: "/sys/block") where name.hasPrefix("loop") {
      guard let backing = try? TextFile.read("/sys/block/\(name)/loop/backing_file") else { continue }
      if backing.split(separator: "\n").first.map(String.init) == resolved {
        throw CommandError(path, "is attached to /dev/\(name): detach it first (losetup -d /dev/\(name))")
      }
    }
  }

  private static func text(_ error: FSError) -> String {
    switch error {
    case .device(.open, _, let code): text(code)
    default: error.description
    }
  }

  private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }
}

/// A file made for the volume: removed again with this, unless kept.
private final class NewFile {
  let path: String
  var isKept = false

  init(_ path: String) throws(CommandError) {
    let descriptor = holdfast_open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw CommandError(path, errno: errno) }
    close(descriptor)
    self.path = path
  }

  deinit { if !isKept { unlink(path) } }
}

/// A block device held open with O_EXCL, so that nobody mounts it meanwhile.
private final class ExclusiveDevice {
  let descriptor: Int32

  init(_ path: String) throws(CommandError) {
    descriptor = holdfast_open(path, O_RDWR | O_EXCL | O_CLOEXEC, 0)
    guard descriptor >= 0 else {
      let why = errno == EBUSY ? "the device is in use: unmount or detach it first" : String(cString: strerror(errno))
      throw CommandError(path, why)
    }
  }

  deinit { close(descriptor) }
}

/// The first `byteCount` bytes of another device.
private final class ResizedDevice: BlockDevice, @unchecked Sendable {
  private let whole: BlockDevice

  init(_ whole: BlockDevice, byteCount: UInt64) {
    self.whole = whole
    super.init(byteCount: byteCount)
  }

  override var alignment: Int { whole.alignment }
  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    try whole.read(into: buffer, at: offset)
  }
  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    try whole.write(bytes, at: offset)
  }
  override func barrier() throws(FSError) { try whole.barrier() }
}
