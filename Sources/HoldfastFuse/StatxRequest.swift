/// FUSE_STATX (opcode 52), which libfuse 3.14 does not know: statx(2)'s birth time. Taken out of the stream before
/// libfuse sees it and answered over the descriptor directly; libfuse would say ENOSYS, and the kernel would then
/// tell of no birth times.
///
/// Layouts are those of <linux/fuse.h>; offsets in bytes. Owns nothing.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastStore

enum StatxRequest {
  static let opcode: UInt32 = 52
  /// fuse_statx_out: attr_valid u64, attr_valid_nsec u32, flags u32, spare 16, then fuse_statx of 256.
  static let answerBytes = 32 + 256
  /// STATX_BASIC_STATS and STATX_BTIME.
  private static let mask: UInt32 = 0x7ff | 0x800

  /// Writes the answer's body into `answerBytes` zeroed bytes.
  static func encode(_ attributes: Attributes, to answer: UnsafeMutableRawPointer) {
    let record = attributes.record
    answer.storeBytes(of: UInt64(CacheTime.forever), as: UInt64.self)
    let statx = answer + 32
    statx.storeBytes(of: mask, as: UInt32.self)
    statx.storeBytes(of: UInt32(Block.size), toByteOffset: 4, as: UInt32.self)
    statx.storeBytes(of: record.links, toByteOffset: 16, as: UInt32.self)
    statx.storeBytes(of: record.uid, toByteOffset: 20, as: UInt32.self)
    statx.storeBytes(of: record.gid, toByteOffset: 24, as: UInt32.self)
    statx.storeBytes(of: UInt16(truncatingIfNeeded: record.mode), toByteOffset: 28, as: UInt16.self)
    statx.storeBytes(of: attributes.inode, toByteOffset: 32, as: UInt64.self)
    statx.storeBytes(of: record.size, toByteOffset: 40, as: UInt64.self)
    statx.storeBytes(of: record.blocks &* UInt64(Block.size / 512), toByteOffset: 48, as: UInt64.self)
    for (index, time) in [record.accessed, record.born, record.changed, record.modified].enumerated() {
      statx.storeBytes(of: time.seconds, toByteOffset: 64 + 16 * index, as: Int64.self)
      statx.storeBytes(of: time.nanoseconds, toByteOffset: 72 + 16 * index, as: UInt32.self)
    }
    // As the kernel encoded it for MKNOD: minor's low 8 bits, 12 of major, minor's other 12.
    let device = UInt32(truncatingIfNeeded: record.device)
    statx.storeBytes(of: device >> 8 & 0xfff, toByteOffset: 128, as: UInt32.self)
    statx.storeBytes(of: device & 0xff | device >> 12 & 0xfff00, toByteOffset: 132, as: UInt32.self)
  }
}

extension MountSession {
  /// Answers `request` if it is a STATX; false for all others, which are libfuse's.
  func answerDirectly(_ request: UnsafeRawPointer, count: Int, over descriptor: Int32) -> Bool {
    guard count >= KernelTransport.requestHeaderBytes,
      request.load(fromByteOffset: 4, as: UInt32.self) == StatxRequest.opcode
    else { return false }
    counters.count(.statx)
    let inode = request.load(fromByteOffset: 16, as: UInt64.self)
    let headerBytes = KernelTransport.replyHeaderBytes
    withUnsafeTemporaryAllocation(byteCount: headerBytes + StatxRequest.answerBytes, alignment: 8) { answer in
      let start = answer.baseAddress!
      memset(start, 0, answer.count)
      var length = answer.count
      do throws(FSError) {
        StatxRequest.encode(try store.attributes(of: inode), to: start + headerBytes)
      } catch {
        counters.countFailure(.statx)
        log.note(error, operation: .statx, inode: inode)
        start.storeBytes(of: -error.errno, toByteOffset: 4, as: Int32.self)
        length = headerBytes
      }
      start.storeBytes(of: UInt32(length), as: UInt32.self)
      start.storeBytes(of: request.load(fromByteOffset: 8, as: UInt64.self), toByteOffset: 8, as: UInt64.self)
      // ENOENT: the caller was interrupted meanwhile.
      _ = write(descriptor, start, length)
    }
    return true
  }
}
