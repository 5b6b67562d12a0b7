/// Making a volume: an empty tree, its first chunk, the free space, the root directory, one checkpoint.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Writes an empty volume over `device`; everything on it is lost.
  /// - Throws: `.imageTooSmall`, `.invalid` for a journal that does not fit, device errors.
  public static func format(_ device: BlockDevice, options: FormatOptions) throws(FSError) {
    let totalBlocks = device.byteCount >> UInt64(Block.shift)
    guard totalBlocks >= Geometry.minimumBlocks else {
      throw .imageTooSmall(minimumBytes: Geometry.minimumBlocks << UInt64(Block.shift))
    }
    let journalBlocks = options.journalBlocks ?? Geometry.defaultJournalBlocks(totalBlocks: totalBlocks)
    guard journalBlocks >= Geometry.minimumJournalBlocks, journalBlocks <= Geometry.maximumJournalBlocks,
      journalBlocks <= totalBlocks / 2, options.label.utf8.count <= Superblock.labelBytes,
      totalBlocks < Superblock.totalBlocksLimit
    else { throw .invalid(.argument) }
    // Old copies and an old journal must not be taken for this volume's: the new UUID sees to the journal.
    let zeros = AlignedBuffer(byteCount: Block.size)
    for address in Geometry.superblocks {
      try device.write(UnsafeRawBufferPointer(zeros.bytes), at: address << UInt64(Block.shift))
    }
    try device.barrier()

    var volume = Superblock(
      id: options.id, totalBlocks: totalBlocks, journalBlocks: journalBlocks, hashSeed: options.hashSeed,
      label: options.label, now: options.now.seconds)
    volume.generation = 1
    let chunks = MetadataChunks()
    let first = BlockRange(start: volume.dataStart, count: Store.chunkBlocks(totalBlocks: totalBlocks))
    chunks.add(first)
    let tree = Tree(
      device: device, id: options.id, chunks: chunks, root: volume.root, level: 0, generation: 1, cacheFrames: 0)
    tree.makeEmptyRoot()
    var storeOptions = StoreOptions()
    storeOptions.backgroundThread = false
    let store = Store(
      device: device, options: storeOptions, volume: volume, tree: tree, chunks: chunks,
      journal: Journal(device: device, superblock: volume), seals: SealTable(options: SealOptions()))
    try store.transaction(keys: 4, .shrinking) { () throws(FSError) in
      try store.putLength(.chunk(first.start), first.count)
      try store.putFree(BlockRange(from: first.end, to: totalBlocks))
      var root = InodeRecord(
        mode: 0o040755, uid: options.uid, gid: options.gid, links: 2, generation: 1, now: options.now)
      root.parent = RootDirectory.inode
      try store.putInode(RootDirectory.inode, root)
    }
    try store.checkpoint(closing: true)
  }
}
