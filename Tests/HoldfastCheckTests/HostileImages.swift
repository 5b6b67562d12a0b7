import HoldfastBase
import HoldfastFormat

/// Random damage, repeated by its seed.
enum HostileImages {
  /// The sample volume with a journal. Not `sound`: the journal deletes half of what it touches.
  static func journaled(sound: Bool = false) -> ImageBuilder {
    var image = Sample.image()
    let some = image.records.sorted { $0.key < $1.key }
    image.journal = stride(from: 0, to: some.count, by: 7).map { index in
      [.init(key: some[index].key, value: sound || index % 2 == 0 ? some[index].value : nil)]
    }
    return image
  }

  /// Changes some records in any byte of key and value, in the tree or by the journal: on disk as a sound engine
  /// would have put them.
  static func damageRecords(of image: inout ImageBuilder, _ random: inout Seeded) {
    let keys = image.records.keys.sorted()
    for _ in 0...random.next() % 6 {
      let key = keys.randomElement(using: &random)!
      guard var value = image.records[key] else { continue }
      var changed = key
      switch random.next() % 6 {
      case 0: changed.low = random.edge()
      case 1: changed.high = random.edge()
      case 2: changed.low ^= 1 << (random.next() % 64)
      case 3: value.removeLast(Int(random.next() % UInt64(value.count + 1)))
      case 4: value.append(contentsOf: [UInt8](repeating: 0xff, count: Int(random.next() % 20)))
      default:
        let at = Int(random.next() % 16) * 8
        for (offset, byte) in withUnsafeBytes(of: random.edge().littleEndian, { Array($0) }).enumerated()
        where at + offset < value.count {
          value[at + offset] = byte
        }
      }
      if random.next() % 4 == 0 {
        image.journal.append([.init(key: key, value: nil), .init(key: changed, value: value)])
      } else {
        if changed != key { image.records[key] = nil }
        image.records[changed] = value
      }
    }
  }

  /// Overwrites fields of metadata blocks and exchanges blocks; checksums are right again. `ring`: positions of
  /// journal records; `whole`: the undamaged image. Returns what it touched.
  @discardableResult
  static func damageBlocks(
    of device: MemoryDevice, ring: [UInt64], _ whole: MemoryDevice, _ random: inout Seeded
  ) -> [BlockNumber] {
    let blocks =
      Geometry.superblocks + device.chain + device.leaves + device.internals + ring.map { Geometry.journalStart + $0 }
    var touched: [BlockNumber] = []
    for _ in 0...random.next() % 3 {
      let block = blocks.randomElement(using: &random)!
      touched.append(block)
      device.edit(block) { p in
        let at = Int(random.next() % UInt64(Block.size - 8))
        switch random.next() % 5 {
        case 0: p.put(UInt8(truncatingIfNeeded: random.edge()), at)
        case 1: p.put(UInt16(truncatingIfNeeded: random.edge()), at & ~1)
        case 2: p.put(random.edge(), 48 + Int(random.next() % 26) * 8)
        case 3: p.put(random.edge(), at & ~3)
        default:
          let other = blocks.randomElement(using: &random)!
          p.copyMemory(from: whole.block(other), byteCount: Block.size)
          if random.next() % 2 == 0 { p.put(block, 32) }
        }
      }
    }
    return touched
  }
}
