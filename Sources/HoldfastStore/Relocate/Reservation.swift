/// Blocks taken from free space for data that is being copied: nobody's yet, and nobody else's.
///
/// On disk they are a quarantine record of no inode, put by the transaction that takes them. So a crash before a map
/// names them needs no undo: recovery finds blocks that left free space and belong to no file, and frees them as it
/// does all quarantine. In memory they are *not* in the release queue until they are given back, and so stay ours.
///
/// Invariant: while `range` is not empty, the tree has the record (range.start → range.count, inode 0).

import HoldfastBase
import HoldfastFormat

struct Reservation {
  fileprivate(set) var range: BlockRange
}

extension Store {
  /// Free runs looked at for one reservation, under one hold of the tree lock: about a millisecond.
  private static let searchLimit = 1024

  /// Takes a run of `count` blocks where `placement` says, or when there is none the longest of at least `minimum`; nil
  /// when that does not exist either. The shortest run that fits is taken, so that long ones stay long; in a window
  /// (`placement.within`) the lowest.
  func reserve(_ count: UInt64, atLeast minimum: UInt64, _ placement: Placement) throws(FSError) -> Reservation? {
    precondition(minimum > 0 && minimum <= count)
    return try transaction(keys: Store.keysPerAllocation + 1, .growing) { () throws(FSError) -> Reservation? in
      let spare = volume.freeBlocks - min(volume.freeBlocks, metadataReserve)
      guard spare >= minimum, let found = try freePlace(min(count, spare), minimum, placement) else { return nil }
      try take(found.place, from: found.run)
      try putQuarantine(found.place, of: 0)
      return Reservation(range: found.place)
    }
  }

  /// Like `reserve`; before it gives up, what waits for a commit is made free.
  func reserveReclaiming(
    _ count: UInt64, atLeast minimum: UInt64, _ placement: Placement
  ) throws(FSError) -> Reservation? {
    if let found = try reserve(count, atLeast: minimum, placement) { return found }
    guard hasReclaimableSpace else { return nil }
    try reclaimSpace()
    return try reserve(count, atLeast: minimum, placement)
  }

  /// What is left of a reservation becomes free, with the next quarantine that does. Cannot fail: the record is there.
  func giveBack(_ reservation: Reservation) {
    guard !reservation.range.isEmpty else { return }
    treeLock.withLock { releaseQueue.append(reservation.range, of: 0, ticket: 0) }
  }

  /// The first blocks of a reservation, up to `end`, leave it: `used` go to a file, those before are given back. Inside
  /// the transaction that maps them.
  func consume(_ used: BlockRange, of reservation: inout Reservation) throws(FSError) {
    let range = reservation.range
    precondition(used.start >= range.start && used.end <= range.end)
    try delete(.quarantine(range.start))
    let gap = BlockRange(from: range.start, to: used.start)
    if !gap.isEmpty {
      try putQuarantine(gap, of: 0)
      releaseQueue.append(gap, of: 0, ticket: 0)
    }
    reservation.range = BlockRange(from: used.end, to: range.end)
    if !reservation.range.isEmpty { try putQuarantine(reservation.range, of: 0) }
  }

  /// Two reservations, one behind the other, become one.
  func join(_ first: Reservation, _ second: Reservation) throws(FSError) -> Reservation {
    precondition(first.range.end == second.range.start)
    return try transaction(keys: 2, .shrinking) { () throws(FSError) in
      try delete(.quarantine(second.range.start))
      let joined = BlockRange(from: first.range.start, to: second.range.end)
      try putQuarantine(joined, of: 0)
      return Reservation(range: joined)
    }
  }

  /// Keys `consume` may touch.
  static let keysPerConsume = 3

  // MARK: Searching

  typealias Found = (run: BlockRange, place: BlockRange)

  /// A free run and its part that fits. At least `minimum` blocks long.
  func freePlace(
    _ want: UInt64, _ minimum: UInt64, _ placement: Placement
  ) throws(FSError) -> Found? {
    if placement.within != Placement.everywhere { return try lowestPlace(want, minimum, placement) }
    if let found = try shortestPlace(want, placement, from: want) { return found }
    // Of runs so long every one has room for an aligned part.
    if placement.alignment > 1, let found = try shortestPlace(want, placement, from: want + placement.alignment - 1) {
      return found
    }
    return minimum < want ? try longestPlace(want, minimum, placement) : nil
  }

  /// By length, upward from `length`: the first run with room for all.
  private func shortestPlace(
    _ want: UInt64, _ placement: Placement, from length: UInt64
  ) throws(FSError) -> Found? {
    var key = Key.freeByLength(BlockRange(start: 0, count: length))
    for _ in 0..<Store.searchLimit {
      guard let (found, run) = try indexedRun(tree.first(from: key)) else { return nil }
      if let place = placement.place(in: run, want: want), place.count == want { return (run, place) }
      key = found.successor
    }
    return nil
  }

  /// By length, downward: the run with most room.
  private func longestPlace(
    _ want: UInt64, _ minimum: UInt64, _ placement: Placement
  ) throws(FSError) -> Found? {
    var key = Key.freeByLength(BlockRange(start: .max, count: Key.maximumObject))
    var best: Found?
    for _ in 0..<Store.searchLimit {
      guard let (found, run) = try indexedRun(tree.last(upTo: key)), run.count > best?.place.count ?? 0 else { break }
      if let place = placement.place(in: run, want: want), place.count >= minimum,
        place.count > best?.place.count ?? 0
      {
        best = (run, place)
      }
      guard found.low > 0 else { break }
      key = Key(high: found.high, low: found.low - 1)
    }
    return best
  }

  /// By place: the lowest run with room for all, else the longest of those looked at.
  private func lowestPlace(_ want: UInt64, _ minimum: UInt64, _ placement: Placement) throws(FSError) -> Found? {
    var best: Found?
    var run = try firstFreeRun(from: placement.within.start)
    for _ in 0..<Store.searchLimit {
      guard let free = run, free.start < placement.within.end else { break }
      if let place = placement.place(in: free, want: want), place.count >= minimum,
        place.count > best?.place.count ?? 0
      {
        best = (free, place)
        if place.count == want { break }
      }
      run = try firstFreeRun(from: free.end)
    }
    return best
  }
}
