/// The redo journal's ring on the device. Layout: HoldfastFormat/JournalRecord.swift.
///
/// One appender at a time (the commit leader). The tail moves when a checkpoint is durable in both superblocks.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat

final class Journal: @unchecked Sendable {
  private let device: BlockDevice
  private let id: FilesystemID
  private let start: BlockNumber
  private let blocks: UInt64
  private let lock = Lock()
  private var headSequence: UInt64
  private var headPosition: UInt64
  private var usedBlocks: UInt64 = 0

  /// Bytes checksummed by the search for records behind the end, in lengths of the ring: more only a hostile ring of
  /// overlapping headers wants, and its mount would take hours.
  private static let scanLaps = 16

  init(device: BlockDevice, superblock: Superblock) {
    self.device = device
    id = superblock.id
    start = superblock.journalStart
    blocks = superblock.journalBlocks
    headSequence = superblock.journalSequence
    headPosition = superblock.journalPosition
  }

  /// Sequence and ring position of the next record.
  var head: (sequence: UInt64, position: UInt64) { lock.withLock { (headSequence, headPosition) } }
  var capacityBlocks: UInt64 { blocks }
  var usage: UInt64 { lock.withLock { usedBlocks } }

  /// True when a record with this payload fits before the tail. The ring is never filled to the last block: head and
  /// tail at one position mean empty.
  func hasRoom(payloadBytes: Int) -> Bool {
    lock.withLock { usedBlocks + JournalRecord.blocks(payloadBytes: payloadBytes) < blocks }
  }

  /// Everything before `sequence` (which lies at `position`) is in a durable checkpoint.
  func setTail(position: UInt64) {
    lock.withLock { usedBlocks = headPosition >= position ? headPosition - position : headPosition + blocks - position }
  }

  /// False when a block of the record behind its first would begin like a record itself. Values are users' bytes (a
  /// symbolic link's target, an attribute's value): one that holds a record with a right checksum, left in the ring
  /// from an older lap, could be replayed after a crash. Such a payload goes into a checkpoint instead.
  static func mayHold(_ payload: [UInt8]) -> Bool {
    payload.withUnsafeBytes { bytes in
      var at = Block.size - JournalRecord.headerBytes
      while at + BlockHeader.size <= bytes.count {
        if JournalRecord.isMarked(bytes.baseAddress! + at) { return false }
        at += Block.size
      }
      return true
    }
  }

  /// Writes one record; durable after the caller's barrier.
  /// - Precondition: `mayHold(payload)`.
  func append(_ payload: [UInt8], count: Int) throws(FSError) {
    let (sequence, position) = head
    let recordBlocks = JournalRecord.blocks(payloadBytes: payload.count)
    let buffer = AlignedBuffer(byteCount: Int(recordBlocks) * Block.size)
    let p = buffer.bytes.baseAddress!
    BlockHeader.write(
      to: p, type: .journal, level: 0, count: UInt32(count), id: id, address: position, generation: sequence)
    p.put(UInt32(payload.count), 48)
    payload.withUnsafeBytes { _ = memcpy(p + JournalRecord.headerBytes, $0.baseAddress!, payload.count) }
    BlockHeader.seal(p, byteCount: JournalRecord.headerBytes + payload.count)
    let untilEnd = min(recordBlocks, blocks - position)
    let cut = Int(untilEnd) * Block.size
    let bytes = UnsafeRawBufferPointer(buffer.bytes)
    try device.write(UnsafeRawBufferPointer(rebasing: bytes[..<cut]), at: (start + position) << UInt64(Block.shift))
    if cut < bytes.count {
      try device.write(UnsafeRawBufferPointer(rebasing: bytes[cut...]), at: start << UInt64(Block.shift))
    }
    lock.withLock {
      headSequence += 1
      headPosition = (position + recordBlocks) % blocks
      usedBlocks += recordBlocks
    }
  }

  /// Calls `apply` for the mutations of every record from the head on, record by record, and moves the head behind
  /// the last one.
  /// - Throws: `.corrupt(.journalRecord…)` when a valid record lies behind an invalid one, or when a record's payload
  ///   does not parse.
  func replay(_ apply: (Key, UnsafeRawBufferPointer?) throws(FSError) -> Void) throws(FSError) -> Int {
    let ring = AlignedBuffer(byteCount: Int(blocks) * Block.size, zeroed: false)
    try device.read(into: ring.bytes, at: start << UInt64(Block.shift))
    var records = 0
    // Touched only by a record that wraps around the end.
    let scratch = AlignedBuffer(byteCount: Int(blocks) * Block.size, zeroed: false)
    while usedBlocks < blocks, let record = validRecord(in: ring, at: headPosition, sequence: headSequence, scratch) {
      let payload = UnsafeRawBufferPointer(
        start: record + JournalRecord.headerBytes, count: JournalRecord.payloadBytes(record))
      let recordBlocks = JournalRecord.blocks(payloadBytes: payload.count)
      guard usedBlocks + recordBlocks <= blocks else { break }
      var mutations = 0
      guard try JournalRecord.forEachMutation(payload, { (_, _) throws(FSError) in mutations += 1 }),
        mutations == BlockHeader.count(record)
      else {
        throw .corrupt(structure: .journalRecord, block: start + headPosition)
      }
      _ = try JournalRecord.forEachMutation(payload, apply)
      headSequence += 1
      headPosition = (headPosition + recordBlocks) % blocks
      usedBlocks += recordBlocks
      records += 1
    }
    var budget = Journal.scanLaps * ring.bytes.count
    // Behind the end, that is: a live record's own blocks are its payload.
    for distance in 0..<(blocks - usedBlocks) {
      let position = (headPosition + distance) % blocks
      let block = UnsafeRawPointer(ring.bytes.baseAddress! + Int(position) * Block.size)
      let sequence = BlockHeader.generation(block)
      guard JournalRecord.isMarked(block), block.u64(32) == position, sequence > headSequence else { continue }
      // A length no record has is no record: nothing is checksummed for it.
      let payloadBytes = JournalRecord.payloadBytes(block)
      let room = Int(blocks - usedBlocks - distance) * Block.size
      guard payloadBytes <= room - JournalRecord.headerBytes else { continue }
      budget -= payloadBytes
      if budget < 0 || validRecord(in: ring, at: position, sequence: sequence, scratch) != nil {
        throw .corrupt(structure: .journalSequence, block: start + headPosition)
      }
    }
    return records
  }

  /// The record at `position` when it is valid and has this sequence: in `ring`, or made whole in `scratch`.
  private func validRecord(
    in ring: AlignedBuffer, at position: UInt64, sequence: UInt64, _ scratch: AlignedBuffer
  ) -> UnsafeRawPointer? {
    let record = UnsafeRawPointer(ring.bytes.baseAddress! + Int(position) * Block.size)
    guard BlockHeader.generation(record) == sequence, record.u32(4) == BlockHeader.magic else { return nil }
    let length = JournalRecord.headerBytes + JournalRecord.payloadBytes(record)
    guard length <= Int(blocks) * Block.size else { return nil }
    var whole = record
    let untilEnd = Int(blocks - position) * Block.size
    if length > untilEnd {
      let p = scratch.bytes.baseAddress!
      memcpy(p, record, untilEnd)
      memcpy(p + untilEnd, ring.bytes.baseAddress!, length - untilEnd)
      whole = UnsafeRawPointer(p)
    }
    return BlockHeader.isValid(whole, type: .journal, id: id, address: position, byteCount: length) ? whole : nil
  }
}
