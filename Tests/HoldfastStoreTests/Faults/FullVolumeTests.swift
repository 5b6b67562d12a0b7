/// Every operation at every fill level: done, or refused with ENOSPC before anything changed; what deletes always works;
/// the volume never fails; and all the space comes back.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import Testing

@testable import HoldfastStore

@Suite("Store: a full volume") struct FullVolumeTests {
  /// What a volume holds that the operations below work on, beside what fills it.
  struct Props {
    var small: InodeNumber
    var sparse: InodeNumber
    var preallocated: InodeNumber
    var big: InodeNumber
    var folder: InodeNumber
    var sealed: InodeNumber

    init(_ volume: Volume) throws {
      small = try volume.create("small")
      try volume.write(small, pattern(5000))
      sparse = try volume.create("sparse")
      try volume.truncate(sparse, 10 << 20)
      preallocated = try volume.create("preallocated")
      try volume.allocate(preallocated, [], 0, 64 << 10)
      big = try volume.create("big")
      try volume.write(big, pattern(400 << 10))
      folder = try volume.makeDirectory("folder")
      _ = try volume.create("in-folder", in: folder)
      sealed = try volume.create("sealed")
      try volume.write(sealed, pattern(5000))
      try volume.setXattr("user.small", [1, 2, 3], of: small)
      try volume.setXattr("user.large", pattern(60_000), of: big)
    }
  }

  /// An operation; `always` ones must succeed on the fullest volume.
  struct Attempt: CustomTestStringConvertible, Sendable {
    var name: String
    var always = false
    var perform: @Sendable (Volume, Props) throws -> Void
    var testDescription: String { name }
  }

  static let attempts: [Attempt] = [
    Attempt(name: "create") { volume, _ in _ = try volume.create("new") },
    Attempt(name: "mkdir") { volume, _ in _ = try volume.makeDirectory("new") },
    Attempt(name: "symlink") { volume, _ in try volume.makeSymlink("new", to: 4000) },
    Attempt(name: "mknod") { volume, _ in _ = try volume.create("new", mode: 0o010644) },
    Attempt(name: "tmpfile") { volume, _ in try volume.makeUnnamed() },
    Attempt(name: "link") { volume, props in try volume.link(props.small, "new") },
    Attempt(name: "rename") { volume, _ in try volume.rename("small", to: "new") },
    Attempt(name: "rename over") { volume, _ in try volume.rename("small", to: "sealed") },
    Attempt(name: "whiteout") { volume, _ in try volume.rename("small", to: "new", flags: .whiteout) },
    Attempt(name: "exchange") { volume, _ in try volume.rename("small", to: "big", flags: .exchange) },
    Attempt(name: "append") { volume, props in try volume.write(props.small, pattern(4096), append: true) },
    Attempt(name: "append much") { volume, props in try volume.write(props.small, pattern(1 << 20), append: true) },
    Attempt(name: "fill a hole") { volume, props in try volume.write(props.sparse, pattern(8192), at: 1 << 20) },
    Attempt(name: "write far") { volume, props in try volume.write(props.small, [1], at: 1 << 40) },
    Attempt(name: "write what is preallocated") { volume, props in
      try volume.write(props.preallocated, pattern(4096), at: 8192)
    },
    Attempt(name: "fallocate") { volume, props in try volume.allocate(props.small, [], 0, 100_000) },
    Attempt(name: "fallocate, keeping size") { volume, props in
      try volume.allocate(props.small, .keepSize, 0, 100_000)
    },
    Attempt(name: "zero holes") { volume, props in try volume.allocate(props.sparse, .zeroRange, 5000, 100_000) },
    Attempt(name: "xattr") { volume, props in try volume.setXattr("user.new", [1], of: props.small) },
    Attempt(name: "large xattr") { volume, props in try volume.setXattr("user.new", pattern(65_536), of: props.small) },
    Attempt(name: "seal, filling") { volume, props in try volume.seal(props.preallocated, .fill) },
    Attempt(name: "seal for good") { volume, props in
      let request = SealRequest(lifetime: .persistent, name: "keep", taker: Volume.user)
      _ = try volume.store.seal(request, createOnly: false, of: props.sealed)
    },
    Attempt(name: "overwrite", always: true) { volume, props in try volume.write(props.big, pattern(100_000, seed: 9))
    },
    Attempt(name: "zero a range", always: true) { volume, props in
      try volume.allocate(props.big, .zeroRange, 10_000, 100_000)
    },
    Attempt(name: "punch", always: true) { volume, props in
      try volume.allocate(props.big, [.punchHole, .keepSize], 10_000, 100_000)
    },
    Attempt(name: "truncate", always: true) { volume, props in try volume.truncate(props.big, 100) },
    Attempt(name: "truncate to nothing", always: true) { volume, props in try volume.truncate(props.big, 0) },
    Attempt(name: "truncate up", always: true) { volume, props in try volume.truncate(props.small, 1 << 30) },
    Attempt(name: "unlink", always: true) { volume, _ in try volume.unlink("big") },
    Attempt(name: "rmdir", always: true) { volume, props in
      try volume.unlink("in-folder", in: props.folder)
      try volume.removeDirectory("folder")
    },
    Attempt(name: "chmod", always: true) { volume, props in
      var changes = AttributeChanges()
      changes.mode = 0o600
      _ = try volume.store.setAttributes(changes, of: props.small, handle: nil, by: Volume.user)
    },
    Attempt(name: "remove an xattr", always: true) { volume, props in
      try volume.removeXattr("user.large", of: props.big)
    },
    Attempt(name: "seal, release", always: true) { volume, props in
      try volume.seal(props.sealed)
      try volume.unseal(props.sealed)
    },
    Attempt(name: "read, list", always: true) { volume, props in
      _ = try volume.read(props.small, 6000)
      _ = try volume.names()
    },
    Attempt(name: "sync, checkpoint", always: true) { volume, _ in
      try volume.store.syncAll()
      try volume.store.checkpoint()
    },
  ]

  enum Filling: CaseIterable { case data, names, attributes, extents }

  /// Fills the volume to the brim, the last steps as small as can be; how many there were.
  private func fill(_ volume: Volume, _ filling: Filling, upTo limit: Int = .max) throws -> Int {
    var steps = 0
    let file = try volume.create("filler")
    if filling != .data {
      // What is to be short is room for records, not for data.
      try grow(file, volume, leaving: filling == .extents ? 400 : 0)
    }
    do {
      while steps < limit {
        switch filling {
        case .data: try volume.write(file, pattern(4096), at: UInt64(steps) << 12)
        case .names: _ = try volume.create("a-name-that-takes-some-room-in-its-directory-\(steps)")
        case .attributes: try volume.setXattr("user.\(steps)", pattern(900), of: volume.create("with-\(steps)"))
        case .extents: try volume.write(file, [1], at: 1 << 40 + UInt64(steps) << 20)
        }
        steps += 1
      }
    } catch FSError.noSpace {}
    return steps
  }

  /// Fills with one file until so many blocks are left.
  private func grow(_ file: InodeNumber, _ volume: Volume, leaving kept: UInt64) throws {
    while volume.store.usage.freeBlocks > kept {
      let want = min((volume.store.usage.freeBlocks - kept) << 12, 1 << 20)
      let end = try volume.size(file)
      do { try volume.allocate(file, [], end, want) } catch FSError.noSpace { return }
    }
  }

  /// Levels before the brim that are tried: each of the last ones, then fewer and fewer.
  private static let levels = [0, 1, 2, 4, 9, 25]

  @Test(arguments: Filling.allCases) func everyOperationAtEveryLevel(_ filling: Filling) throws {
    var brim = try Volume(mebibytes: 16)
    _ = try Props(brim)
    let steps = try fill(brim, filling)
    #expect(steps > 50)
    try empty(&brim, filling)
    for level in Self.levels {
      let sample = try Volume(mebibytes: 16)
      let props = try Props(sample)
      #expect(try fill(sample, filling, upTo: steps - level) >= steps - level - 4)
      let names = try sample.names()
      try sample.store.unmount()
      let image = Array(sample.device.memory.bytes)
      for attempt in Self.attempts {
        let volume = try Volume(of: image)
        var isRefused = false
        do {
          try attempt.perform(volume, props)
        } catch let error as FSError {
          #expect(error == .noSpace && !attempt.always, "\(attempt.name), \(level) before the brim: \(error)")
          // Nothing of it has happened.
          isRefused = true
          #expect(try volume.read(props.small, 6000) == pattern(5000))
          #expect(try volume.names() == names, "\(attempt.name)")
        }
        #expect(volume.store.health == .sound, "\(attempt.name), \(level) before the brim")
        try volume.unlink("filler")
        guard isRefused || level == 0 else { continue }
        try volume.store.unmount()
        let issues = volume.check().issues.map(\.message)
        #expect(issues == [], "\(attempt.name), \(level) before the brim")
      }
    }
  }

  /// Deletes everything; the space is what it was before.
  private func empty(_ volume: inout Volume, _ filling: Filling) throws {
    for name in try volume.names() where name != "." && name != ".." {
      if name == "folder" {
        try volume.unlink("in-folder", in: volume.lookup("folder"))
        try volume.removeDirectory(name)
      } else {
        try volume.unlink(name)
      }
    }
    try volume.store.settle()
    let fresh = try Volume(mebibytes: 16).store.usage
    #expect(volume.store.usage.freeBlocks == fresh.freeBlocks, "\(filling)")
    #expect(volume.store.usage.quarantinedBlocks == 0 && volume.store.usage.inodes == fresh.inodes)
    try volume.remount()
    #expect(volume.store.usage.freeBlocks == fresh.freeBlocks, "\(filling), after a remount")
    #expect(volume.check().isSound)
  }

  /// Anything, at random, on a volume that is full all the time: only ENOSPC, only to what grows; then all comes back.
  @Test(arguments: 1...4 as ClosedRange<UInt64>) func atTheBrimForLong(seed: UInt64) throws {
    var random = SplitMix(seed)
    var volume = try Volume(mebibytes: 16)
    var props = try Props(volume)
    let filling = Filling.allCases[Int(seed) % Filling.allCases.count]
    _ = try fill(volume, filling)
    var refusals = 0
    for round in 0..<4000 {
      let attempt = Self.attempts[Int(random.next() % UInt64(Self.attempts.count))]
      do { try attempt.perform(volume, props) } catch let error as FSError {
        if error == .noSpace {
          refusals += 1
          // What was zeroed, punched or cut before needs room again.
          let mayGrow = !attempt.always || ["overwrite", "zero a range"].contains(attempt.name)
          #expect(mayGrow, "seed \(seed), round \(round): \(attempt.name)")
        } else if ![.exists, .notFound, .stale, .isDirectory, .noData].contains(error) {
          Issue.record("seed \(seed), round \(round): \(attempt.name): \(error)")
        }
      }
      try #require(volume.store.health == .sound, "seed \(seed), round \(round): \(attempt.name)")
      for name in ["new", "small", "sparse", "preallocated", "big", "sealed"] where random.next() % 8 == 0 {
        _ = volume.store.seals.revoke(.all)
        try? volume.unlink(name)
      }
      if random.next() % 16 == 0 {
        try? volume.unlink("in-folder", in: props.folder)
        for name in ["folder", "new"] { try? volume.removeDirectory(name) }
        for name in ["small", "sparse", "preallocated", "big", "sealed"] { try? volume.unlink(name) }
        if let again = try? Props(volume) { props = again }
        // Full again.
        if let filler = try? volume.lookup("filler") { try? grow(filler, volume, leaving: random.next() % 3) }
      }
      if random.next() % 64 == 0 { try volume.store.housekeep() }
    }
    #expect(refusals > 20, "seed \(seed)")
    for name in try volume.names() where name != "." && name != ".." {
      if (try? volume.unlink(name)) != nil { continue }
      try? volume.unlink("in-folder", in: volume.lookup(name))
      try volume.removeDirectory(name)
    }
    try volume.store.settle()
    try volume.remount()
    #expect(volume.store.usage.freeBlocks == (try Volume(mebibytes: 16).store.usage.freeBlocks), "seed \(seed)")
    #expect(volume.check().isSound, "seed \(seed)")
  }

  /// Two files block by block: what one of them leaves is splinters, and freeing it takes more records than it had.
  @Test func splinters() throws {
    var volume = try Volume(mebibytes: 512)
    let (first, second) = (try volume.create("first"), try volume.create("second"))
    let fresh = volume.store.usage.freeBlocks
    var block: UInt64 = 0
    do {
      while true {
        // A hole between any two keeps them from growing together.
        for file in [first, second] { try volume.allocate(file, .keepSize, block << 13, 4096) }
        block += 1
      }
    } catch FSError.noSpace {}
    #expect(block > 60_000)
    try volume.unlink("first")
    try volume.store.housekeep()
    // Half of it is free, no two blocks of it side by side; and it can be used, by names and by data.
    let folder = try volume.makeDirectory("folder")
    for index in 0..<10_000 { _ = try volume.create("file-\(index)", in: folder) }
    try volume.write(volume.create("data"), pattern(1 << 20))
    // Split every extent that is left, which frees nothing.
    var splits = 0
    do {
      while splits < 30_000 {
        try volume.write(second, [1], at: UInt64(splits) << 13)
        splits += 1
      }
    } catch FSError.noSpace {}
    #expect(volume.store.health == .sound)
    try volume.truncate(second, 0)
    for index in 0..<10_000 { try volume.unlink("file-\(index)", in: folder) }
    try volume.removeDirectory("folder")
    for name in ["second", "data"] { try volume.unlink(name) }
    try volume.store.settle()
    #expect(volume.store.usage.freeBlocks == fresh)
    try volume.remount()
    #expect(volume.store.usage.freeBlocks == fresh)
    #expect(volume.check().isSound)
  }
}

/// Small and good enough.
struct SplitMix {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }
}
