import Foundation
import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore
import Testing

@testable import HoldfastCheck

/// The engine on hostile images: it refuses or works, it never crashes or hangs. What it works on and unmounts
/// without an error, the check may still find wanting: a mount does not look at everything.
@Suite(.serialized) struct HostileMounts {
  private static let environment = ProcessInfo.processInfo.environment
  private let seed = environment["HOLDFAST_FUZZ_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64.max >> 1)
  private let runs = environment["HOLDFAST_FUZZ_RUNS"].flatMap { Int($0) } ?? 150

  private static var options: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    options.cacheBytes = 1 << 20
    return options
  }

  /// Mounts, walks everything, changes much, unmounts.
  private func exercise(_ device: MemoryDevice, _ random: inout Seeded) {
    guard let store = try? Store(mounting: device, options: Self.options) else { return }
    var world = World()
    var directories: [InodeNumber] = [RootDirectory.inode]
    var seen: Set<InodeNumber> = [RootDirectory.inode]
    while let directory = directories.popLast(), seen.count < 200 {
      var entries: [(InodeNumber, FileType)] = []
      try? store.readDirectory(directory, after: 0) {
        entries.append(($0.inode, $0.type))
        return entries.count < 100
      }
      for (inode, type) in entries where seen.insert(inode).inserted {
        visit(store, inode)
        if type == .directory { directories.append(inode) }
        world.learn(inode)
      }
    }
    for _ in 0..<40 { world.step(store, &random) }
    try? store.syncAll()
    try? store.housekeep()
    for _ in 0..<10 { world.step(store, &random) }
    try? store.unmount()
  }

  private func visit(_ store: Store, _ inode: InodeNumber) {
    _ = try? store.attributes(of: inode)
    _ = try? store.extents(of: inode, from: 0, limit: 50)
    _ = try? store.listXattrs(of: inode)
    _ = try? store.readSymlink(inode)
    _ = try? store.seekData(inode, from: 0)
    _ = try? store.seekHole(inode, from: 0)
    var buffer = [UInt8](repeating: 0, count: 20_000)
    for offset in [0, 4095, 39_990, 1 << 40] as [UInt64] {
      _ = try? buffer.withUnsafeMutableBytes { try store.read(inode, into: $0, at: offset) }
    }
  }

  @Test func wrongRecords() {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let base = HostileImages.journaled()
    for run in 0..<runs {
      if Self.environment["HOLDFAST_FUZZ_TRACE"] != nil { print("run \(run)") }
      var image = base
      image.leafLimit = [2, 10, 60].randomElement(using: &random)!
      HostileImages.damageRecords(of: &image, &random)
      exercise(image.build(), &random)
    }
  }

  @Test func wrongBytesUnderRightChecksums() {
    print("fuzz seed \(seed)")
    var random = Seeded(seed)
    let base = HostileImages.journaled()
    for run in 0..<runs {
      if Self.environment["HOLDFAST_FUZZ_TRACE"] != nil { print("run \(run)") }
      let device = base.build()
      HostileImages.damageBlocks(of: device, ring: [1022, 1023, 0, 1], device.copy(), &random)
      exercise(device, &random)
    }
  }

  @Test func soundImageIsFullyUsable() throws {
    var random = Seeded(3)
    let device = HostileImages.journaled(sound: true).build()
    var checker = Checker(device: device)
    #expect(checker.run().issues.map(\.message) == [])
    exercise(device, &random)
    let report = checker.run()
    #expect(report.issues.map(\.message) == [] && !report.wasUnclean)
  }
}
