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

/// What a random workload knows of its volume: few names, many operations, errors ignored.
private struct World {
  private var inodes: [InodeNumber] = []
  private var held: [InodeNumber] = []
  private static let caller = Credentials(uid: 0, gid: 0, pid: 1)

  mutating func step(_ store: Store, _ random: inout Seeded) {
    do throws(FSError) { try attempt(store, &random) } catch {}
  }

  private func directory(_ store: Store, _ random: inout Seeded) -> InodeNumber {
    guard random.next() % 3 != 0, let some = inodes.randomElement(using: &random),
      let found = try? store.attributes(of: some), found.record.isDirectory
    else { return RootDirectory.inode }
    return some
  }

  private mutating func attempt(_ store: Store, _ random: inout Seeded) throws(FSError) {
    let parent = directory(store, &random)
    let name = "name \(random.next() % 40)"
    let other = "name \(random.next() % 40)"
    let inode = inodes.randomElement(using: &random) ?? RootDirectory.inode
    let offset = random.next() % 3 == 0 ? random.next() % (1 << 40) : random.next() % 200_000
    let length = random.next() % 100_000
    switch random.next() % 26 {
    case 0...4:
      let type: UInt32 = [0o100000, 0o100000, 0o040000, 0o010000, 0o140000, 0o020000].randomElement(using: &random)!
      inodes.append(
        try store.make(NewInode(mode: type | 0o644, umask: 0, device: 5), named: name, in: parent, by: Self.caller))
    case 5:
      let target = [UInt8](repeating: 0x61, count: 1 + Int(random.next() % 4095))
      inodes.append(try store.link(to: target, named: name, in: parent, by: Self.caller))
    case 6...10:
      try store.write(inode, [UInt8](repeating: 1, count: Int(length)), at: offset)
    case 11:
      var changes = AttributeChanges()
      changes.size = random.next() % 2 == 0 ? offset : length
      _ = try store.setAttributes(changes, of: inode, handle: nil, by: Self.caller)
    case 12, 13:
      let modes: [AllocateMode] = [[], .keepSize, [.punchHole, .keepSize], .zeroRange, [.zeroRange, .keepSize]]
      try store.allocate(
        inode, mode: modes.randomElement(using: &random)!, offset: offset, length: length + 1,
        handle: nil,
        by: Self.caller)
    case 14:
      if random.next() % 2 == 0, let found = try? store.find(name, in: parent) {
        store.retain(found)
        held.append(found)
      }
      try store.unlink(named: name, in: parent)
    case 15: try store.removeDirectory(named: name, in: parent)
    case 16, 17:
      try store.rename(
        name, in: parent, to: other, in: directory(store, &random),
        flags: [[], .noReplace, .exchange].randomElement(using: &random)!)
    case 18: try store.link(inode, named: name, in: parent)
    case 19, 20:
      let value = [UInt8](repeating: 2, count: Int(random.next() % 5000))
      try store.setXattr("user.\(random.next() % 6)", of: inode, value, by: Self.caller)
    case 21: try store.removeXattr("user.\(random.next() % 6)", of: inode)
    case 22:
      if !held.isEmpty { store.release(held.removeLast()) }
      let unnamed = try store.makeUnnamed(NewInode(mode: 0o100644, umask: 0), in: parent, by: Self.caller)
      store.retain(unnamed.inode)
      held.append(unnamed.inode)
      if random.next() % 2 == 0 { try store.link(unnamed.inode, named: name, in: parent) }
    case 23:
      let caller = Credentials(uid: UInt32(random.next() % 3), gid: 0, pid: 1)
      let name = "s\(random.next() % 3)"
      if random.next() % 2 == 0 {
        _ = try store.seal(
          SealRequest(lifetime: .persistent, name: name, taker: caller, preparation: .asIs, command: "test"),
          createOnly: false, of: inode)
      } else {
        try store.unseal(.named(uid: caller.uid, name: name), of: inode, by: caller)
      }
    default:
      let from = inodes.randomElement(using: &random) ?? inode
      _ = try store.copyRange(
        from: from, at: offset, to: inode, at: random.next() % 300_000, length: length,
        dropPrivileges: false, handle: nil, by: Self.caller)
    }
  }
}

extension Store {
  fileprivate func named<Result>(
    _ name: String, _ body: (UnsafeRawBufferPointer) throws(FSError) -> Result
  ) throws(FSError) -> Result {
    let bytes = Array(name.utf8)
    let outcome = bytes.withUnsafeBytes { raw -> Swift.Result<Result, FSError> in
      do throws(FSError) { return .success(try body(raw)) } catch { return .failure(error) }
    }
    return try outcome.get()
  }

  fileprivate func find(_ name: String, in parent: InodeNumber) throws(FSError) -> InodeNumber {
    try named(name) { raw throws(FSError) in try lookup(raw, in: parent).inode }
  }

  fileprivate func make(
    _ new: NewInode, named name: String, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> InodeNumber {
    try named(name) { raw throws(FSError) in try make(new, raw, in: parent, by: caller).inode }
  }

  fileprivate func link(
    to target: [UInt8], named name: String, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> InodeNumber {
    try named(String(decoding: target, as: UTF8.self)) { target throws(FSError) in
      try named(name) { raw throws(FSError) in try makeSymlink(to: target, raw, in: parent, by: caller).inode }
    }
  }

  fileprivate func link(_ inode: InodeNumber, named name: String, in parent: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in _ = try link(inode, as: raw, in: parent) }
  }

  fileprivate func unlink(named name: String, in parent: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in try unlink(raw, in: parent) }
  }

  fileprivate func removeDirectory(named name: String, in parent: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in try removeDirectory(raw, in: parent) }
  }

  fileprivate func rename(
    _ name: String, in parent: InodeNumber, to other: String, in newParent: InodeNumber, flags: RenameFlags
  ) throws(FSError) {
    try named(name) { old throws(FSError) in
      try named(other) { new throws(FSError) in try rename(old, in: parent, to: new, in: newParent, flags: flags) }
    }
  }

  fileprivate func setXattr(
    _ name: String, of inode: InodeNumber, _ value: [UInt8], by caller: Credentials
  ) throws(FSError) {
    try named(name) { raw throws(FSError) in
      try named(String(decoding: value, as: UTF8.self)) { value throws(FSError) in
        try setXattr(raw, of: inode, to: value, mode: .any, by: caller)
      }
    }
  }

  fileprivate func removeXattr(_ name: String, of inode: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in try removeXattr(raw, of: inode) }
  }

  fileprivate func write(_ inode: InodeNumber, _ data: [UInt8], at offset: UInt64) throws(FSError) {
    let outcome = data.withUnsafeBytes { raw -> Swift.Result<Void, FSError> in
      do throws(FSError) {
        _ = try write(
          inode, raw, at: offset, append: false, dropPrivileges: false, handle: nil,
          by: Credentials(uid: 0, gid: 0, pid: 1))
        return .success(())
      } catch { return .failure(error) }
    }
    try outcome.get()
  }
}
