/// The background thread, with real time.

import Glibc
import HoldfastBase
import Testing

@testable import HoldfastStore

@Suite("Store: the background thread") struct BackgroundTests {
  private func volume() throws -> Volume {
    var options = Volume.options
    options.backgroundThread = true
    options.commitSeconds = 1
    return try Volume(options: options)
  }

  /// False when it does not come true within half a minute.
  private func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<300 {
      if try condition() { return true }
      usleep(100_000)
    }
    return false
  }

  /// Whoever wakes the thread does not put off its next commit: `commit=` is a promise.
  @Test func constantWorkDoesNotPutOffTheCommit() throws {
    let volume = try volume()
    let store = volume.store
    _ = try volume.create("first")
    let ticket = store.treeLock.withLock { store.ticket }
    var round = 0
    #expect(
      try eventually {
        round += 1
        _ = try volume.create("\(round)")
        // Wakes it, for there is an inode to reclaim.
        try volume.unlink("\(round)")
        return store.commitState.lock.withLock { store.commitState.durableTicket >= ticket }
      })
    try store.unmount()
  }

  /// Nobody tells of the end of a lease: it is asked for.
  @Test func theEndOfALeaseIsNoticed() throws {
    let volume = try volume()
    let inode = try volume.create("file")
    try volume.write(inode, pattern(1 << 20))
    volume.device.leased = [inode]
    try volume.truncate(inode, 0)
    #expect(eventually { volume.store.usage.quarantinedBlocks == 256 })
    let asked = volume.device.leaseQuestions.load(ordering: .relaxed)
    #expect(eventually { volume.device.leaseQuestions.load(ordering: .relaxed) > asked })
    #expect(volume.store.usage.quarantinedBlocks == 256)
    volume.device.leased = []
    #expect(eventually { volume.store.usage.quarantinedBlocks == 0 })
    #expect(!volume.store.awaitsHolders)
    // An unlinked inode goes by itself as well.
    let other = try volume.create("other")
    volume.device.leased = [other]
    try volume.unlink("other")
    #expect(eventually { volume.store.seals.hasHolders(other) })
    volume.device.leased = []
    #expect(eventually { volume.store.usage.inodes == 2 })
    try volume.store.unmount()
    #expect(volume.check().issues.map(\.message) == [])
  }
}
