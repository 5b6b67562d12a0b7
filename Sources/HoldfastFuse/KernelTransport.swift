/// What passes between the kernel and libfuse, completed where libfuse 3.14 is older than the kernel.
///
/// Owns: the flags the kernel offered in INIT and those we added to the reply. Written by the worker that
/// handles INIT, before any other request exists; read-only afterwards, hence no lock.
/// Every trick is optional: a kernel that does not offer a flag, or does not send a request, is left alone.
///
/// - INIT reply: flags libfuse does not know are added when the kernel offered them
///   (`HANDLE_KILLPRIV_V2`: no GETXATTR round trip per write; `SETXATTR_EXT`: the kernel tells when an ACL
///   must clear set-gid). Not `DIRECT_IO_ALLOW_MMAP`: beside a layout there is no shared mapping through the mount.
/// - TMPFILE (opcode 51) becomes CREATE (35): the payloads are the same, the name is "/", which no CREATE carries.
/// - SETXATTR with `SETXATTR_EXT` has 8 bytes more before the name; libfuse expects the short form, so the
///   payload moves up and the flag travels in a high bit of `flags`.
/// - WRITE's and OPEN's wish to clear set-id bits travel in a high bit of the open flags, which libfuse copies
///   into `fuse_file_info.flags`.
/// - READ for the page cache carries no lock owner, as one that goes straight to a reader does; that travels likewise.
/// Offsets are those of <linux/fuse.h>, the kernel's ABI, in the machine's byte order.

import HoldfastBase
import Synchronization

final class KernelTransport: @unchecked Sendable {
  /// Flags of INIT, both halves.
  struct Features: OptionSet {
    let rawValue: UInt64
    static let handleKillPrivilegesV2 = Features(rawValue: 1 << 28)
    static let extendedSetXattr = Features(rawValue: 1 << 29)
    static let extendedInit = Features(rawValue: 1 << 30)
    static let wanted: Features = [.handleKillPrivilegesV2, .extendedSetXattr]
  }

  /// Bits we add to what libfuse hands to the operations; no open or setxattr flag of Linux reaches this high.
  enum Carried {
    /// In `fuse_file_info.flags` of open and write: clear set-id bits.
    static let dropPrivileges: Int32 = 1 << 30
    /// In `fuse_file_info.flags` of read: the kernel fills its page cache.
    static let fillsPageCache: Int32 = 1 << 30
    /// In setxattr's flags: this ACL clears set-gid.
    static let aclClearsSetGroupID: Int32 = 1 << 30
  }

  enum Opcode {
    static let forget: UInt32 = 2
    static let open: UInt32 = 14
    static let read: UInt32 = 15
    static let write: UInt32 = 16
    static let setXattr: UInt32 = 21
    static let initialize: UInt32 = 26
    static let create: UInt32 = 35
    static let batchForget: UInt32 = 42
    static let tmpfile: UInt32 = 51
  }

  static let requestHeaderBytes = 40
  static let replyHeaderBytes = 16

  private(set) var offered: Features = []
  private(set) var added: Features = []
  private var initUnique: UInt64?
  /// The kernel has our answer to INIT: the mount works. Requests come only after it, so others may read this.
  var isInitialized: Bool { initializedFlag.load(ordering: .acquiring) }
  private let initializedFlag = Atomic(false)
  /// Called once then. To be set before the first request.
  var onInitialized: () -> Void = {}

  /// Rewrites a request of `count` bytes in place; returns its new length.
  func rewriteRequest(_ request: UnsafeMutableRawPointer, count: Int) -> Int {
    guard count >= Self.requestHeaderBytes else { return count }
    let body = request + Self.requestHeaderBytes
    let bodyBytes = count - Self.requestHeaderBytes
    switch request.load(fromByteOffset: 4, as: UInt32.self) {
    case Opcode.initialize:
      if bodyBytes >= 16 { readInit(request, body: body, bodyBytes: bodyBytes) }
    case Opcode.read where bodyBytes >= 40:
      // fuse_read_in: fh, offset, size, read_flags (20), lock_owner, flags (32)
      if body.load(fromByteOffset: 20, as: UInt32.self) & 0x2 == 0 { Self.carry(Carried.fillsPageCache, in: body + 32) }
    case Opcode.write where bodyBytes >= 40:
      // fuse_write_in: fh, offset, size, write_flags (20), lock_owner, flags (32)
      if body.load(fromByteOffset: 20, as: UInt32.self) & 0x4 != 0 { Self.carry(Carried.dropPrivileges, in: body + 32) }
    case Opcode.open where bodyBytes >= 8:
      // fuse_open_in: flags, open_flags
      if body.load(fromByteOffset: 4, as: UInt32.self) & 0x1 != 0 { Self.carry(Carried.dropPrivileges, in: body) }
    case Opcode.tmpfile:
      request.storeBytes(of: Opcode.create, toByteOffset: 4, as: UInt32.self)
    case Opcode.setXattr where added.contains(.extendedSetXattr) && bodyBytes >= 16:
      return Self.shortenSetXattr(request, count: count)
    default: break
    }
    return count
  }

  /// Completes the reply to INIT; whether `header` (16 bytes) and `body` are a successful one.
  func completeReply(header: UnsafeRawPointer, body: UnsafeMutableRawPointer?, bodyBytes: Int) -> Bool {
    guard let unique = initUnique, header.loadUnaligned(fromByteOffset: 8, as: UInt64.self) == unique,
      header.load(fromByteOffset: 4, as: Int32.self) == 0
    else { return false }
    // fuse_init_out: major, minor, max_readahead, flags (12), …, flags2 (32)
    if let body, bodyBytes >= 36 {
      added = offered.intersection(.wanted)
      let high = UInt32(truncatingIfNeeded: added.rawValue >> 32)
      var low = UInt32(truncatingIfNeeded: added.rawValue)
      if high != 0 { low |= UInt32(Features.extendedInit.rawValue) }
      body.storeBytes(of: body.load(fromByteOffset: 12, as: UInt32.self) | low, toByteOffset: 12, as: UInt32.self)
      body.storeBytes(of: body.load(fromByteOffset: 32, as: UInt32.self) | high, toByteOffset: 32, as: UInt32.self)
    }
    return true
  }

  /// The completed reply has been sent.
  func initialized() {
    initializedFlag.store(true, ordering: .releasing)
    onInitialized()
  }

  private func readInit(_ request: UnsafeMutableRawPointer, body: UnsafeMutableRawPointer, bodyBytes: Int) {
    initUnique = request.load(fromByteOffset: 8, as: UInt64.self)
    // fuse_init_in: major, minor, max_readahead, flags (12), flags2 (16)
    offered = Features(rawValue: UInt64(body.load(fromByteOffset: 12, as: UInt32.self)))
    if offered.contains(.extendedInit), bodyBytes >= 20 {
      offered.formUnion(Features(rawValue: UInt64(body.load(fromByteOffset: 16, as: UInt32.self)) << 32))
    } else {
      offered.formIntersection(Features(rawValue: 0xffff_ffff))
    }
  }

  private static func carry(_ bit: Int32, in flags: UnsafeMutableRawPointer) {
    flags.storeBytes(of: flags.load(as: Int32.self) | bit, as: Int32.self)
  }

  /// fuse_setxattr_in: size, flags (4), setxattr_flags (8), padding; then name and value.
  private static func shortenSetXattr(_ request: UnsafeMutableRawPointer, count: Int) -> Int {
    let body = request + requestHeaderBytes
    if body.load(fromByteOffset: 8, as: UInt32.self) & 0x1 != 0 {
      let flags = body.load(fromByteOffset: 4, as: Int32.self) | Carried.aclClearsSetGroupID
      body.storeBytes(of: flags, toByteOffset: 4, as: Int32.self)
    }
    (body + 8).copyMemory(from: body + 16, byteCount: count - requestHeaderBytes - 16)
    request.storeBytes(of: UInt32(count - 8), as: UInt32.self)
    return count - 8
  }
}
