/// What lies behind an end to be: extents, metadata, quarantine; and what of it cannot move.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

struct TailSurvey {
  /// In the order of inodes.
  var obstacles: [ResizeObstacle] = []
  var extentBlocks: UInt64 = 0
  var chunkBlocks: UInt64 = 0
  /// Fewest blocks that hold what is used.
  var smallestBySpace: UInt64 = 0
  /// Fewest blocks this volume can have at all.
  var least: UInt64 = 0

  /// Fewest blocks for which nothing that was found is in the way.
  var smallest: UInt64 { obstacles.reduce(max(smallestBySpace, least)) { max($0, $1.end) } }
}

extension Store {
  /// Chunks of free space that a shrink leaves: two are kept from data as ever, two more for its own copies of nodes.
  private static let chunksLeftFree: UInt64 = 4

  func surveyTail(
    from start: BlockNumber, _ actor: Actor, _ control: ResizeControl, leased: Set<InodeNumber> = []
  ) throws(FSError) -> TailSurvey {
    var survey = TailSurvey()
    treeLock.withLock {
      let free = volume.freeBlocks + releaseQueue.blocks + (enclosure?.blocks ?? 0)
      let kept = Store.chunksLeftFree * chunkBlocks
      survey.least = volume.leastTotalBlocks
      survey.smallestBySpace = volume.totalBlocks - (free > kept ? free - kept : 0)
      survey.chunkBlocks = chunks.usedBlocks(from: start)
    }
    var inquiry = HolderInquiry(self)
    try mappedRuns(overlapping: BlockRange(from: start, to: Placement.everywhere.end)) { (run) throws(FSError) in
      try control.check()
      let tail = run.cut(from: start)
      survey.extentBlocks += tail.blocks.count
      survey.obstacles += obstacles(of: tail, actor, &inquiry, leased)
      return true
    }
    survey.obstacles = merged(survey.obstacles + heldQuarantine(from: start))
    return survey
  }

  // MARK: Obstacles

  /// Requests that stay (the gate's own word for which those are), and holders without one.
  private func obstacles(
    of run: MappedRun, _ actor: Actor, _ inquiry: inout HolderInquiry, _ leased: Set<InodeNumber>
  ) -> [ResizeObstacle] {
    let (inode, blocks) = (run.inode, run.blocks)
    func obstacle(_ part: BlockRange, _ reason: ResizeObstacle.Reason) -> ResizeObstacle {
      ResizeObstacle(
        inode: inode, byteOffset: part.start << UInt64(Block.shift), byteCount: part.count << UInt64(Block.shift),
        end: run.physical + (part.end - blocks.start), reason: reason)
    }
    let met = seals.obstacles(to: MapChange(kind: .relocate, blocks: blocks), inode: inode, by: actor)
    // Background work recalls nobody (row 16).
    let standing = actor.background ? met : met.filter { !$0.request.isBreakable }
    if !standing.isEmpty {
      return standing.map { obstacle($0.request.scope.blocks?.intersection(blocks) ?? blocks, .request($0)) }
    }
    // Who has a breakable one as well is asked to let go; unless that was in vain.
    guard met.isEmpty || leased.contains(inode), inquiry.isHeld(inode) else { return [] }
    return [obstacle(blocks, holder(of: inode, inquiry, inQuarantine: false))]
  }

  private func holder(
    of inode: InodeNumber, _ inquiry: HolderInquiry, inQuarantine: Bool
  ) -> ResizeObstacle.Reason {
    .holder(
      isLeased: inquiry.isLeased(inode), processes: seals.fencedProcesses[inode, default: []].sorted(),
      inQuarantine: inQuarantine)
  }

  private func heldQuarantine(from start: BlockNumber) -> [ResizeObstacle] {
    let held = treeLock.withLock { releaseQueue.heldRanges.filter { $0.range.end > start } }
    if held.isEmpty { return [] }
    let inquiry = HolderInquiry(self)
    return held.map { entry in
      ResizeObstacle(
        inode: entry.inode, byteOffset: 0, byteCount: 0, end: entry.range.end,
        reason: holder(of: entry.inode, inquiry, inQuarantine: true))
    }
  }

  /// One obstacle for all that one request, or one holder, keeps of a file.
  private func merged(_ obstacles: [ResizeObstacle]) -> [ResizeObstacle] {
    var result: [ResizeObstacle] = []
    var places: [ObstacleIdentity: Int] = [:]
    for obstacle in obstacles {
      guard let place = places[ObstacleIdentity(obstacle)] else {
        places[ObstacleIdentity(obstacle)] = result.count
        result.append(obstacle)
        continue
      }
      let end = max(result[place].byteOffset + result[place].byteCount, obstacle.byteOffset + obstacle.byteCount)
      result[place].byteOffset = min(result[place].byteOffset, obstacle.byteOffset)
      result[place].byteCount = end - result[place].byteOffset
      result[place].end = max(result[place].end, obstacle.end)
    }
    return result
  }
}

private struct ObstacleIdentity: Hashable {
  let inode: InodeNumber
  /// nil: of a holder without one.
  let request: UInt64?
  let inQuarantine: Bool

  init(_ obstacle: ResizeObstacle) {
    inode = obstacle.inode
    switch obstacle.reason {
    case .request(let info): (request, inQuarantine) = (info.id, false)
    case .holder(_, _, let inQuarantine): (request, self.inQuarantine) = (nil, inQuarantine)
    }
  }
}

extension MappedRun {
  /// What of it lies in blocks from `start` on, where it reaches.
  func cut(from start: BlockNumber) -> MappedRun {
    let skipped = start > physical ? min(start - physical, blocks.count) : 0
    return MappedRun(
      inode: inode, blocks: BlockRange(from: blocks.start + skipped, to: blocks.end), physical: physical + skipped)
  }
}
