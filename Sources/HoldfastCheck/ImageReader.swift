/// Reads of the image, bounded by its size: what cannot be read is an issue and never a trap.

import Glibc
import HoldfastBase
import HoldfastDevice

struct ImageReader {
  let device: BlockDevice
  let log: IssueLog

  /// Whole blocks the device holds.
  var blocks: UInt64 { device.byteCount >> UInt64(Block.shift) }

  /// Fills `buffer` from `block` on; false, without an issue, when that fails.
  func canRead(into buffer: UnsafeMutableRawBufferPointer, from block: BlockNumber) -> Bool {
    (try? load(into: buffer, from: block)) ?? false
  }

  /// Fills `buffer` from `block` on; false, and an issue, when that fails. Blocks behind the image's end are
  /// unreadable without an issue of their own: the truncation has been reported.
  func read(into buffer: UnsafeMutableRawBufferPointer, from block: BlockNumber) -> Bool {
    do throws(FSError) {
      return try load(into: buffer, from: block)
    } catch {
      if case .device(_, let offset, let code) = error {
        log.report(.unreadable(byteOffset: offset, errno: code))
      } else {
        log.report(.unreadable(byteOffset: block << UInt64(Block.shift), errno: error.errno))
      }
      return false
    }
  }

  /// False behind the image's end.
  private func load(into buffer: UnsafeMutableRawBufferPointer, from block: BlockNumber) throws(FSError) -> Bool {
    let wanted = UInt64(buffer.count >> Block.shift)
    guard block < blocks, wanted <= blocks - block else { return false }
    try device.read(into: buffer, at: block << UInt64(Block.shift))
    return true
  }
}
