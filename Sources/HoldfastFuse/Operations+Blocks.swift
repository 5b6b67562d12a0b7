/// BMAP: the kernel asks where a block of a file is, to read and write it by itself. It asks only on mounts of block devices
/// (`blkdev`), for FIBMAP and swapon(2). Who is answered, and what follows from it: `Store.placeForKernel`.

import CFuse3
import HoldfastBase
import HoldfastSeal
import HoldfastStore

extension MountSession {
  static func addBlockOperations(to operations: inout fuse_lowlevel_ops) {
    operations.bmap = { request, inode, blockBytes, block in
      serving(request).findBlock(Reply(request), inode, block, blockBytes: blockBytes)
    }
  }

  /// An error reaches the asker as block 0, which means a hole. Never ENOSYS: the kernel would not ask again.
  private func findBlock(
    _ reply: consuming Reply<BlockPlace>, _ inode: InodeNumber, _ block: UInt64, blockBytes: Int
  ) {
    counters.count(.bmap)
    do throws(FSError) {
      guard (1...Block.size).contains(blockBytes), Block.size % blockBytes == 0 else { throw .invalid(.argument) }
      let (offset, isBeyond) = block.multipliedReportingOverflow(by: UInt64(blockBytes))
      if isBeyond { throw .invalid(.argument) }
      let caller = reply.caller
      let asker = Credentials(
        uid: caller.uid, gid: caller.gid, pid: ProcessInfo.process(ofThread: caller.pid) ?? caller.pid)
      let place = try store.placeForKernel(of: inode, at: offset, asker: asker) { handles.ids(on: inode) }
      reply.send((place ?? 0) / UInt64(blockBytes))
    } catch {
      fail(reply, error, .bmap, inode)
    }
  }
}
