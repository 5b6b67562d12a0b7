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

  @Test func rightChecksumsOverWrongBytes() {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let device = HostileImages.journaled().build()
    let whole = device.copy()
    for _ in 0..<runs {
      let touched = HostileImages.damageBlocks(of: device, ring: [1022, 1023, 0, 1], whole, &random)
      _ = check(device)
      for block in touched { device.block(block).copyMemory(from: whole.block(block), byteCount: Block.size) }
    }
  }

  @Test func soundBlocksWithWrongRecords() {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let base = HostileImages.journaled()
    for _ in 0..<runs {
      var image = base
      HostileImages.damageRecords(of: &image, &random)
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
