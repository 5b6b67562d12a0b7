/// Damage to the journal: fields of records, their mutations, and records that contradict the tree.

import HoldfastBase
import HoldfastFormat
import HoldfastSimulation

extension Mutator {
  mutating func journal() {
    if structure.superblock.state.contains(.clean) || structure.journal.isEmpty || random.oneIn(3) {
      return appendRecord()
    }
    var record = random.pick(structure.journal)
    switch random.below(3) {
    case 0: field(of: record)
    default:
      for _ in 0...random.below(4) { damage(&record) }
      write(record, count: nil)
    }
  }

  /// Length, count, sequence, position or any header field.
  private mutating func field(of record: JournalRecordAt) {
    let superblock = structure.superblock
    let block = memory.changing(superblock.journalStart + record.position)
    let (offset, width) = random.pick([(10, 2), (12, 4), (32, 8), (40, 8), (48, 4), (52, 4)])
    notes.append("journal record \(record.sequence) \(change(block, offset, width))")
    // The checksum covers as many bytes as the length now says, as far as the ring goes.
    let length = JournalRecord.headerBytes + JournalRecord.payloadBytes(block)
    guard length <= Int(superblock.journalBlocks) * Block.size else { return BlockHeader.seal(block) }
    let bytes = ImageStructure.ringBytes(memory, superblock, at: record.position, length)
    bytes.withUnsafeBytes { block.put(crc32c(UnsafeRawBufferPointer(rebasing: $0[4...])), 0) }
  }

  private mutating func damage(_ record: inout JournalRecordAt) {
    guard !record.mutations.isEmpty else { return }
    let index = random.below(record.mutations.count)
    let key = record.mutations[index].key
    var how = ""
    switch random.below(5) {
    case 0:
      record.mutations.remove(at: index)
      how = "is gone"
    case 1:
      record.mutations[index].value = nil
      how = "is a deletion"
    case 2:
      record.mutations.append(record.mutations[index])
      how = "stands twice"
    default:
      guard let value = record.mutations[index].value else { return }
      var records = [TreeRecord(key: key, value: value)]
      how = damage(&records, 0)
      guard let damaged = records.last else { return }
      record.mutations[index] = (damaged.key, damaged.value)
    }
    notes.append("journal record \(record.sequence) \(Self.name(key)) \(how)")
  }

  /// One more record behind the last: deletions, damaged copies and moves of what the tree holds.
  private mutating func appendRecord() {
    let end = structure.journalEnd
    var mutations: [(key: Key, value: [UInt8]?)] = []
    var how: [String] = []
    for _ in 0...random.below(6) {
      guard let found = randomRecord() else { break }
      var records = [found]
      if random.oneIn(3) {
        mutations.append((found.key, nil))
        how.append("\(Self.name(found.key)) deleted")
        continue
      }
      how.append("\(Self.name(found.key)) \(damage(&records, 0))")
      if let damaged = records.last { mutations.append((damaged.key, damaged.value)) }
    }
    let sequence = random.oneIn(12) ? number(near: end.sequence) : end.sequence
    clearClean()
    let wrongCount = random.oneIn(12) ? UInt32(truncatingIfNeeded: number(near: UInt64(mutations.count))) : nil
    notes.append("one more journal record, sequence \(sequence): \(how.joined(separator: "; "))")
    write(
      JournalRecordAt(position: end.position, sequence: sequence, mutations: mutations, blocks: 0), count: wrongCount)
  }

  /// Writes a record into the ring under a right checksum.
  private mutating func write(_ record: JournalRecordAt, count: UInt32?) {
    let superblock = structure.superblock
    var bytes = [UInt8](repeating: 0, count: JournalRecord.headerBytes)
    for (key, value) in record.mutations {
      var header = [UInt8](repeating: 0, count: JournalRecord.mutationHeaderBytes)
      header.withUnsafeMutableBytes {
        $0.baseAddress!.put(key.high, 0)
        $0.baseAddress!.put(key.low, 8)
        $0.baseAddress!.put(value.map { UInt16($0.count) } ?? JournalRecord.deletion, 16)
      }
      bytes += header + (value ?? [])
    }
    let payloadBytes = bytes.count - JournalRecord.headerBytes
    let blocks = JournalRecord.blocks(payloadBytes: payloadBytes)
    guard blocks <= superblock.journalBlocks else { return }
    bytes.withUnsafeMutableBytes {
      let p = $0.baseAddress!
      BlockHeader.write(
        to: p, type: .journal, level: 0, count: count ?? UInt32(record.mutations.count), id: superblock.id,
        address: record.position, generation: record.sequence)
      p.put(UInt32(payloadBytes), 48)
      BlockHeader.seal(p, byteCount: $0.count)
    }
    for block in 0..<blocks {
      let target = memory.changing(superblock.journalStart + (record.position + block) % superblock.journalBlocks)
      let part = bytes[Int(block) * Block.size..<min(Int(block + 1) * Block.size, bytes.count)]
      part.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }
  }
}
