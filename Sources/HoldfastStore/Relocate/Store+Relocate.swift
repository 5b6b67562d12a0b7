/// Moving blocks of a file to another place of the image (docs/decisions/0011-relocation.md): the same bytes, the same
/// flags, another map. Defragmentation, contiguity on demand and shrinking are made of it.
///
/// A move goes in steps of at most `relocationStep` blocks, each under the inode's exclusive lock with the gate asked
/// (row 15; of background work row 16):
///
///     reserve     a transaction takes the new blocks from free space (`Reservation`)
///     copy        written blocks are read and written to their new place; unwritten ones need no copy
///     switch      a transaction names the new blocks in the map and puts the old ones into quarantine
///
/// The copy has been handed to the device before the switch is made, and every commit and checkpoint has a barrier
/// before what it writes: no durable map names blocks whose bytes are not durable (the rule that "unwritten becomes
/// written" lives by). A crash leaves the old place or the new, block by block; reserved blocks come free again. The old
/// blocks become free when the switch is durable and nobody can reach them any more. Between steps the inode is
/// anybody's: what became of its map is looked at anew.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal

/// What became of a relocation.
public struct RelocationReport: Equatable, Sendable {
  public var movedBlocks: UInt64 = 0
  /// Left where they are because of a request or a lease, by background work alone.
  public var skippedBlocks: UInt64 = 0
  /// One of those requests.
  public var refusal: FSError.Refusal?
  /// Left where they are because there was no place.
  public var unplacedBlocks: UInt64 = 0

  public init() {}
}

extension Store {
  /// Blocks copied under one hold of the inode's lock: 2 MiB, a millisecond or two for who waits meanwhile.
  static let relocationStep: UInt64 = 512
  /// Extents switched by one transaction.
  private static let switchStep = 4

  /// Moves what `inode` has mapped in the file blocks `blocks`, and in the image blocks `source` there, to where
  /// `placement` says. An `actor` in the background leaves alone what a request holds; another is refused or waits.
  /// Of an actor in the foreground all of it is judged before anything moves: what waits, waits once.
  /// - Parameter going: asked between steps; false ends it with `.interrupted`.
  /// - Throws: `.sealed`, `.mustWait`, `.recallInFlight` (row 15), `.leased`, `.stale`, `.invalid` for what is no regular file,
  ///   device errors. Blocks moved before that stay where they are then: beginning again goes on.
  public func relocate(
    _ inode: InodeNumber, _ blocks: BlockRange, from source: BlockRange = Placement.everywhere,
    to placement: Placement, by actor: Actor, while going: () -> Bool = { true }
  ) throws(FSError) -> RelocationReport {
    var report = RelocationReport()
    let islands = try islands(of: inode, blocks, in: source)
    if !actor.background { try authorizeMoves(islands, of: inode, by: actor, while: going) }
    for island in islands {
      let parts = actor.background ? movable(island, of: inode, &report) : [island]
      for var part in parts {
        while !part.isEmpty {
          guard let reservation = try reserve(for: part, of: inode, placement) else {
            report.unplacedBlocks += part.count
            break
          }
          let now = BlockRange(start: part.start, count: reservation.range.count)
          try move(now, of: inode, from: source, into: reservation, by: actor, while: going, &report)
          part = BlockRange(from: now.end, to: part.end)
        }
      }
    }
    return report
  }

  /// A place for a part: where its unit belongs by the file's extent-size hint, when there is such a run.
  private func reserve(
    for part: BlockRange, of inode: InodeNumber, _ placement: Placement
  ) throws(FSError) -> Reservation? {
    let unit = try hintedAlignment(of: inode, at: part.start)
    if unit > placement.alignment {
      var hinted = placement
      hinted.alignment = unit
      if let found = try reserve(part.count, atLeast: part.count, hinted) { return found }
    }
    return try reserveReclaiming(part.count, atLeast: placement.isWhole ? part.count : 1, placement)
  }

  /// The file blocks of a background move that no request holds. Only a first look: the gate is asked at each step.
  func movable(
    _ island: BlockRange, of inode: InodeNumber, _ report: inout RelocationReport
  ) -> [BlockRange] {
    let change = MapChange(kind: .relocate, blocks: island)
    guard let refusal = seals.conflict(change, inode: inode, by: .daemon) else {
      if (try? checkUnleased(inode)) != nil { return [island] }
      report.skippedBlocks += island.count
      return []
    }
    let held = seals.obstacles(to: change, inode: inode, by: .daemon).map { $0.request.scope.blocks ?? island }
    let free = island.subtracting(held)
    report.skippedBlocks += island.count - free.reduce(0) { $0 + $1.count }
    report.refusal = report.refusal ?? refusal
    return free
  }

  /// The runs of `blocks` that are mapped, each one behind the other, to image blocks of `source`.
  private func islands(
    of inode: InodeNumber, _ blocks: BlockRange, in source: BlockRange
  ) throws(FSError) -> [BlockRange] {
    var islands: [BlockRange] = []
    try inodeLocks.shared(inode) { () throws(FSError) in
      guard try reading({ () throws(FSError) in try self.inode(inode).isRegular }) else { throw .invalid(.argument) }
      try walk(inode, blocks) { piece in
        guard case .mapped(let extent) = piece, let part = extent.part(in: blocks, from: source) else { return true }
        if let last = islands.last, last.end == part.start {
          islands[islands.count - 1].count += part.count
        } else {
          islands.append(part)
        }
        return true
      }
    }
    return islands
  }

  // MARK: Moving

  /// Moves file blocks into a reservation of as many blocks. What is not used of it is given back, however this ends.
  func move(
    _ blocks: BlockRange, of inode: InodeNumber, from source: BlockRange = Placement.everywhere,
    fillingHoles: Bool = false,
    into reservation: Reservation, by actor: Actor, while going: () -> Bool, _ report: inout RelocationReport
  ) throws(FSError) {
    var target = Target(file: blocks.start, image: reservation.range.start, reservation: reservation)
    defer { giveBack(target.reservation) }
    var block = blocks.start
    while block < blocks.end {
      guard going() else { throw .interrupted }
      let step = BlockRange(from: block, to: min(blocks.end, block + Store.relocationStep))
      do throws(FSError) {
        report.movedBlocks += try moveStep(step, of: inode, from: source, fillingHoles: fillingHoles, &target, actor)
      } catch {
        switch error {
        case .sealed(let refusal) where actor.background: report.refusal = report.refusal ?? refusal
        case .leased where actor.background: break
        case .leased:
          // A lease comes before its request: that is waited for, or the lease's end.
          try authorizeMoves([step], of: inode, by: actor, while: going)
          continue
        default: throw error
        }
        report.skippedBlocks += step.count
      }
      block = step.end
    }
  }

  // MARK: Leases

  /// A process that has a lease but no request any more may still be storing into the blocks by a mapping: what it stores
  /// behind a copy would be lost. Not of a holder that lost its request against its will, or ended it itself by asking
  /// for the move (`surrenderedLeases`).
  /// - Throws: `.leased`.
  private func checkUnleased(_ inode: InodeNumber) throws(FSError) {
    if try device.isLeased(inode), !treeLock.withLock({ surrenderedLeases.contains(inode) }) { throw .leased }
  }

  /// What waits, waits once, and a refusal is whole. Nothing moves; requests of the actor's own end (row 26).
  /// - Throws: `.leased` when a lease stays: who has just returned a layout is about to close the image.
  func authorizeMoves(
    _ ranges: [BlockRange], of inode: InodeNumber, by actor: Actor, while going: () -> Bool = { true }
  ) throws(FSError) {
    guard let first = ranges.first else { return }
    var attempts = Store.leaseAttempts
    while true {
      let isOwn = actor.handle.map { seals.layoutHandles(of: inode).contains($0) } ?? false
      let hasBlocks = try inodeLocks.exclusive(inode) { () throws(FSError) in
        _ = try seals.authorize(
          MapChange(kind: .relocate, blocks: first),
          with: ranges.dropFirst().map { MapChange(kind: .relocate, blocks: $0) }, inode: inode, by: actor)
        return try reading { () throws(FSError) in try self.inode(inode).blocks > 0 }
      }
      // Row 26: its layout has ended with this.
      if isOwn { noteSurrender(of: inode) }
      guard hasBlocks else { return }
      do throws(FSError) {
        return try checkUnleased(inode)
      } catch {
        guard case .leased = error, attempts > 0, going() else { throw error }
      }
      attempts -= 1
      usleep(1000)
    }
  }

  /// A millisecond each.
  private static let leaseAttempts = 20

  /// Where file blocks go: block `file` to image block `image`, the following ones behind it.
  struct Target {
    var file: FileBlock
    var image: BlockNumber
    var reservation: Reservation

    func physical(_ block: FileBlock) -> BlockNumber { image + (block - file) }
  }

  /// Part of an extent, or of a hole that gets blocks.
  private struct MovingPart {
    var blocks: BlockRange
    /// nil: a hole.
    var physical: BlockNumber?
    var flags: ExtentRecord.Flags
  }

  private func moveStep(
    _ step: BlockRange, of inode: InodeNumber, from source: BlockRange, fillingHoles: Bool, _ target: inout Target,
    _ actor: Actor
  ) throws(FSError) -> UInt64 {
    try inodeLocks.exclusive(inode) { () throws(FSError) in
      try reading { () throws(FSError) in
        try checkWritable()
        guard try self.inode(inode).isRegular else { throw .invalid(.argument) }
      }
      let parts = try movingParts(of: inode, step, from: source, fillingHoles)
      guard let first = parts.first else { return 0 }
      let changes = parts.map {
        $0.physical == nil ? MapChange.fill($0.blocks) : MapChange(kind: .relocate, blocks: $0.blocks)
      }
      let permit = try seals.authorize(changes[0], with: Array(changes.dropFirst()), inode: inode, by: actor)
      if parts.contains(where: { $0.physical != nil }) { try checkUnleased(inode) }
      try copy(parts, of: inode, first.blocks.start, target)
      var done = 0
      while done < parts.count {
        let now = parts[done..<min(done + Store.switchStep, parts.count)]
        try switchOver(now, of: inode, &target, permit)
        done += now.count
      }
      return parts.reduce(0) { $0 + ($1.physical == nil ? 0 : $1.blocks.count) }
    }
  }

  private func movingParts(
    of inode: InodeNumber, _ step: BlockRange, from source: BlockRange, _ fillingHoles: Bool
  ) throws(FSError) -> [MovingPart] {
    var parts: [MovingPart] = []
    var block = step.start
    try walk(inode, step) { piece in
      let end = min(piece.end, step.end)
      switch piece {
      case .hole:
        if fillingHoles {
          parts.append(
            MovingPart(blocks: BlockRange(from: block, to: end), physical: nil, flags: [.unwritten]))
        }
      case .mapped(let extent):
        if let part = extent.part(in: step, from: source) {
          parts.append(MovingPart(blocks: part, physical: extent.physical(part.start), flags: extent.record.flags))
        }
      }
      block = end
      return true
    }
    return parts
  }

  /// Copies what is written to its new place: as many writes as there are runs of it.
  private func copy(
    _ parts: [MovingPart], of inode: InodeNumber, _ start: FileBlock, _ target: Target
  ) throws(FSError) {
    let written = parts.filter { $0.physical != nil && $0.flags.isEmpty }
    guard let last = written.last else { return }
    let buffer = AlignedBuffer(byteCount: Int((last.blocks.end - start) << UInt64(Block.shift)))
    func bytes(_ blocks: BlockRange) -> UnsafeMutableRawBufferPointer {
      let from = Int((blocks.start - start) << UInt64(Block.shift))
      return UnsafeMutableRawBufferPointer(
        rebasing: buffer.bytes[from..<from + Int(blocks.count << UInt64(Block.shift))])
    }
    var runs: [BlockRange] = []
    for part in written {
      guard let physical = part.physical else { continue }
      try readData(into: bytes(part.blocks), at: physical << UInt64(Block.shift), of: inode)
      if let run = runs.last, run.end == part.blocks.start {
        runs[runs.count - 1].count += part.blocks.count
      } else {
        runs.append(part.blocks)
      }
    }
    for run in runs {
      try writeData(
        UnsafeRawBufferPointer(bytes(run)), at: target.physical(run.start) << UInt64(Block.shift), of: inode)
    }
  }

  /// One transaction: these parts are where they were copied to, their old blocks in quarantine.
  private func switchOver(
    _ parts: ArraySlice<MovingPart>, of inode: InodeNumber, _ target: inout Target, _ permit: borrowing MapChangePermit
  ) throws(FSError) {
    let keys = Store.switchStep * (Store.keysPerExtentEdit + Store.keysPerConsume + 1) + 1
    target = try transaction(keys: keys, .growing) { () throws(FSError) in
      var record = try self.inode(inode)
      var next = target
      for part in parts {
        let place = BlockRange(start: target.physical(part.blocks.start), count: part.blocks.count)
        try consume(place, of: &next.reservation)
        if part.physical == nil {
          record.blocks &+= part.blocks.count
        } else {
          _ = try removeExtents(of: inode, from: part.blocks.start, to: part.blocks.end, limit: 1, permit)
        }
        try insertExtent(
          of: inode,
          MappedExtent(
            start: part.blocks.start,
            record: ExtentRecord(physical: place.start, count: UInt32(place.count), flags: part.flags)), permit)
      }
      touchMap(&record)
      try putInode(inode, record)
      return next
    }
  }
}

extension MappedExtent {
  /// The part in these file blocks that lies in these image blocks; nil when none does, or it is not this file's alone.
  fileprivate func part(in blocks: BlockRange, from source: BlockRange) -> BlockRange? {
    guard !record.flags.contains(.shared) else { return nil }
    let image = BlockRange(start: record.physical, count: count).intersection(source)
    guard !image.isEmpty else { return nil }
    let part = BlockRange(start: start + (image.start - record.physical), count: image.count).intersection(blocks)
    return part.isEmpty ? nil : part
  }
}
