/// What users write into attributes and symbolic links lies in the journal's blocks as it is: it must never be taken for
/// a record of its own.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import Testing

@testable import HoldfastStore

@Suite struct JournalContentTests {
  /// The bytes from a record's magic to its type: they fit into six, and six do not divide a block.
  private static let header: [UInt8] = [0x48, 0x46, 0x53, 0x54, 4, 0]

  /// A value that looks like a journal record from every sixth byte on.
  private func lure(_ count: Int, phase: Int) -> [UInt8] {
    (0..<count).map { Self.header[($0 + phase) % Self.header.count] }
  }

  /// Blocks of the ring that begin like a record, and those that are records in their place.
  private func ring(_ volume: Volume) throws -> (lures: Int, records: Int) {
    let superblock = volume.store.superblock
    var (lures, records) = (0, 0)
    let block = AlignedBuffer(byteCount: Block.size)
    for position in 0..<superblock.journalBlocks {
      try volume.device.read(into: block.bytes, at: (superblock.journalStart + position) << UInt64(Block.shift))
      let p = UnsafeRawPointer(block.bytes.baseAddress!)
      guard JournalRecord.isMarked(p) else { continue }
      if p.u64(32) == position { records += 1 } else { lures += 1 }
    }
    return (lures, records)
  }

  @Test func noAttributeBecomesARecord() throws {
    var volume = try Volume(mebibytes: 64)
    let file = try volume.create("file")
    try volume.store.syncAll()
    let checkpoints = volume.store.statistics.checkpoint
    let value = [UInt8](repeating: 0x55, count: 60_000)
    try volume.setXattr("user.plain", of: file, to: value)
    try volume.store.syncAll()
    #expect(volume.store.statistics.checkpoint == checkpoints, "an ordinary value goes into the journal")
    let before = try ring(volume)
    for phase in 0..<Self.header.count {
      try volume.setXattr("user.lure", of: file, to: lure(65_536, phase: phase))
      try volume.store.syncAll()
    }
    let after = try ring(volume)
    #expect(before.records > 0 && after.lures == 0, "\(after)")
    #expect(volume.store.statistics.checkpoint > checkpoints, "what the journal cannot hold is durable by a checkpoint")
    // Synced is synced, whichever way.
    try volume.crash()
    #expect(try volume.xattr("user.lure", of: file) == lure(65_536, phase: Self.header.count - 1))
    #expect(try volume.xattr("user.plain", of: file) == value)
  }

  @Test func whatLooksLikeARecordAtABlocksStartIsNotJournaled() throws {
    let id = FilesystemID(high: 1, low: 2)
    let payload = UnsafeMutableRawBufferPointer.allocate(byteCount: 3 * Block.size, alignment: 8)
    defer { payload.deallocate() }
    payload.initializeMemory(as: UInt8.self, repeating: 0)
    let at = payload.baseAddress! + Block.size - JournalRecord.headerBytes
    #expect(Journal.mayHold(Array(payload)))
    BlockHeader.write(to: at, type: .journal, level: 0, count: 1, id: id, address: 1, generation: 99)
    #expect(!Journal.mayHold(Array(payload)))
    // A header's first bytes elsewhere harm nobody.
    at.put(UInt32(0), 4)
    BlockHeader.write(to: at + 8, type: .journal, level: 0, count: 1, id: id, address: 1, generation: 99)
    #expect(Journal.mayHold(Array(payload)))
  }
}
