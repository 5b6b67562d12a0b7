/// The extent-size hint (`holdfast.extsize`): allocation for a file that has one is rounded outward to whole units of
/// it, and a unit of the file begins at a multiple of the unit on the image. So a mapping of the file finds huge pages,
/// and few extents. A hint: where there is no such room, blocks are had as without it.
///
/// What is rounded up behind the end stays, as XFS keeps it: the next append finds it. Truncation gives it back.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// The largest hint, 1 GiB: as large as pages get. More would only be taken from others.
  public static let maximumExtentSize: UInt64 = 1 << 30

  /// A hint is 0 for none, or a power of two from a block to `maximumExtentSize`.
  public static func isExtentSize(_ bytes: UInt64) -> Bool {
    bytes == 0 || (bytes >= UInt64(Block.size) && bytes <= maximumExtentSize && bytes & (bytes - 1) == 0)
  }

  /// Sets the hint, in bytes, of a file or of what is made in a directory from now on. What is allocated stays as it is.
  /// - Throws: `.notPermitted` unless the owner or an administrator asks, `.invalid` for what is no hint.
  public func setExtentSize(_ bytes: UInt64, of inode: InodeNumber, by caller: Credentials) throws(FSError) {
    guard Store.isExtentSize(bytes) else { throw .invalid(.argument) }
    let isAdministrator = ProcessInfo.isAdministrator(pid: caller.pid, uid: caller.uid)
    try inodeLocks.exclusive(inode) { () throws(FSError) in
      try transaction(keys: 1, .shrinking) { () throws(FSError) in
        var record = try self.inode(inode)
        guard record.isRegular || record.isDirectory else { throw .invalid(.argument) }
        guard caller.uid == record.uid || isAdministrator else { throw .notPermitted }
        guard record.flags.isDisjoint(with: [.immutable, .appendOnly]) else { throw .notPermitted }
        record.extentSizeHint = UInt32(bytes >> UInt64(Block.shift))
        record.changed = .now
        try putInode(inode, record)
      }
    }
  }

  /// Whole units around a hole, as far as the hole itself reaches; the hole as it is where nobody hinted, where space is
  /// short or where a request holds what would be taken beside. Under the tree lock.
  func widened(_ hole: BlockRange, of number: InodeNumber, _ record: InodeRecord) throws(FSError) -> BlockRange {
    let unit = UInt64(record.extentSizeHint)
    // A damaged image may have any number there.
    guard unit > 1, Store.isExtentSize(unit << UInt64(Block.shift)) else { return hole }
    let before = hole.start == 0 ? nil : try extent(of: number, upTo: hole.start - 1)
    let after = try extent(of: number, from: hole.end)
    let wide = BlockRange(
      from: max(hole.start / unit * unit, before?.end ?? 0),
      to: min((hole.end + unit - 1) / unit * unit, after?.start ?? Store.maximumFileBlocks))
    guard volume.freeBlocks > metadataReserve + wide.count,
      seals.conflict(.fill(wide), inode: number, by: .daemon) == nil
    else { return hole }
    return wide
  }

  /// On which border of the image file block `block` belongs: the hint's, when a unit of the file begins there; else 1.
  func hintedAlignment(of number: InodeNumber, at block: FileBlock) throws(FSError) -> UInt64 {
    let unit = UInt64(try reading { () throws(FSError) in try inode(number) }.extentSizeHint)
    guard unit > 1, Store.isExtentSize(unit << UInt64(Block.shift)), block % unit == 0 else { return 1 }
    return unit
  }

  /// Where a hole of a hinted file gets its blocks: behind its neighbour, else on a border of the hint; nil where there
  /// is no such place.
  func allocateHinted(
    _ hole: BlockRange, want: UInt64, of number: InodeNumber, _ record: InodeRecord
  ) throws(FSError) -> BlockRange? {
    let unit = UInt64(record.extentSizeHint)
    guard unit > 1, hole.start % unit == 0 else { return nil }
    if hole.start > 0, let before = try extent(of: number, upTo: hole.start - 1), before.end == hole.start {
      let goal = before.record.physical + before.count
      if goal % unit == 0, let run = try firstFreeRun(from: goal), run.start <= goal, run.end - goal >= min(want, unit)
      {
        return try allocate(want: want, goal: goal)
      }
    }
    let placement = Placement(alignment: unit, isWhole: true)
    var found = try freePlace(want, want, placement)
    if found == nil, want > unit { found = try freePlace(unit, unit, placement) }
    guard let found else { return nil }
    try take(found.place, from: found.run)
    return found.place
  }
}
