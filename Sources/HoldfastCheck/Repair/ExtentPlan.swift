/// Who owns which blocks: one file each. A block two files map stays with one of them, a sealed one first, and the
/// other gets a copy; a block that holds metadata now is no file's.

import HoldfastBase
import HoldfastFormat

struct ExtentPlan {
  /// Blocks of files, as ascending runs that do not touch.
  private(set) var owned: [BlockRange] = []
  /// Parts of extents whose blocks belong to another file.
  private(set) var contested: [MappedExtent] = []

  private let sealed: Set<InodeNumber>
  /// What stays, in place of `survey.extents`; new ones become puts.
  private var kept: [MappedExtent] = []

  init(_ survey: inout Survey, _ tree: OldTree) {
    sealed = survey.sealed
    var extents = survey.extents
    survey.extents = []
    extents.sort { ($0.physical, $0.inode, $0.fileBlock) < ($1.physical, $1.inode, $1.fileBlock) }
    giveUpMetadata(&extents, &survey, tree)
    var first = 0
    while first < extents.count {
      var end = extents[first].end
      var isShared = extents[first].flags.contains(.shared)
      var next = first + 1
      while next < extents.count, extents[next].physical < end {
        end = max(end, extents[next].end)
        isShared = isShared && extents[next].flags.contains(.shared)
        next += 1
      }
      if next == first + 1 || isShared {
        kept += extents[first..<next]
      } else {
        part(extents[first..<next], &survey)
      }
      owned.append(BlockRange(from: extents[first].physical, to: end))
      first = next
    }
    owned = owned.merged()
    for extent in kept {
      if extent.isNew { survey.put(extent) }
      survey.clearTail(in: extent, at: extent.physical)
    }
  }

  /// Cuts what the old checkpoint's own blocks lie in out of the extents: it is not the file's content.
  private func giveUpMetadata(_ extents: inout [MappedExtent], _ survey: inout Survey, _ tree: OldTree) {
    let strays = tree.chunks.strays.map { BlockRange(start: $0, count: 1) }
    let places = (tree.chunks.chunks.map { BlockRange(start: $0.start, count: $0.count) } + strays).merged()
    guard extents.contains(where: { places.overlap(BlockRange(start: $0.physical, count: UInt64($0.count))) }) else {
      return
    }
    var rest: [MappedExtent] = []
    for extent in extents {
      let range = BlockRange(start: extent.physical, count: UInt64(extent.count))
      let live = places.overlap(range) ? Self.live(in: range, places, tree) : []
      if live.isEmpty {
        rest.append(extent)
        continue
      }
      survey.replace(extent)
      for run in live { survey.lose(extent.part(run)) }
      rest += [range].subtracting(live).map { extent.part($0) }
    }
    extents = rest.sorted { ($0.physical, $0.inode, $0.fileBlock) < ($1.physical, $1.inode, $1.fileBlock) }
  }

  private static func live(in range: BlockRange, _ places: [BlockRange], _ tree: OldTree) -> [BlockRange] {
    var live: [BlockRange] = []
    for place in places where place.overlaps(range) {
      let both = place.intersection(range)
      for block in both.start..<both.end where tree.isLive(block) { live.append(BlockRange(start: block, count: 1)) }
    }
    return live.merged()
  }

  /// Parts extents that overlap, one with the next. Sorted by first block, so a block below the end of an earlier one
  /// is that one's already.
  private mutating func part(_ cluster: ArraySlice<MappedExtent>, _ survey: inout Survey) {
    var held: [BlockRange] = []
    for isSealed in [true, false] {
      var end: BlockNumber = 0
      for extent in cluster where sealed.contains(extent.inode) == isSealed {
        let range = BlockRange(start: extent.physical, count: UInt64(extent.count))
        let beyond = BlockRange(from: max(range.start, end), to: range.end)
        let own = beyond.isEmpty ? [] : [beyond].subtracting(isSealed ? [] : held)
        end = max(end, range.end)
        if own == [range] {
          kept.append(extent)
          continue
        }
        survey.replace(extent)
        kept += own.map { extent.part($0) }
        for run in [range].subtracting(own) { contested.append(extent.part(run)) }
      }
      if isSealed { held = cluster.filter { sealed.contains($0.inode) }.map(\.range).merged() }
    }
  }
}

extension MappedExtent {
  var range: BlockRange { BlockRange(start: physical, count: UInt64(count)) }
}

extension Survey {
  /// Leaves an old extent record out; its parts are put or lost.
  mutating func replace(_ extent: MappedExtent) {
    if !extent.isNew { edits.drop(.extent(extent.inode, extent.fileBlock)) }
    if let index = inodes.index(of: extent.inode) { inodes.entries[index].hasNewMap = true }
  }

  mutating func put(_ extent: MappedExtent) {
    edits.put(.extent(extent.inode, extent.fileBlock), byteCount: ExtentRecord.size) {
      ExtentRecord(physical: extent.physical, count: extent.count, flags: extent.flags).encode(to: $0)
    }
  }

  /// A part of a file becomes a hole. Blocks that were never written read as zeros as before.
  mutating func lose(_ extent: MappedExtent) {
    if let index = inodes.index(of: extent.inode) { inodes.entries[index].blocks -= UInt64(extent.count) }
    if extent.flags.contains(.unwritten) { return }
    notes.add(.extentDropped(inode: extent.inode, fileBlock: extent.fileBlock, count: UInt64(extent.count)))
  }

  /// Where the part of a file that `extent` is ends at its old end, the rest of that block is zeros from now on.
  /// `physical` is where it lies in the repaired volume.
  mutating func clearTail(in extent: MappedExtent, at physical: BlockNumber) {
    guard let tail = tails[extent.inode], !extent.flags.contains(.unwritten), tail.block >= extent.fileBlock,
      tail.block < extent.fileBlock + UInt64(extent.count)
    else { return }
    zeros.append((physical + tail.block - extent.fileBlock, tail.offset))
  }

  /// Written blocks behind a file's end were written by somebody: the file grows over them, unless an orphan record
  /// says that they are on their way out.
  mutating func raiseSizes() {
    for overhang in overhangs {
      guard let index = inodes.index(of: overhang.inode), !inodes.entries[index].isOrphan else { continue }
      var end = overhang.end
      if let cut = truncating[overhang.inode] {
        guard overhang.first < cut else { continue }
        end = min(end, cut)
      }
      let size = min(end << UInt64(Block.shift), Limits.fileBytes)
      let old = inodes.entries[index].size
      notes.add(.sizeRaised(inode: overhang.inode, from: old, to: size))
      let offset = Int(old & UInt64(Block.size - 1))
      if offset > 0 { tails[overhang.inode] = Tail(block: old >> UInt64(Block.shift), offset: offset) }
      inodes.entries[index].size = size
    }
  }
}
