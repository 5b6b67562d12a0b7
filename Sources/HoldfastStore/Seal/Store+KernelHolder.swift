/// BMAP: telling the kernel where a block of a file is, which it then may read and write past this daemon and past the
/// image's page cache, as it does for swap (docs/decisions/0012).
///
/// Order: the request that keeps the map stands first; then everything written to the file is made durable, and from
/// then on every write to it is before it is answered (`settleForKernel`); then the kernel is told. So no write of
/// this daemon's comes to the device after one of the kernel's.

import HoldfastBase
import HoldfastSeal

extension Store {
  /// - Parameters:
  ///   - byteOffset: of the file, at the beginning of a block.
  ///   - handles: asked for under the inode's lock: all that are open on the inode.
  /// - Returns: where that block is on the device, in bytes; nil for a hole, unwritten or shared blocks, and behind the end.
  /// - Throws: what `SealTable.holdForKernel` throws; errors of the device.
  public func placeForKernel(
    of inode: InodeNumber, at byteOffset: UInt64, asker: Credentials, handles: () -> [UInt64]
  ) throws(FSError) -> UInt64? {
    let (place, isSettled) = try inodeLocks.exclusive(inode) { () throws(FSError) -> (UInt64?, Bool) in
      let record = try reading { () throws(FSError) in try self.inode(inode) }
      guard record.isRegular else { throw .invalid(.argument) }
      let isSettled = try seals.holdForKernel(
        inode, handles: handles(), asker: asker, generation: currentGeneration(record))
      // From here on nothing moves.
      guard byteOffset < record.size else { return (nil, isSettled) }
      let block = byteOffset >> UInt64(Block.shift)
      let piece = try reading { () throws(FSError) in try self.piece(of: inode, at: block, limit: block + 1) }
      guard case .mapped(let extent) = piece, extent.isWritten else { return (nil, isSettled) }
      return (extent.physical(block) << UInt64(Block.shift) + byteOffset & UInt64(Block.size - 1), isSettled)
    }
    if !isSettled {
      try syncAll()
      seals.kernelIsSettled(inode)
    }
    return place
  }

  /// After a write to a file: where the kernel stores into its blocks, the bytes must not wait in a cache to be written
  /// over what the kernel has stored since.
  func settleForKernel(_ inode: InodeNumber) throws(FSError) {
    if seals.isKnownToKernel(inode) { try barrier() }
  }
}
