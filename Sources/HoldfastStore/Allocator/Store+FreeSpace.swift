/// Free space: records by first block, and the same by length, both in the tree. Adjacent free extents are always
/// merged. Everything here runs inside a transaction.
///
/// Placement: behind the file's last extent when that is free; long runs on 2 MiB borders, because direct mappings and
/// registrations want huge pages; else the shortest run that fits.

import HoldfastBase
import HoldfastFormat

extension Store {
  /// Blocks of a huge page: runs at least this long are aligned to it.
  static let hugeBlocks: UInt64 = 512

  /// Records an allocation or a release may touch: two neighbours and itself, each by start and by length.
  static let keysPerAllocation = 8

  /// Throws `.noSpace` unless `count` blocks can be given to data.
  func checkFree(_ count: UInt64) throws(FSError) {
    guard volume.freeBlocks >= count, volume.freeBlocks - count >= metadataReserve else { throw .noSpace }
  }

  /// Takes up to `want` contiguous blocks, at `goal` if that is free. At least one: the caller has checked the total.
  func allocate(want: UInt64, goal: BlockNumber?) throws(FSError) -> BlockRange {
    if let goal, let run = try freeRun(containing: goal) {
      let taken = BlockRange(start: goal, count: min(want, run.end - goal))
      try take(taken, from: run)
      return taken
    }
    if want >= Store.hugeBlocks, let run = try freeRun(atLeast: want + Store.hugeBlocks - 1) {
      let aligned = (run.start + Store.hugeBlocks - 1) / Store.hugeBlocks * Store.hugeBlocks
      let taken = BlockRange(start: aligned, count: want)
      try take(taken, from: run)
      return taken
    }
    var found = try freeRun(atLeast: want)
    if found == nil { found = try longestFreeRun() }
    guard let run = found else { throw .noSpace }
    let taken = BlockRange(start: run.start, count: min(want, run.count))
    try take(taken, from: run)
    return taken
  }

  /// A word of a chunk's bitmap: what an aged volume still finds in one piece.
  static let smallestChunkBlocks: UInt64 = 64

  /// A new metadata chunk, of the usual length or as long as the longest free run; false when that is too short.
  func addChunk(atLeast count: UInt64) throws(FSError) -> Bool {
    var found = try freeRun(atLeast: chunkBlocks)
    if found == nil { found = try longestFreeRun() }
    guard let run = found, run.count >= count else { return false }
    let usable =
      run.count < Store.smallestChunkBlocks
      ? run.count : run.count / Store.smallestChunkBlocks * Store.smallestChunkBlocks
    let chunk = BlockRange(start: run.start, count: min(usable, chunkBlocks))
    try checkRecorded(run)
    // The chunk is usable before its records are in the tree: they may need its nodes.
    chunks.add(chunk)
    try carve(chunk, from: run)
    try putLength(.chunk(chunk.start), chunk.count)
    return true
  }

  /// Returns blocks to free space, merged with their neighbours.
  func addFree(_ range: BlockRange) throws(FSError) {
    var merged = try checked(range)
    if let before = try freeRecord(tree.last(upTo: .free(range.end - 1))), before.end >= range.start {
      // Free twice: only a damaged image has that.
      guard before.end == range.start else { throw .corrupt(structure: .freeRecord, block: before.start) }
      try removeFree(before)
      merged = BlockRange(start: before.start, count: before.count + merged.count)
    }
    if let after = try freeRecord(tree.first(from: .free(range.end))), after.start == range.end {
      try removeFree(after)
      merged.count += after.count
    }
    try putFree(merged)
  }

  private func freeRun(containing block: BlockNumber) throws(FSError) -> BlockRange? {
    guard let run = try freeRecord(tree.last(upTo: .free(block))), run.contains(block) else { return nil }
    return run
  }

  /// The shortest run of at least `count` blocks, the lowest of these.
  private func freeRun(atLeast count: UInt64) throws(FSError) -> BlockRange? {
    let from = Key.freeByLength(BlockRange(start: 0, count: count))
    guard let (key, _) = try tree.first(from: from), key.space == .freeByLength else { return nil }
    return try checked(BlockRange(start: key.low, count: key.object))
  }

  func longestFreeRun() throws(FSError) -> BlockRange? {
    let end = Key.freeByLength(BlockRange(start: .max, count: Key.maximumObject))
    return try indexedRun(tree.last(upTo: end))?.run
  }

  /// The run an entry of the by-length index stands for; nil for what is none.
  func indexedRun(
    _ entry: (key: Key, value: UnsafeRawBufferPointer)?
  ) throws(FSError) -> (key: Key, run: BlockRange)? {
    guard let key = entry?.key, key.space == .freeByLength else { return nil }
    return (key, try checked(BlockRange(start: key.low, count: key.object)))
  }

  /// The free run that holds `block`, else the next one behind it.
  func firstFreeRun(from block: BlockNumber) throws(FSError) -> BlockRange? {
    if let run = try freeRun(containing: block) { return run }
    return try freeRecord(tree.first(from: .free(block)))
  }

  /// The free run nearest to the volume's end.
  func lastFreeRun() throws(FSError) -> BlockRange? {
    try freeRecord(tree.last(upTo: .free(Key.maximumObject)))
  }

  /// Throws unless the run lies in the volume's shared space and holds no metadata; after this its `end` cannot
  /// overflow.
  private func checked(_ run: BlockRange) throws(FSError) -> BlockRange {
    guard run.count > 0, run.start >= volume.dataStart, run.start < volume.totalBlocks,
      run.count <= volume.totalBlocks - run.start, !chunks.overlaps(run)
    else { throw .corrupt(structure: .freeRecord, block: run.start) }
    return run
  }

  private func freeRecord(_ record: (key: Key, value: UnsafeRawBufferPointer)?) throws(FSError) -> BlockRange? {
    guard let record, record.key.space == .free else { return nil }
    guard let count = LengthRecord.decode(record.value) else {
      throw .corrupt(structure: .freeRecord, block: record.key.object)
    }
    return try checked(BlockRange(start: record.key.object, count: count))
  }

  func take(_ range: BlockRange, from run: BlockRange) throws(FSError) {
    try checkRecorded(run)
    try carve(range, from: run)
  }

  /// Throws unless the run is a free extent: an index entry without its record must not hand out blocks.
  private func checkRecorded(_ run: BlockRange) throws(FSError) {
    guard let stored = try freeRecord(tree.last(upTo: .free(run.start))), stored == run else {
      throw .corrupt(structure: .freeRecord, block: run.start)
    }
  }

  /// Takes `range` out of the free extent `run` that holds it.
  private func carve(_ range: BlockRange, from run: BlockRange) throws(FSError) {
    try removeFree(run)
    if range.start > run.start { try putFree(BlockRange(from: run.start, to: range.start)) }
    if range.end < run.end { try putFree(BlockRange(from: range.end, to: run.end)) }
  }

  private func removeFree(_ range: BlockRange) throws(FSError) {
    try delete(.free(range.start))
    try delete(.freeByLength(range))
  }

  func putFree(_ range: BlockRange) throws(FSError) {
    try putLength(.free(range.start), range.count)
    try put(.freeByLength(range), UnsafeRawBufferPointer(start: nil, count: 0))
  }

  func putLength(_ key: Key, _ count: UInt64) throws(FSError) {
    var little = count.littleEndian
    try putValue(key, &little)
  }

  private func putValue(_ key: Key, _ value: inout UInt64) throws(FSError) {
    let result = withUnsafeBytes(of: &value) { bytes -> Result<Void, FSError> in
      do throws(FSError) {
        return .success(try put(key, bytes))
      } catch { return .failure(error) }
    }
    try result.get()
  }
}
