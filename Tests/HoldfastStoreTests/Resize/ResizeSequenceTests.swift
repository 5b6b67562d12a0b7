/// Growing and shrinking again and again among changes, against what the files must hold.

import HoldfastBase
import HoldfastCheck
import HoldfastSeal
import Testing

@testable import HoldfastStore

@Suite("Store: sequences of resizes") struct ResizeSequenceTests {
  @Test(arguments: 0..<6) func anySequenceKeepsWhatIsThere(_: Int) throws {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    var volume = try Volume(mebibytes: 32, room: 96)
    var model: [String: [UInt8]] = [:]
    var sealed: Set<String> = []
    var counts = (grown: 0, shrunk: 0, refused: 0)
    do {
      for step in 0..<120 {
        let name = "file-\(Int.random(in: 0..<24, using: &random))"
        switch Int.random(in: 0..<10, using: &random) {
        case 0, 1, 2: try write(name, step, volume, &model, sealed, &random)
        case 3:
          guard model[name] != nil, !sealed.contains(name) else { continue }
          try volume.unlink(name)
          model[name] = nil
        case 4:
          guard model[name] != nil else { continue }
          let inode = try volume.lookup(name)
          if sealed.remove(name) != nil {
            try volume.unseal(inode)
          } else if sealed.count < 3 {
            try volume.seal(inode)
            sealed.insert(name)
          }
        case 5:
          let target = min(96, volume.totalMebibytes + UInt64.random(in: 1...32, using: &random))
          #expect(try volume.store.grow(to: target << 20).byteCount == target << 20)
          counts.grown += 1
        case 6, 7:
          let target = max(
            16, volume.totalMebibytes - UInt64.random(in: 1...32, using: &random) % volume.totalMebibytes)
          let report = try volume.shrink(mebibytes: Int(min(target, volume.totalMebibytes)))
          if report.outcome == .done { counts.shrunk += 1 } else { counts.refused += 1 }
          if report.outcome == .obstructed { #expect(!sealed.isEmpty, "seed \(seed)") }
          #expect(volume.store.superblock.totalBlocks << 12 == report.byteCount)
        case 8: try volume.store.syncAll()
        default:
          if Bool.random(using: &random) {
            try volume.remount()
          } else {
            try volume.store.syncAll()
            try volume.crash()
          }
          sealed = []
        }
        #expect(volume.complaints.isEmpty || step % 10 > 0, "seed \(seed), step \(step)")
      }
      try volume.remount()
    } catch {
      Issue.record("seed \(seed): \(error)")
    }
    #expect(volume.complaints == [], "seed \(seed)")
    for (name, bytes) in model {
      #expect(try volume.read(volume.lookup(name), 4 << 20) == bytes, "seed \(seed), \(name)")
    }
    #expect(counts.grown > 0 && counts.shrunk + counts.refused > 0, "seed \(seed): \(counts)")
  }

  private func write(
    _ name: String, _ step: Int, _ volume: Volume, _ model: inout [String: [UInt8]], _ sealed: Set<String>,
    _ random: inout SeededGenerator
  ) throws {
    if sealed.contains(name) { return }
    var bytes = model[name] ?? []
    let offset = Int.random(in: 0...max(bytes.count, 1), using: &random)
    let count = min(Int.random(in: 1...600_000, using: &random), 2 << 20 - min(offset, 2 << 20))
    guard count > 0 else { return }
    let data = pattern(count, seed: UInt8(truncatingIfNeeded: step))
    let inode = model[name] == nil ? try volume.create(name) : try volume.lookup(name)
    model[name] = bytes
    do {
      try volume.write(inode, data, at: UInt64(offset))
    } catch FSError.noSpace {
      return
    }
    if bytes.count < offset + count { bytes += [UInt8](repeating: 0, count: offset + count - bytes.count) }
    bytes.replaceSubrange(offset..<offset + count, with: data)
    model[name] = bytes
  }
}
