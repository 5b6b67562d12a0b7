import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore
import Testing

/// Damage that the engine meets at run time and must see through: a typed error, a volume that stops, nobody's blocks
/// overwritten. Most of these were let through once.
@Suite struct HostileStructures {
  private static let caller = Credentials(uid: 0, gid: 0, pid: 1)

  private static var options: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    return options
  }

  private func mount(_ device: MemoryDevice) throws(FSError) -> Store {
    try Store(mounting: device, options: Self.options)
  }

  private func bytes(_ device: MemoryDevice, _ range: BlockRange) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: device.block(range.start), count: Int(range.count) << Block.shift))
  }

  /// Long attributes until the volume says no: metadata asks for another chunk before that.
  private func fillMetadata(_ store: Store) -> FSError? {
    let value = [UInt8](repeating: 3, count: Limits.xattrValueBytes)
    for number in 0..<200 {
      do throws(FSError) {
        let inode = try store.make(
          NewInode(mode: 0o100644, umask: 0), named: "f\(number)", in: RootDirectory.inode, by: Self.caller)
        try store.setXattr("user.long", of: inode, value, by: Self.caller)
      } catch { return error }
    }
    return nil
  }

  /// The index of free space by length names a file's blocks: they do not become a metadata chunk.
  @Test func indexEntryWithoutItsRecord() throws {
    var image = Sample.image()
    let file = try #require(
      image.records[.extent(Sample.file, 0)]?.withUnsafeBytes { ExtentRecord(decoding: $0)?.physical })
    image.records[.freeByLength(BlockRange(start: file, count: 256))] = []
    let device = image.build()
    let blocks = BlockRange(start: file, count: 256)
    let before = bytes(device, blocks)
    let store = try mount(device)
    #expect(fillMetadata(store) == .corrupt(structure: .freeRecord, block: file))
    #expect(store.health == .readOnly(.corrupt(structure: .freeRecord, block: file)))
    #expect(throws: FSError.self) { try store.unmount() }
    #expect(bytes(device, blocks) == before)
  }

  /// An orphan record of a number that no inode can have.
  @Test func orphanOfNoInode() throws {
    var image = Sample.image()
    image.orphan(0, .unlinked)
    let device = image.build()
    #expect {
      try mount(device)
    } throws: { error in
      if case FSError.corrupt(.orphanRecord, _) = error { true } else { false }
    }
  }

  /// Free space that lies over the metadata is handed out to nobody.
  @Test func freeSpaceOverMetadata() throws {
    var image = Sample.unsettled()
    image.free(image.chunk.start + 900, 124)
    let device = image.build()
    let metadata = bytes(device, BlockRange(start: image.chunk.start + 900, count: 124))
    let store = try mount(device)
    #expect(fillMetadata(store) != nil)
    #expect(store.health == .readOnly(.corrupt(structure: .freeRecord, block: image.chunk.start + 900)))
    #expect(bytes(device, BlockRange(start: image.chunk.start + 900, count: 124)) == metadata)
  }

  /// Counters that lie: the superblocks written are ones that can be mounted.
  @Test func countersNeverWrap() throws {
    let device = Sample.image().build()
    device.editSuperblocks { $0.put(UInt64(0), 184) }
    let store = try? mount(device)
    if let store {
      _ = fillMetadata(store)
      try? store.unmount()
    }
    for address in Geometry.superblocks {
      #expect(Superblock(decoding: device.block(address), address: address)?.isConsistent == true)
    }
    var options = Self.options
    options.readOnly = true
    _ = try Store(mounting: device, options: options)
  }

  /// A node on disk of the generation to come would be changed where it lies.
  @Test func nodeOfTheGenerationToCome() throws {
    var image = Sample.image()
    let key = Key.inode(RootDirectory.inode)
    image.journal = [[.init(key: key, value: image.records[key])]]
    let device = image.build()
    let leaf = try #require(device.leaves.first)
    device.edit(leaf) { $0.put(image.generation + 1, 40) }
    for node in device.internals {
      device.edit(node) { p in
        for index in 0..<BlockHeader.count(p) where TreeNode.child(p, index).block == leaf {
          p.put(image.generation + 1, TreeNode.headerBytes + index * TreeNode.entryBytes + 24)
        }
      }
    }
    #expect(throws: FSError.corrupt(structure: .treeNode, block: leaf)) { try mount(device) }
  }

  @Test func journalRecordWithAWrongCount() throws {
    let image = Sample.image()
    let device = image.build()
    let key = Key.inode(Sample.file)
    ImageBuilder.write(
      record: [.init(key: key, value: image.records[key])], sequence: image.journalSequence,
      at: image.journalPosition, of: image.journalBlocks, device, count: 2)
    #expect(throws: FSError.corrupt(structure: .journalRecord, block: Geometry.journalStart + image.journalPosition)) {
      try mount(device)
    }
  }

  /// A chunk map that goes in a circle, as long as its superblock wants it to be.
  @Test func chunkMapWithoutEntries() throws {
    let device = Sample.image().build()
    let chain = try #require(device.chain.first)
    device.edit(chain) {
      $0.put(UInt32(0), 12)
      $0.put(chain, 48)
    }
    device.editSuperblocks { $0.put(UInt64(4000), 160) }
    #expect(throws: FSError.corrupt(structure: .chunkMap, block: chain)) { try mount(device) }
  }

  /// Longer than anybody may make them: a symbolic link, a list of attributes, an access control list.
  @Test func longerThanTheLimits() throws {
    var image = Sample.image()
    image.edit(Sample.link) { $0.size = 5000 }
    image.target(5000, of: Sample.link)
    for number in 0..<300 {
      image.xattr("user." + String(repeating: "n", count: 240) + "\(number)", of: Sample.fifo, bytes: 0)
    }
    image.xattr("system.posix_acl_default", of: Sample.directory, bytes: 8004)
    let device = image.build()
    let link = FSError.corrupt(structure: .inodeRecord, block: Sample.link)
    #expect(throws: link) { try mount(device).readSymlink(Sample.link) }
    let list = FSError.corrupt(structure: .xattrRecord, block: Sample.fifo)
    #expect(throws: list) { try mount(device).listXattrs(of: Sample.fifo) }
    let acl = FSError.corrupt(structure: .xattrRecord, block: Sample.directory)
    #expect(throws: acl) {
      try mount(device).make(
        NewInode(mode: 0o100644, umask: 0), named: "new", in: Sample.directory, by: Self.caller)
    }
  }

  /// One leaf in two places: what is found ascends all the same, and everything ends.
  @Test func oneLeafInTwoPlaces() throws {
    let device = Sample.image().build()
    let node = try #require(device.internals.first)
    device.edit(node) { p in
      let (first, second) = (TreeNode.headerBytes, TreeNode.headerBytes + TreeNode.entryBytes)
      p.put(UnsafeRawPointer(p).u64(first + 16), second + 16)
      p.put(UnsafeRawPointer(p).u64(first + 24), second + 24)
    }
    let store = try? mount(device)
    #expect(throws: FSError.self) {
      guard let store else { throw FSError.corrupt(structure: .treeNode, block: node) }
      for inode in InodeNumber(1)...40 {
        _ = try store.extents(of: inode, from: 0, limit: 10)
        _ = try store.listXattrs(of: inode)
      }
    }
  }
}
