/// Damage to nodes, references and records.

import HoldfastBase
import HoldfastFormat
import HoldfastSimulation

extension Mutator {
  // MARK: Nodes

  /// Header fields and slots.
  mutating func nodeField() {
    let nodes = structure.leaves + structure.internals
    guard !nodes.isEmpty else { return }
    let address = random.pick(nodes)
    let node = memory.changing(address)
    let isLeaf = BlockHeader.level(node) == 0
    let stride = isLeaf ? TreeNode.slotBytes : TreeNode.entryBytes
    let slot = TreeNode.headerBytes + random.below(min(max(BlockHeader.count(node), 1), 120)) * stride
    switch random.below(8) {
    case 0: notes.append("node \(address) level \(change(node, 10, 2))")
    case 1: notes.append("node \(address) count \(change(node, 12, 4))")
    case 2: notes.append("node \(address) generation \(change(node, 40, 8))")
    case 3: notes.append("node \(address) heap \(change(node, 48, 2))")
    case 4: notes.append("node \(address) garbage \(change(node, 50, 2))")
    case 5: notes.append("node \(address) key \(change(node, slot + 8 * random.below(2), 8))")
    case 6 where isLeaf:
      notes.append("node \(address) slot \(change(node, slot + 16 + 2 * random.below(2), 2))")
    default: overlapValues(node, address)
    }
    BlockHeader.seal(node)
  }

  /// Two slots with the same bytes: sound by every sum, and yet one value's change is the other's.
  private mutating func overlapValues(_ node: UnsafeMutableRawPointer, _ address: BlockNumber) {
    let count = BlockHeader.count(node)
    guard BlockHeader.level(node) == 0, count > 1, TreeNode.isSound(node) else { return }
    let slots = (0..<count).filter { !TreeNode.value(node, $0).isEmpty }
    guard slots.count > 1 else { return }
    let first = random.pick(slots)
    guard
      let second = slots.first(where: {
        $0 != first && TreeNode.value(node, $0).count == TreeNode.value(node, first).count
      })
    else { return }
    let from = UnsafeRawPointer(node).u16(TreeNode.headerBytes + first * TreeNode.slotBytes + 16)
    node.put(from, TreeNode.headerBytes + second * TreeNode.slotBytes + 16)
    notes.append("node \(address) slots \(first) and \(second) share a value")
  }

  /// Children: elsewhere, themselves, each other, twice.
  mutating func childReference() {
    guard !structure.internals.isEmpty else { return nodeField() }
    let address = random.pick(structure.internals)
    let node = memory.changing(address)
    let count = min(max(BlockHeader.count(node), 1), TreeNode.maximumEntries)
    let entry = node + TreeNode.headerBytes + random.below(count) * TreeNode.entryBytes
    let other = node + TreeNode.headerBytes + random.below(count) * TreeNode.entryBytes
    switch random.below(7) {
    case 0: notes.append("node \(address) child block \(change(entry, 16, 8))")
    case 1: notes.append("node \(address) child generation \(change(entry, 24, 8))")
    case 2:
      let target = random.pick(structure.leaves + structure.internals)
      entry.put(target, 16)
      entry.put(BlockHeader.generation(memory.block(target)), 24)
      notes.append("node \(address) child is \(target)")
    case 3:
      entry.put(address, 16)
      entry.put(BlockHeader.generation(UnsafeRawPointer(node)), 24)
      notes.append("node \(address) is its own child")
    case 4:
      entry.put(UnsafeRawPointer(other).u64(16), 16)
      entry.put(UnsafeRawPointer(other).u64(24), 24)
      notes.append("node \(address) has a child twice")
    case 5:
      let (block, generation) = (UnsafeRawPointer(entry).u64(16), UnsafeRawPointer(entry).u64(24))
      entry.put(UnsafeRawPointer(other).u64(16), 16)
      entry.put(UnsafeRawPointer(other).u64(24), 24)
      other.put(block, 16)
      other.put(generation, 24)
      notes.append("node \(address) children exchanged")
    default:
      // A child of the generation to come: it looks as if it had been copied for writing already.
      let target = UnsafeRawPointer(entry).u64(16)
      guard structure.leaves.contains(target) else { return }
      let next = structure.superblock.generation + 1 + UInt64(random.below(3))
      entry.put(next, 24)
      memory.changing(target).put(next, 40)
      BlockHeader.seal(memory.changing(target))
      notes.append("node \(address) and its child \(target) of generation \(next)")
    }
    BlockHeader.seal(node)
  }

  // MARK: Records

  /// Offsets and widths of the fields of the record at `key`.
  private static func fields(_ key: Key) -> [(offset: Int, width: Int)] {
    switch (key.space, key.type) {
    case (.file, .inode):
      [
        (0, 4), (4, 4), (8, 4), (12, 4), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8), (56, 8), (64, 4), (68, 4),
        (72, 4),
      ]
        + [(76, 4), (80, 8), (88, 4), (92, 4), (96, 8), (104, 8), (112, 4), (116, 4)]
    case (.file, .xattr): [(0, 4), (4, 1), (5, 1), (6, 8)]
    case (.file, .dirent): [(0, 8), (8, 1), (9, 1), (10, 1)]
    case (.file, .extent): [(0, 8), (0, 8), (8, 4), (8, 4), (12, 4)]
    case (.orphan, _): [(0, 1), (8, 8)]
    case (.free, _), (.chunk, _): [(0, 8)]
    case (.quarantine, _): [(0, 8), (8, 8)]
    case (.persistentSeal, _):
      [(0, 1), (1, 1), (2, 1), (3, 1), (4, 4), (8, 8), (16, 8), (24, 4), (28, 4), (32, 4), (36, 4), (40, 8), (48, 8)]
        + [(56, 1), (57, 1), (58, 2)]
    default: [(0, 1)]
    }
  }

  /// One record of one leaf: a field, its key, its length, another's value, gone, or twice.
  mutating func record() {
    guard !structure.leaves.isEmpty else { return }
    let address = random.pick(structure.leaves)
    var records = ImageStructure.records(memory.block(address))
    guard !records.isEmpty else { return }
    let index = random.below(records.count)
    let key = records[index].key
    notes.append("leaf \(address) \(Self.name(key)) " + damage(&records, index))
    encode(records, into: address)
  }

  /// Damages one of `records` and says how.
  mutating func damage(_ records: inout [TreeRecord], _ index: Int) -> String {
    switch random.below(12) {
    case 0: return key(&records[index].key)
    case 1: return length(&records[index].value)
    case 2:
      records[index].value = splice()
      return "has another's value"
    case 3:
      records.remove(at: index)
      return "is gone"
    case 4:
      var twin = records[index]
      let how = key(&twin.key)
      records.append(twin)
      return "stands twice, \(how)"
    default:
      let fields = Self.fields(records[index].key).filter { $0.offset + $0.width <= records[index].value.count }
      guard !fields.isEmpty else { return key(&records[index].key) }
      let (offset, width) = random.pick(fields)
      return records[index].value.withUnsafeMutableBytes { change($0.baseAddress!, offset, width) }
    }
  }

  private mutating func length(_ value: inout [UInt8]) -> String {
    switch random.below(4) {
    case 0: value.removeLast(random.below(value.count + 1))
    case 1: value.append(contentsOf: [UInt8](repeating: 0xff, count: random.below(300)))
    case 2: value = []
    default: value = [UInt8](repeating: UInt8(random.below(256)), count: random.below(TreeNode.maximumValueBytes + 1))
    }
    return "is \(value.count) bytes long"
  }

  /// Another key: on an edge, of another space or type, one bit away, of another record.
  private mutating func key(_ key: inout Key) -> String {
    switch random.below(8) {
    case 0: key.low = number(near: key.low)
    case 1: key.high = number(near: key.high)
    case 2: key.high = key.high & Key.maximumObject | UInt64(random.below(9)) << 56
    case 3: key.low = key.low & Key.maximumOffset | UInt64(random.below(8)) << 60
    case 4: key.high = key.high & ~Key.maximumObject | number(near: key.object) & Key.maximumObject
    case 5: key.low = key.low & ~Key.maximumOffset | number(near: key.offset) & Key.maximumOffset
    case 6: key.high ^= 1 << UInt64(random.below(64))
    default: if let other = randomRecord() { key = other.key }
    }
    return "has key \(String(key.high, radix: 16)) \(String(key.low, radix: 16))"
  }

  mutating func randomRecord() -> TreeRecord? {
    guard !structure.leaves.isEmpty else { return nil }
    let records = ImageStructure.records(memory.block(random.pick(structure.leaves)))
    return records.isEmpty ? nil : random.pick(records)
  }

  private mutating func splice() -> [UInt8] { randomRecord()?.value ?? [] }

  static func name(_ key: Key) -> String {
    guard let space = key.space else { return "space \(key.spaceBits)" }
    return space == .file
      ? "\(key.type.map { "\($0)" } ?? "type \(key.typeBits)") of \(key.object)" : "\(space) \(key.object)"
  }

  /// A damaged copy of a record in the leaf its key belongs into: the tree's order stays right.
  mutating func moveRecord() {
    guard var records = randomRecord().map({ [$0] }) else { return }
    let before = records[0].key
    let how = damage(&records, 0)
    guard let moved = records.last else { return }
    var home: BlockNumber?
    var best: Key?
    for leaf in structure.leaves {
      guard let first = ImageStructure.records(memory.block(leaf)).first?.key, first <= moved.key else { continue }
      if let best, first < best { continue }
      best = first
      home = leaf
    }
    guard let home else { return }
    var there = ImageStructure.records(memory.block(home)).filter { $0.key != moved.key }
    if random.oneIn(2) { there.removeAll { $0.key == before } }
    there.append(moved)
    notes.append("into leaf \(home): \(Self.name(before)) \(how)")
    encode(there, into: home)
  }

  /// Writes a leaf anew, in order (but for one in sixteen), as far as the records fit.
  private mutating func encode(_ records: [TreeRecord], into address: BlockNumber) {
    var sorted = random.oneIn(16) ? records : records.sorted { $0.key < $1.key }
    if !random.oneIn(16) {
      sorted = sorted.enumerated().filter { $0.offset == 0 || sorted[$0.offset - 1].key != $0.element.key }.map(
        \.element)
    }
    let node = memory.changing(address)
    var heap = Block.size
    var count = 0
    for record in sorted {
      let end = TreeNode.headerBytes + (count + 1) * TreeNode.slotBytes
      guard heap - record.value.count >= end else { break }
      heap -= record.value.count
      for (offset, byte) in record.value.enumerated() { node.put(byte, heap + offset) }
      let at = end - TreeNode.slotBytes
      node.put(record.key.high, at)
      node.put(record.key.low, at + 8)
      node.put(UInt16(heap), at + 16)
      node.put(UInt16(record.value.count), at + 18)
      count += 1
    }
    node.put(UInt32(count), 12)
    node.put(UInt16(heap), 48)
    node.put(UInt16(0), 50)
    BlockHeader.seal(node)
  }
}
