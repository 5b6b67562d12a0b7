/// Inodes that somebody leases: when the daemon begins again, and when they have no name any more (row 17).

import HoldfastBase
import HoldfastSeal
import Testing

@testable import HoldfastStore

@Suite("Store: leased inodes") struct LeasedInodeTests {
  private func lease(_ volume: Volume, _ inode: InodeNumber) -> RequestInfo? {
    volume.store.seals.request(.lease, inode: inode)
  }

  /// After a crash of the daemon the map of a leased file stays as it is until the lease is gone.
  @Test func aMapStaysAfterACrash() throws {
    var volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 1)
    let free = try volume.makeFile("free", mebibytes: 1)
    volume.device.leased = [inode, 1 << 40]
    try volume.crash()
    let request = try #require(lease(volume, inode)).request
    #expect(request.kind == .hard && request.scope == .wholeFile && request.uid == 0 && request.holderPid == 0)
    #expect(request.lifetime.description == "lease")
    #expect(volume.store.seals.totalCount == 1)
    #expect(throws: FSError.self) { try volume.truncate(inode, 0) }
    #expect(throws: FSError.self) { try volume.write(inode, [1], at: 2 << 20) }
    try volume.write(inode, [1], at: 5)
    try volume.truncate(free, 0)
    // It is nobody's to release.
    #expect(throws: FSError.notPermitted) { try volume.unseal(inode) }
    #expect(throws: FSError.notPermitted) {
      try volume.store.unseal(.named(uid: 0, name: ""), of: inode, by: Credentials(uid: 0, gid: 0, pid: 1))
    }
    #expect(throws: FSError.notPermitted) { try volume.store.unseal(.handle(3, name: ""), of: inode, by: Volume.user) }
    #expect(throws: FSError.noData) { try volume.unseal(inode, name: "other") }
    // Others' requests stand beside it.
    try volume.seal(inode)
    try volume.unseal(inode)
    try volume.store.housekeep()
    #expect(lease(volume, inode) != nil)
    volume.device.leased = []
    try volume.store.housekeep()
    #expect(volume.store.seals.totalCount == 0 && !volume.store.awaitsHolders)
    try volume.truncate(inode, 0)
  }

  /// An administrator may take the request away; the blocks stay whose they are while the lock lives.
  @Test func aRevokeEndsTheRequestOnly() throws {
    var volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 1)
    volume.device.leased = [inode]
    try volume.crash()
    #expect(try volume.store.revoke(RevokeSelection(inode: inode)).count == 1)
    try volume.truncate(inode, 0)
    try volume.settle()
    #expect(lease(volume, inode) == nil, "it does not come back")
    #expect(volume.store.usage.quarantinedBlocks == 256)
    volume.device.leased = []
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0)
  }

  /// Decision 7: a cut that the crash interrupted was decided before it; its blocks wait in quarantine.
  @Test func anInterruptedTruncationIsFinished() throws {
    var volume = try Volume()
    let inode = try volume.create("file")
    // Many extents, so that the truncation takes several steps.
    for block in stride(from: UInt64(0), to: 120, by: 2) { try volume.write(inode, pattern(4096), at: block << 12) }
    try volume.settle()
    let free = volume.store.usage.freeBlocks
    let places = try volume.places(of: inode)
    volume.device.leased = [inode]
    // The first step is durable, and nothing after it.
    let device = volume.device
    var image: [UInt8] = []
    do {
      let copy = MemoryDevice(mebibytes: 64)
      copy.memory.bytes.copyBytes(from: device.memory.bytes)
      let store = try Store(mounting: copy, options: Volume.options)
      let permit = try store.seals.authorize(.truncate(toByteCount: 0), inode: inode, by: .daemon)
      try store.transaction(keys: 60, .shrinking) { () throws(FSError) in
        var record = try store.inode(inode)
        record.size = 0
        let left = try store.removeExtents(of: inode, from: 0, to: 1 << 40, limit: 4, permit)
        record.blocks -= left.removedBlocks
        try store.putInode(inode, record)
        try store.putOrphan(inode, .init(kind: .truncating, firstBlock: 0))
      }
      try store.syncAll()
      image = Array(copy.memory.bytes)
    }
    device.memory.bytes.copyBytes(from: image)
    try volume.crash()
    #expect(try volume.places(of: inode) == [])
    #expect(lease(volume, inode) != nil)
    #expect(volume.store.usage.quarantinedBlocks == 60 && volume.store.usage.freeBlocks <= free)
    for other in try volume.fill("other") {
      for place in try volume.places(of: other) { #expect(!places.contains { $0.overlaps(place) }) }
    }
    device.leased = []
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0)
    try volume.store.unmount()
    #expect(volume.check().issues.map(\.message) == [])
  }

  /// Row 17: what has no name keeps its blocks while somebody maps them, is listed, and goes without a remount.
  @Test(arguments: [false, true]) func anUnlinkedInodeWaitsForItsLeases(crashing: Bool) throws {
    var volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 1)
    try volume.seal(inode, name: "kept")
    volume.device.leased = [inode]
    try volume.unlink("file")
    if crashing {
      try volume.store.syncAll()
      try volume.crash()
    }
    for _ in 0..<3 { try volume.settle() }
    #expect(volume.store.usage.inodes == 2 && lease(volume, inode) != nil)
    #expect(volume.store.seals.allRequests().contains { $0.inode == inode })
    // Its named requests stay with it; a crash ends them.
    #expect(volume.store.seals.count(inode) == (crashing ? 1 : 2))
    volume.device.leased = []
    try volume.settle()
    #expect(volume.store.usage.inodes == 1 && volume.store.usage.quarantinedBlocks == 0)
    #expect(volume.store.seals.totalCount == 0 && !volume.store.awaitsHolders)
    try volume.store.unmount()
    #expect(volume.check().issues.map(\.message) == [])
  }

  /// A revoke lets the inode go; its blocks stay in quarantine.
  @Test func aRevokedOrphanLeavesItsBlocks() throws {
    let volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 1)
    volume.device.leased = [inode]
    try volume.unlink("file")
    try volume.settle()
    #expect(try volume.store.revoke(RevokeSelection(inode: inode)).count == 1)
    try volume.settle()
    #expect(volume.store.usage.inodes == 1 && volume.store.usage.quarantinedBlocks == 256)
    volume.device.leased = []
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0 && !volume.store.awaitsHolders)
  }

  /// Requests bound to a process keep the inode until it ends; named and persistent ones do not.
  @Test func anUnlinkedInodeWaitsForAProcess() throws {
    var volume = try Volume()
    let named = try volume.makeFile("named", mebibytes: 1)
    try volume.seal(named)
    _ = try volume.store.seal(
      SealRequest(lifetime: .persistent, name: "disk", taker: Volume.user), createOnly: false, of: named)
    let bound = try volume.makeFile("bound", mebibytes: 1)
    let request = SealRequest(lifetime: .process(77), name: "", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: bound)
    try volume.unlink("named")
    try volume.unlink("bound")
    try volume.settle()
    #expect(volume.store.usage.inodes == 2 && volume.store.seals.count(named) == 0)
    #expect(volume.store.seals.allRequests().map(\.inode) == [bound])
    volume.store.seals.processDied(77)
    try volume.settle()
    #expect(volume.store.usage.inodes == 1 && !volume.store.awaitsHolders)
    try volume.remount()
    #expect(volume.store.seals.totalCount == 0)
    try volume.store.unmount()
    #expect(volume.check().issues.map(\.message) == [])
  }

  /// The mount's end ends what waits for a process (row 29), and the unmount is a clean one.
  @Test func anUnmountEndsTheWaiting() throws {
    let volume = try Volume()
    let bound = try volume.makeFile("bound", mebibytes: 1)
    let leased = try volume.makeFile("leased", mebibytes: 1)
    let request = SealRequest(lifetime: .process(77), name: "", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: bound)
    volume.device.leased = [leased]
    try volume.unlink("bound")
    try volume.unlink("leased")
    try volume.settle()
    #expect(volume.store.usage.inodes == 3)
    try volume.store.unmount()
    let report = volume.check()
    #expect(report.isSound && !report.wasUnclean && report.totals.inodes == 1)
    #expect(report.totals.quarantinedBlocks == 256, "the leased blocks are nobody's still")
  }

  /// Row 17: an unlink, or a rename over it, asks breakable holders to let go, and waits for nobody.
  @Test(arguments: [false, true]) func anUnlinkRecalls(byRename: Bool) throws {
    let volume = try Volume()
    let inode = try volume.makeFile("file", mebibytes: 1)
    let request = SealRequest(
      kind: .breakable(graceSeconds: 100), lifetime: .process(77), name: "", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: inode)
    if byRename {
      _ = try volume.create("new")
      try volume.rename("new", to: "file")
    } else {
      try volume.unlink("file")
    }
    #expect(volume.store.seals.requests(of: inode).map { $0.recallMilliseconds != nil } == [true])
    try volume.settle()
    #expect(volume.store.seals.count(inode) == 1, "the blocks wait for the holder")
    // The grace is over, the process still there.
    volume.store.seals.fenceOverdue(now: Clocks.monotonicNanoseconds() + 200 * Clocks.nanosecondsPerSecond)
    try volume.settle()
    #expect(volume.store.seals.count(inode) == 0 && volume.store.usage.quarantinedBlocks == 256)
    volume.store.seals.processDied(77)
    try volume.settle()
    #expect(volume.store.usage.quarantinedBlocks == 0)
  }
}
