/// The journal: replays it in memory and looks for damage behind its end.
///
/// The ring is read once, turned so that the first record not in the checkpoint lies at the buffer's start:
/// no record of the live chain wraps then, because the chain is never longer than the ring.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct JournalCheck {
  /// Net effect of the replayed records.
  private(set) var overlay = Overlay()
  private(set) var records: UInt64 = 0
  /// Records may be missing: something behind the last one replayed is malformed, misplaced or cannot be read.
  private(set) var isDamaged = false
  /// Blocks of the ring that cannot be read, positions within it.
  private(set) var unreadable: [UInt64] = []
  /// Sequence of the record that would come next.
  private(set) var expected: UInt64
  /// Where it would stand: position in the ring.
  private(set) var endPosition: UInt64

  private let superblock: Superblock
  private let log: IssueLog
  private let ringBytes: Int
  private let ring: AlignedBuffer

  init(_ reader: ImageReader, _ superblock: Superblock) {
    self.superblock = superblock
    log = reader.log
    expected = superblock.journalSequence
    endPosition = superblock.journalPosition
    // At most `Geometry.maximumJournalBlocks`: checked with the superblock.
    ringBytes = Int(superblock.journalBlocks) << Block.shift
    ring = AlignedBuffer(byteCount: ringBytes, zeroed: false)
    readRing(reader)
    let end = replay()
    if end < ringBytes { endPosition = position(end) }
    if !isDamaged { scan(from: end) }
    overlay.settle(keeping: ring)
  }

  private mutating func readRing(_ reader: ImageReader) {
    let head = Int(superblock.journalBlocks - superblock.journalPosition) << Block.shift
    let first = UnsafeMutableRawBufferPointer(rebasing: ring.bytes[..<head])
    let second = UnsafeMutableRawBufferPointer(rebasing: ring.bytes[head..<ringBytes])
    if reader.canRead(into: first, from: superblock.journalStart + superblock.journalPosition),
      second.isEmpty || reader.canRead(into: second, from: superblock.journalStart)
    {
      return
    }
    // What can be read of it, block by block; zeros are no record.
    for offset in stride(from: 0, to: ringBytes, by: Block.size) {
      let block = UnsafeMutableRawBufferPointer(rebasing: ring.bytes[offset..<offset + Block.size])
      guard !reader.read(into: block, from: superblock.journalStart + position(offset)) else { continue }
      block.initializeMemory(as: UInt8.self, repeating: 0)
      unreadable.append(position(offset))
    }
  }

  /// Blocks of the ring that look like a record's first: their positions and sequences.
  var stampedBlocks: [(position: UInt64, sequence: UInt64)] {
    guard let base = ring.bytes.baseAddress else { return [] }
    return stride(from: 0, to: ringBytes, by: Block.size).compactMap { offset in
      let block = UnsafeRawPointer(base + offset)
      guard JournalRecord.isMarked(block) else { return nil }
      return (position(offset), BlockHeader.generation(block))
    }
  }

  /// Position in the ring of the block at `offset` bytes of the turned buffer.
  private func position(_ offset: Int) -> UInt64 {
    (superblock.journalPosition + UInt64(offset >> Block.shift)) % superblock.journalBlocks
  }

  /// The record's length in bytes when it fits between `offset` and the buffer's end; nil when it cannot be one.
  private func extent(at offset: Int) -> Int? {
    guard offset < ringBytes, let base = ring.bytes.baseAddress else { return nil }
    let payload = JournalRecord.payloadBytes(base + offset)
    guard payload <= ringBytes - offset - JournalRecord.headerBytes else { return nil }
    return JournalRecord.headerBytes + payload
  }

  /// Whether an intact record stands at `offset`.
  private func isValid(at offset: Int, byteCount: Int) -> Bool {
    guard let base = ring.bytes.baseAddress else { return false }
    return BlockHeader.isValid(
      base + offset, type: .journal, id: superblock.id, address: position(offset), byteCount: byteCount)
  }

  /// Collects mutations up to the first record that is not valid; returns where that is.
  private mutating func replay() -> Int {
    var offset = 0
    while let byteCount = extent(at: offset), let base = ring.bytes.baseAddress {
      let record = UnsafeRawPointer(base + offset)
      guard BlockHeader.generation(record) == expected, isValid(at: offset, byteCount: byteCount) else { break }
      let payload = UnsafeRawBufferPointer(
        start: record + JournalRecord.headerBytes, count: byteCount - JournalRecord.headerBytes)
      let mark = overlay.count
      let parses = JournalRecord.forEachMutation(payload) { overlay.append($0, $1) }
      guard parses, overlay.count - mark == BlockHeader.count(record) else {
        overlay.truncate(to: mark)
        log.report(.journalRecordMalformed(sequence: expected, position: position(offset)))
        isDamaged = true
        return offset
      }
      records += 1
      expected &+= 1
      offset += Int(Block.count(covering: UInt64(byteCount))) << Block.shift
    }
    return offset
  }

  /// Looks for an intact record of a later sequence behind the end. The bytes checksummed on the way are
  /// bounded: only a hostile ring holds that many overlapping headers, and it is called damaged.
  private mutating func scan(from end: Int) {
    guard let base = ring.bytes.baseAddress else { return }
    var budget = 16 * ringBytes
    for offset in stride(from: end, to: ringBytes, by: Block.size) {
      let block = UnsafeRawPointer(base + offset)
      guard JournalRecord.isMarked(block),
        block.u64(32) == position(offset), BlockHeader.generation(block) > expected,
        let byteCount = extent(at: offset)
      else { continue }
      budget -= byteCount
      guard budget < 0 || isValid(at: offset, byteCount: byteCount) else { continue }
      isDamaged = true
      log.report(
        .journalRecordBehindEnd(
          sequence: BlockHeader.generation(block), position: position(offset), expected: expected))
      return
    }
  }
}
