import Foundation
import HoldfastBase
import HoldfastFormat
import Testing

@testable import HoldfastCheck

/// Random numbers that a seed repeats (SplitMix64).
struct Seeded: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  /// Numbers that lie on edges, or anywhere.
  mutating func edge() -> UInt64 {
    let edges: [UInt64] = [0, 1, 2, 4095, 4096, 0x7fff_ffff, 0xffff_ffff, 1 << 51, 1 << 56, 1 << 60, .max - 1, .max]
    switch next() % 4 {
    case 0: return edges.randomElement(using: &self)!
    case 1: return next() % 5000
    case 2: return .max - next() % 5000
    default: return next() >> (next() % 64)
    }
  }
}

/// Hostile images: whatever the bytes, the check ends and reports. HOLDFAST_FUZZ_SEED repeats a run,
/// HOLDFAST_FUZZ_RUNS makes it longer.
@Suite(.serialized) struct Fuzz {
  private static let environment = ProcessInfo.processInfo.environment
  private let seed = environment["HOLDFAST_FUZZ_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64.max >> 1)
  private let runs = environment["HOLDFAST_FUZZ_RUNS"].flatMap { Int($0) } ?? 400

  private func check(_ device: MemoryDevice) -> CheckReport {
    var checker = Checker(device: device)
    return checker.run()
  }

  private func journaled() -> ImageBuilder {
    var image = Sample.image()
    let some = image.records.sorted { $0.key < $1.key }
    image.journal = stride(from: 0, to: some.count, by: 7).map { index in
      [.init(key: some[index].key, value: index % 2 == 0 ? some[index].value : nil)]
    }
    return image
  }

  @Test func oneFlippedBitIsAlwaysSeen() {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let device = Sample.image().build()
    let blocks = Geometry.superblocks + device.chain + device.leaves + device.internals
    for _ in 0..<runs {
      let block = blocks.randomElement(using: &random)!
      let byte = Int(random.next() % UInt64(Block.size))
      let bit = UInt8(random.next() % 8)
      device.flip(block, byte: byte, bit: bit)
      #expect(check(device).issueCount > 0, "seed \(seed): bit \(bit) of byte \(byte) of block \(block)")
      device.flip(block, byte: byte, bit: bit)
    }
  }

  /// Fields overwritten, blocks exchanged, checksums right again.
  @Test func rightChecksumsOverWrongBytes() {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let device = journaled().build()
    let ring = [1022, 1023, 0, 1].map { Geometry.journalStart + $0 }
    let blocks = Geometry.superblocks + device.chain + device.leaves + device.internals + ring
    let whole = device.copy()
    for _ in 0..<runs {
      for _ in 0...random.next() % 3 {
        let block = blocks.randomElement(using: &random)!
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
      _ = check(device)
      for block in blocks { device.block(block).copyMemory(from: whole.block(block), byteCount: Block.size) }
    }
  }

  /// Records changed in any byte of key and value, in tree and journal, on disk as a sound engine would.
  @Test func soundBlocksWithWrongRecords() {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let base = journaled()
    let keys = base.records.keys.sorted()
    for _ in 0..<runs {
      var image = base
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
          for (offset, byte) in withUnsafeBytes(of: random.edge().littleEndian, { Array($0) }).enumerated() {
            let at = Int(random.next() % 16) * 8 + offset
            if at < value.count { value[at] = byte }
          }
        }
        if random.next() % 4 == 0 {
          image.journal.append([.init(key: key, value: nil), .init(key: changed, value: value)])
        } else {
          if changed != key { image.records[key] = nil }
          image.records[changed] = value
        }
      }
      _ = check(image.build())
    }
  }

  @Test func notAnImage() {
    let empty = MemoryDevice(blocks: 0, id: FilesystemID(high: 0, low: 0))
    #expect(check(empty).outcome == .notAnImage)
    let zeros = MemoryDevice(blocks: 4096, id: FilesystemID(high: 0, low: 0))
    #expect(check(zeros).outcome == .notAnImage)
    var random = Seeded(seed)
    for offset in 0..<512 { zeros.block(0).put(random.next(), offset * 8) }
    #expect(check(zeros).outcome == .notAnImage && check(zeros).issues == [])
  }

  @Test func incompatibleFeaturesAreRefused() {
    let device = Sample.image().build()
    device.editSuperblocks { $0.put(UInt64(5), 72) }
    let report = check(device)
    #expect(report.outcome == .incompatible(features: 5) && report.issues == [] && !report.isSound)
  }

  @Test func anyLengthOfImage() {
    let device = Sample.image().build()
    for blocks in [UInt64](0...4) + [256, 257, 300, 1280, 1281, 1283, 2000, 4095] {
      let report = check(MemoryDevice(cutting: device, to: blocks))
      #expect(blocks == 0 ? report.outcome == .notAnImage : report.issueCount > 0)
    }
  }
}
