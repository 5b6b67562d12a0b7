/// Making a long free run on a volume that has none: the window of the image that is cheapest to empty is emptied.
///
/// A bounded search: windows at a few thousand places, of those the freest few, of those the ones in which nothing lies
/// that cannot move (metadata, blocks of requests, quarantine that somebody holds). What is free in a window is
/// reserved first, so that nobody moves in while others move out. Files moved out are the daemon's own work (row 16).

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Windows whose free blocks are counted.
  private static let windowLimit: UInt64 = 4096
  /// Windows looked at closely, and windows that are tried.
  private static let candidateLimit = 8
  private static let attemptLimit = 2
  /// Extents moved out of one window: more take longer than anybody waits.
  private static let extentLimit = 65536

  private struct Window {
    var range: BlockRange
    var free: UInt64
    var runs: [MappedRun] = []
    var isBlocked = false
  }

  /// A reservation of `count` blocks that begins at a multiple of `alignment`; nil, and why, when none can be made.
  func makeRun(
    of count: UInt64, _ alignment: UInt64, while going: () -> Bool, _ report: inout ContiguityReport
  ) throws(FSError) -> Reservation? {
    let spare = treeLock.withLock { volume.freeBlocks - min(volume.freeBlocks, metadataReserve) }
    guard spare >= count else {
      report.obstacles.insert(.space)
      return nil
    }
    var windows = try freestWindows(of: count, alignment, &report)
    try findRuns(in: &windows, &report)
    var attempts = 0
    for window in windows.sorted(by: { $0.free > $1.free }) where !window.isBlocked {
      // What moves out needs a place outside.
      guard spare - min(spare, window.free) >= count - window.free else {
        report.obstacles.insert(.space)
        continue
      }
      guard attempts < Store.attemptLimit else { break }
      attempts += 1
      if let made = try evacuate(window, while: going, &report) { return made }
    }
    return nil
  }

  /// The windows with most free blocks that hold no metadata.
  private func freestWindows(
    of count: UInt64, _ alignment: UInt64, _ report: inout ContiguityReport
  ) throws(FSError) -> [Window] {
    let (first, end) = treeLock.withLock { (volume.dataStart, volume.totalBlocks) }
    let start = (first + alignment - 1) / alignment * alignment
    guard start < end, end - start >= count else {
      report.obstacles.insert(.space)
      return []
    }
    let wanted = max((end - start) / Store.windowLimit, count / 8, 1)
    let stride = (wanted + alignment - 1) / alignment * alignment
    var windows: [Window] = []
    var at = start
    while at + count <= end {
      let range = BlockRange(start: at, count: count)
      if treeLock.withLock({ chunks.overlaps(range) }) {
        report.obstacles.insert(.metadata)
      } else {
        windows.append(Window(range: range, free: 0))
      }
      at += stride
    }
    try countFree(in: &windows)
    return Array(windows.sorted { $0.free > $1.free }.prefix(Store.candidateLimit))
  }

  private func countFree(in windows: inout [Window]) throws(FSError) {
    for index in windows.indices {
      let range = windows[index].range
      var at = range.start
      while at < range.end {
        // A step under one hold of the tree lock.
        let (free, next) = try reading { () throws(FSError) -> (UInt64, BlockNumber) in
          var free: UInt64 = 0
          var at = at
          for _ in 0..<1024 where at < range.end {
            guard let run = try firstFreeRun(from: at), run.start < range.end else { return (free, range.end) }
            free += run.intersection(range).count
            at = run.end
          }
          return (free, at)
        }
        windows[index].free += free
        at = next
      }
    }
  }

  /// What lies in the windows; those with something that stays are blocked.
  private func findRuns(in windows: inout [Window], _ report: inout ContiguityReport) throws(FSError) {
    var found = windows
    var seen = report
    guard let low = found.map(\.range.start).min(), let high = found.map(\.range.end).max() else { return }
    let inquiry = HolderInquiry(self)
    try mappedRuns(overlapping: BlockRange(from: low, to: high)) { run in
      for index in found.indices where !found[index].isBlocked && run.image.overlaps(found[index].range) {
        let part = run.image.intersection(found[index].range)
        let blocks = BlockRange(start: run.blocks.start + (part.start - run.physical), count: part.count)
        let change = MapChange(kind: .relocate, blocks: blocks)
        if let refusal = seals.conflict(change, inode: run.inode, by: .daemon) {
          seen.obstacles.insert(.held)
          seen.refusal = seen.refusal ?? refusal
          found[index].isBlocked = true
        } else if inquiry.isLeased(run.inode) {
          seen.obstacles.insert(.held)
          found[index].isBlocked = true
        } else {
          found[index].runs.append(MappedRun(inode: run.inode, blocks: blocks, physical: part.start))
          if found[index].runs.count > Store.extentLimit { found[index].isBlocked = true }
        }
      }
      return true
    }
    windows = found
    report = seen
  }

  // MARK: Emptying

  private func evacuate(
    _ window: Window, while going: () -> Bool, _ report: inout ContiguityReport
  ) throws(FSError) -> Reservation? {
    var held: [Reservation] = []
    // Given back however this ends, unless they became the one that is returned.
    defer { for reservation in held { giveBack(reservation) } }
    try holdFree(in: window.range, &held)
    for run in window.runs {
      guard going() else { throw .interrupted }
      do throws(FSError) {
        var moved = try relocate(
          run.inode, run.blocks, from: window.range, to: Placement(avoiding: window.range, isWhole: true),
          by: .daemon, while: going)
        report.evacuatedBlocks += moved.movedBlocks
        if moved.unplacedBlocks > 0 {
          moved = try relocate(
            run.inode, run.blocks, from: window.range, to: Placement(avoiding: window.range), by: .daemon, while: going)
          report.evacuatedBlocks += moved.movedBlocks
        }
        if moved.unplacedBlocks > 0 { report.obstacles.insert(.space) }
        report.refusal = report.refusal ?? moved.refusal
        if moved.skippedBlocks > 0 { report.obstacles.insert(.held) }
      } catch .stale {
        // The file is gone, and its blocks are in quarantine.
      }
    }
    try syncAll()
    try releaseDurableQuarantine()
    try holdFree(in: window.range, &held)
    guard held.reduce(0, { $0 + $1.range.count }) == window.range.count else {
      if treeLock.withLock({ releaseQueue.hasHeld }) { report.obstacles.insert(.quarantine) }
      return nil
    }
    return try merge(&held)
  }

  /// Reserves everything that is free in a window.
  private func holdFree(in window: BlockRange, _ held: inout [Reservation]) throws(FSError) {
    while let part = try reserve(window.count, atLeast: 1, Placement(within: window)) { held.append(part) }
  }

  /// Reservations that lie one behind the other become one.
  private func merge(_ held: inout [Reservation]) throws(FSError) -> Reservation {
    held.sort { $0.range.start < $1.range.start }
    while held.count > 1 {
      let joined = try join(held[held.count - 2], held[held.count - 1])
      held.removeLast(2)
      held.append(joined)
    }
    return held.removeLast()
  }
}
