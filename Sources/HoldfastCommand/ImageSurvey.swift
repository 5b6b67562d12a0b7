/// What lies where on an image, read straight from its last checkpoint: superblock, chunk map, tree. Nothing
/// is mounted, replayed or written. Every offset is checked before use and the walk is bounded, so that no
/// image, however damaged, makes it run away; what could not be read is said in the notes.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

import struct HoldfastClient.MappedExtent

public struct ImageSurvey {
  private let device: BlockDevice
  private let head: Superblock
  private var extents: [InodeNumber: [MappedExtent]] = [:]
  private var names: [InodeNumber: (parent: InodeNumber, name: String)] = [:]
  /// Persistent requests; all others are the daemon's memory.
  private var requests: [InodeNumber: [(kind: VolumeSurvey.Hold, bytes: Range<UInt64>?)]] = [:]
  private var regions: [(region: VolumeSurvey.Region, blocks: BlockRange)] = []
  private var extentCount = 0
  private var nodesLeft: UInt64
  private var damaged = 0

  private static let maximumExtents = 2_000_000

  /// - Throws: what `VolumeHead` throws; damage below the superblock is a note.
  public static func survey(_ device: BlockDevice, title: String) throws(FSError) -> VolumeSurvey {
    var survey = ImageSurvey(device: device, head: try VolumeHead(reading: device).superblock)
    return survey.run(title: title)
  }

  /// The regions that are no file's: for a mounted volume, whose files are asked for one by one.
  public static func regions(
    _ device: BlockDevice
  ) throws(FSError) -> [(region: VolumeSurvey.Region, blocks: BlockRange)] {
    var survey = ImageSurvey(device: device, head: try VolumeHead(reading: device).superblock)
    survey.readFixedRegions()
    survey.readChunkMap()
    return survey.regions
  }

  private init(device: BlockDevice, head: Superblock) {
    self.device = device
    self.head = head
    nodesLeft = head.totalBlocks
  }

  private mutating func run(title: String) -> VolumeSurvey {
    readFixedRegions()
    readChunkMap()
    readNode(head.root, level: head.rootLevel)
    var survey = VolumeSurvey(title: title, totalBlocks: head.totalBlocks)
    survey.regions = regions
    survey.files = extents.map { inode, extents in
      VolumeSurvey.File(
        name: path(of: inode), blocks: extents.map(\.imageBlocks),
        held: requests[inode].map { HeldRanges($0).pieces(of: extents) } ?? [])
    }
    survey.files.sort { $0.name < $1.name }
    if !head.state.contains(.clean) {
      survey.notes.append(
        "The volume is mounted or was not unmounted cleanly: this is its last checkpoint, without the journal.")
    }
    if damaged > 0 { survey.notes.append("\(damaged) metadata blocks could not be read: run holdfast fsck.") }
    if extentCount >= Self.maximumExtents { survey.notes.append("Cut after \(extentCount) extents.") }
    return survey
  }

  private mutating func readFixedRegions() {
    for block in Geometry.superblocks { regions.append((.superblock, BlockRange(start: block, count: 1))) }
    regions.append((.journal, BlockRange(start: head.journalStart, count: head.journalBlocks)))
  }

  private mutating func readChunkMap() {
    var address = head.chunkMap
    var left = head.chunkMapBlocks
    while left > 0 && address != 0 {
      guard let block = read(address, .chunkMap) else { return }
      let p = UnsafeRawPointer(block.bytes.baseAddress!)
      for index in 0..<min(BlockHeader.count(p), ChunkMap.entriesPerBlock) {
        let blocks = ChunkMap.entry(p, index).blocks
        if isInside(blocks) { regions.append((.metadata, blocks)) }
      }
      address = ChunkMap.next(p)
      left -= 1
    }
  }

  private mutating func readNode(_ reference: NodeReference, level: UInt32) {
    guard nodesLeft > 0 else { return }
    nodesLeft -= 1
    guard let node = read(reference.block, .node) else { return }
    let p = UnsafeRawPointer(node.bytes.baseAddress!)
    guard BlockHeader.generation(p) == reference.generation, UInt32(BlockHeader.level(p)) == level, TreeNode.isSound(p)
    else {
      damaged += 1
      return
    }
    for index in 0..<BlockHeader.count(p) {
      if level > 0 {
        readNode(TreeNode.child(p, index), level: level - 1)
      } else {
        readRecord(TreeNode.slotKey(p, index), TreeNode.value(p, index))
      }
    }
  }

  private mutating func readRecord(_ key: Key, _ value: UnsafeRawBufferPointer) {
    switch (key.space, key.type) {
    case (.file, .extent):
      guard let extent = ExtentRecord(decoding: value), extentCount < Self.maximumExtents else { return }
      let blocks = BlockRange(start: extent.physical, count: UInt64(extent.count))
      guard isInside(blocks) else {
        damaged += 1
        return
      }
      let shift = UInt64(Block.shift)
      guard key.low < Limits.fileBytes >> shift else {
        damaged += 1
        return
      }
      extents[key.object, default: []].append(
        MappedExtent(logical: key.low << shift, physical: blocks.start << shift, length: blocks.count << shift))
      extentCount += 1
    case (.file, .dirent):
      guard let entry = DirentRecord.decode(value) else { return }
      names[entry.inode] = (key.object, String(decoding: entry.name, as: UTF8.self))
    case (.quarantine, _):
      guard let record = QuarantineRecord(decoding: value) else { return }
      let blocks = BlockRange(start: key.object, count: record.count)
      if isInside(blocks) { regions.append((.quarantine, blocks)) }
    case (.persistentSeal, _):
      guard let request = SealRequest(decodingPersistent: value) else { return }
      requests[key.object, default: []].append(request.asHeld)
    default: break
    }
  }

  /// From the root; an inode without a name by its number.
  private func path(of inode: InodeNumber) -> String {
    var components: [String] = []
    var current = inode
    while current != RootDirectory.inode {
      guard let entry = names[current], components.count < 256 else { return "inode \(inode)" }
      components.append(entry.name)
      current = entry.parent
    }
    return "/" + components.reversed().joined(separator: "/")
  }

  private func isInside(_ blocks: BlockRange) -> Bool {
    blocks.start < head.totalBlocks && blocks.count <= head.totalBlocks - blocks.start
  }

  /// The block at `address` when it is a valid one of that type.
  private mutating func read(_ address: BlockNumber, _ type: BlockType) -> AlignedBuffer? {
    let block = AlignedBuffer(byteCount: Block.size)
    guard address < head.totalBlocks, (try? device.read(into: block.bytes, at: address * UInt64(Block.size))) != nil,
      BlockHeader.isValid(UnsafeRawPointer(block.bytes.baseAddress!), type: type, id: head.id, address: address)
    else {
      damaged += 1
      return nil
    }
    return block
  }
}

extension SealRequest {
  fileprivate var asHeld: (kind: VolumeSurvey.Hold, bytes: Range<UInt64>?) {
    let kind: VolumeSurvey.Hold = kind == .hard ? .hard : .breakable
    return (kind, scope.blocks.map { $0.start << UInt64(Block.shift)..<$0.end << UInt64(Block.shift) })
  }
}
