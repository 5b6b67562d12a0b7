import HoldfastBase
import HoldfastFormat
import Testing

@Suite struct NodePins {
  private let id = FilesystemID(high: 1, low: 2)

  private func leaf(_ records: [(Key, [UInt8])], garbage: Int = 0) -> [UInt8] {
    encoded(Block.size) { node in
      BlockHeader.write(
        to: node, type: .node, level: 0, count: UInt32(records.count), id: id, address: 5, generation: 3)
      var heap = Block.size
      for (index, record) in records.enumerated() {
        heap -= record.1.count
        for (offset, byte) in record.1.enumerated() { node.put(byte, heap + offset) }
        let at = TreeNode.headerBytes + index * TreeNode.slotBytes
        node.put(record.0.high, at)
        node.put(record.0.low, at + 8)
        node.put(UInt16(heap), at + 16)
        node.put(UInt16(record.1.count), at + 18)
      }
      node.put(UInt16(heap - garbage), 48)
      node.put(UInt16(garbage), 50)
    }
  }

  private func `internal`(_ keys: [Key], level: UInt16 = 1) -> [UInt8] {
    encoded(Block.size) { node in
      BlockHeader.write(
        to: node, type: .node, level: level, count: UInt32(keys.count), id: id, address: 5, generation: 3)
      for (index, key) in keys.enumerated() {
        let at = TreeNode.headerBytes + index * TreeNode.entryBytes
        node.put(key.high, at)
        node.put(key.low, at + 8)
        node.put(UInt64(100 + index), at + 16)
        node.put(UInt64(200 + index), at + 24)
      }
    }
  }

  private func isSound(_ node: [UInt8]) -> Bool { node.withUnsafeBytes { TreeNode.isSound($0.baseAddress!) } }

  @Test func layout() {
    #expect(TreeNode.headerBytes == 64 && TreeNode.slotBytes == 20 && TreeNode.entryBytes == 32)
    #expect(TreeNode.maximumEntries == 126 && TreeNode.maximumLevel == 12 && TreeNode.maximumValueBytes == 1300)
  }

  @Test func leafBytes() {
    let node = leaf([(Key(high: 0x0102, low: 0x0304), [0xaa, 0xbb, 0xcc]), (.maximum, [])], garbage: 9)
    #expect(Array(node[48..<64]) == hex("f40f 0900 000000000000000000000000"))
    let slots = hex(
      """
      0201000000000000 0403000000000000 fd0f 0300
      ffffffffffffffff ffffffffffffffff fd0f 0000
      """)
    #expect(Array(node[64..<104]) == slots)
    #expect(Array(node[4093...]) == [0xaa, 0xbb, 0xcc])
    #expect(isSound(node))
    node.withUnsafeBytes {
      let p = $0.baseAddress!
      #expect(TreeNode.heapStart(p) == 4084 && TreeNode.garbage(p) == 9)
      #expect(TreeNode.slotKey(p, 0) == Key(high: 0x0102, low: 0x0304) && TreeNode.slotKey(p, 1) == .maximum)
      #expect(TreeNode.value(p, 0).elementsEqual([0xaa, 0xbb, 0xcc]) && TreeNode.value(p, 1).isEmpty)
    }
  }

  @Test func internalBytes() {
    let node = `internal`([.minimum, Key(high: 7, low: 8)])
    let entries = hex(
      """
      0000000000000000 0000000000000000 6400000000000000 c800000000000000
      0700000000000000 0800000000000000 6500000000000000 c900000000000000
      """)
    #expect(Array(node[64..<128]) == entries && isSound(node))
    node.withUnsafeBytes {
      #expect(TreeNode.entryKey($0.baseAddress!, 1) == Key(high: 7, low: 8))
      #expect(TreeNode.child($0.baseAddress!, 1) == NodeReference(block: 101, generation: 201))
    }
  }

  @Test func emptyAndFullAreSound() {
    #expect(isSound(leaf([])))
    #expect(isSound(leaf((0..<201).map { (Key(high: 0, low: $0), []) })))
    #expect(isSound(`internal`((0..<126).map { Key(high: 0, low: $0) })))
    #expect(!isSound(`internal`([])))
    #expect(!isSound(`internal`([.minimum], level: 13)) && isSound(`internal`([.minimum], level: 12)))
  }

  /// Two values of one length in one place: every sum is right.
  @Test func valuesThatShareBytes() {
    var node = leaf([(Key(high: 1, low: 1), [1, 2, 3, 4]), (Key(high: 1, low: 2), [5, 6, 7, 8])])
    #expect(isSound(node))
    for offset in [UInt16(4092), 4091, 4090, 4089] {
      node.withUnsafeMutableBytes { $0.baseAddress!.put(offset, 100) }
      #expect(!isSound(node), "\(offset)")
    }
  }

  @Test func whatIsNotSound() {
    let good = leaf([(Key(high: 1, low: 1), [1, 2, 3]), (Key(high: 1, low: 2), [4, 5])])
    #expect(isSound(good))
    let edits: [(String, (UnsafeMutableRawPointer) -> Void)] = [
      ("count", { $0.put(UInt32(202), 12) }), ("huge count", { $0.put(UInt32.max, 12) }),
      ("heap in the slots", { $0.put(UInt16(100), 48) }), ("heap behind the end", { $0.put(UInt16(4097), 48) }),
      ("garbage", { $0.put(UInt16(1), 50) }), ("offset below the heap", { $0.put(UInt16(4000), 80) }),
      ("offset behind the end", { $0.put(UInt16(4095), 80) }), ("offset far out", { $0.put(UInt16.max, 80) }),
      ("length", { $0.put(UInt16(1301), 82) }), ("far length", { $0.put(UInt16.max, 82) }),
      ("equal keys", { $0.put(UInt64(1), 92) }), ("descending keys", { $0.put(UInt64(0), 84) }),
    ]
    for (name, edit) in edits {
      var bytes = good
      bytes.withUnsafeMutableBytes { edit($0.baseAddress!) }
      #expect(!isSound(bytes), "\(name)")
    }
    #expect(!isSound(`internal`([Key(high: 1, low: 0), .minimum])))
    #expect(!isSound(`internal`([.minimum, .minimum])))
  }

  /// Whatever passes can be read without leaving the block, and its keys ascend.
  @Test func soundnessHoldsAgainstAnyBytes() {
    let seed = UInt64.random(in: 0...UInt64.max >> 1)
    var random = Seeded(seed)
    var passed = 0
    for round in 0..<40_000 {
      var bytes =
        round % 2 == 0
        ? leaf((0..<20).map { (Key(high: 0, low: $0 * 3), [UInt8](repeating: 9, count: Int($0 * 5))) }, garbage: 40)
        : `internal`((0..<20).map { Key(high: 0, low: $0 * 3) })
      bytes.withUnsafeMutableBytes { buffer in
        for _ in 0...random.next() % 3 {
          let at = [10, 12, 48, 50, Int(64 + random.next() % 640)].randomElement(using: &random)!
          buffer.baseAddress!.put(UInt16(truncatingIfNeeded: random.next() >> (random.next() % 64)), at)
        }
      }
      bytes.withUnsafeBytes { buffer in
        let node = buffer.baseAddress!
        guard TreeNode.isSound(node) else { return }
        passed += 1
        let isLeaf = BlockHeader.level(node) == 0
        for index in 0..<BlockHeader.count(node) {
          if isLeaf {
            let value = TreeNode.value(node, index)
            let start = value.baseAddress! - node
            #expect(start >= 0 && start + value.count <= Block.size, "seed \(seed)")
            if index > 0 { #expect(TreeNode.slotKey(node, index - 1) < TreeNode.slotKey(node, index), "seed \(seed)") }
          } else {
            #expect(TreeNode.headerBytes + (index + 1) * TreeNode.entryBytes <= Block.size)
            if index > 0 {
              #expect(TreeNode.entryKey(node, index - 1) < TreeNode.entryKey(node, index), "seed \(seed)")
            }
          }
        }
      }
    }
    #expect(passed > 100)
  }
}
