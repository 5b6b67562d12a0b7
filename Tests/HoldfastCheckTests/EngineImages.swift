import Foundation
import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore
import Testing

@testable import HoldfastCheck

/// Images the engine makes: the check must find nothing, whether they were unmounted or cut off at any moment.
@Suite struct EngineImages {
  private static let caller = Credentials(uid: 0, gid: 0, pid: 1)

  private static var options: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    options.cacheBytes = 1 << 20
    return options
  }

  private func formatted(blocks: UInt64) throws -> MemoryDevice {
    let id = FilesystemID(high: 5, low: 6)
    let device = MemoryDevice(blocks: blocks, id: id)
    try Store.format(device, options: FormatOptions(label: "engine", id: id, hashSeed: 99))
    return device
  }

  private func check(_ device: MemoryDevice, _ when: String) -> CheckReport {
    var checker = Checker(device: device)
    let report = checker.run()
    #expect(report.issues.map(\.message) == [], "\(when)")
    return report
  }

  @Test(arguments: [4096, 5000, 16384, 200_000] as [UInt64]) func fresh(blocks: UInt64) throws {
    let device = try formatted(blocks: blocks)
    let report = check(device, "after mkfs")
    #expect(!report.wasUnclean && report.totals.inodes == 1)
    #expect(report.volume?.label == "engine" && report.volume?.totalBlocks == blocks)
    let store = try Store(mounting: device, options: Self.options)
    #expect(check(device, "mounted").wasUnclean)
    try store.unmount()
    #expect(!check(device, "unmounted").wasUnclean)
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>) func afterRandomOperations(seed: UInt64) throws {
    var random = Seeded(seed)
    let device = try formatted(blocks: 16384)
    var store = try Store(mounting: device, options: Self.options)
    var world = World()
    for round in 0..<40 {
      for _ in 0..<60 { world.step(store, &random) }
      if random.next() % 2 == 0 { try store.syncAll() }
      if random.next() % 3 == 0 { try store.housekeep() }
      _ = check(device, "seed \(seed), round \(round)")
      switch random.next() % 8 {
      case 0:
        try store.unmount()
        let report = check(device, "seed \(seed), unmounted in round \(round)")
        #expect(!report.wasUnclean)
        store = try Store(mounting: device, options: Self.options)
        world = World()
      case 1:
        // Power cut.
        store = try Store(mounting: device, options: Self.options)
        world = World()
        _ = check(device, "seed \(seed), recovered in round \(round)")
      default: break
      }
    }
    try store.unmount()
    let report = check(device, "seed \(seed), unmounted")
    #expect(report.totals.inodes > 10)
  }

  /// A volume filled to the brim and emptied again.
  @Test func fullAndEmpty() throws {
    let device = try formatted(blocks: 8192)
    let store = try Store(mounting: device, options: Self.options)
    let data = [UInt8](repeating: 7, count: 1 << 20)
    var inodes: [InodeNumber] = []
    filling: for number in 0..<100 {
      do throws(FSError) {
        let inode = try store.make(
          NewInode(mode: 0o100644, umask: 0), named: "f\(number)", in: 1, by: Self.caller)
        inodes.append(inode)
        try store.write(inode, data, at: UInt64(number) * 4096)
      } catch { break filling }
    }
    try store.syncAll()
    _ = check(device, "full")
    for number in inodes.indices { try? store.unlink(named: "f\(number)", in: 1) }
    try store.syncAll()
    _ = check(device, "emptied")
    try store.unmount()
    let report = check(device, "unmounted")
    #expect(report.totals.inodes == 1 && report.totals.usedBlocks == 0)
  }
}
