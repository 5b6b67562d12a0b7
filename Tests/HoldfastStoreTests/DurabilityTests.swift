import Foundation
import HoldfastBase
import HoldfastFormat
import HoldfastStore
import Synchronization
import Testing

/// What a sync costs, and what it may say when the device fails.
@Suite struct DurabilityTests {
  /// One block of journal: the inode, the new extent, free space by offset and by length; well below the budget of
  /// two barriers and 16 KiB.
  @Test(arguments: [100, 4096, 60_000])
  func fsyncAfterAnAppendCostsTwoBarriersAndOneJournalBlock(byteCount: Int) throws {
    let volume = try Volume()
    let file = try volume.create("log")
    try volume.write(file, pattern(100))
    try volume.store.syncAll()
    try volume.store.housekeep()
    // From here on by rounds: the data's own blocks, and one of the journal.
    for _ in 0..<20 {
      let size = try volume.size(file)
      let (barriers, bytes) = volume.device.work
      try volume.write(file, pattern(byteCount), append: true)
      let data = volume.device.work.bytes - bytes
      try volume.store.sync(file, dataOnly: false)
      #expect(try volume.size(file) == size + UInt64(byteCount))
      #expect(volume.device.work.barriers - barriers == 2)
      #expect(volume.device.work.bytes - bytes - data == Block.size)
    }
  }

  @Test func syncingWhatIsDurableAsksNothingOfTheDevice() throws {
    let volume = try Volume()
    let file = try volume.create("file")
    try volume.write(file, pattern(5000))
    try volume.store.sync(file, dataOnly: false)
    let before = volume.device.work
    try volume.store.sync(file, dataOnly: false)
    try volume.store.sync(file, dataOnly: true)
    try volume.store.syncAll()
    #expect(volume.device.work == before)
  }

  /// Overwriting in place changes no map: one barrier makes the data durable, the times may follow in the journal.
  @Test func fdatasyncAfterOverwritingCostsOneBarrier() throws {
    let volume = try Volume()
    let file = try volume.create("file")
    try volume.write(file, pattern(50_000))
    try volume.store.sync(file, dataOnly: false)
    let before = volume.device.work
    try volume.write(file, pattern(8192, seed: 3), at: 4096)
    try volume.store.sync(file, dataOnly: true)
    #expect(volume.device.work.barriers - before.barriers == 1)
    #expect(volume.device.work.bytes - before.bytes == 8192)
  }

  @Test func aFailedVolumeSaysSoAtItsNextMount() throws {
    var volume = try Volume()
    let file = try volume.create("file")
    try volume.store.syncAll()
    volume.device.refusesWrites = true
    _ = try volume.create("lost")
    #expect(throws: FSError.self) { try volume.store.sync(file, dataOnly: false) }
    #expect(throws: FSError.readOnly) { try volume.create("refused") }
    volume.device.refusesWrites = false
    #expect(throws: FSError.self) { try volume.store.unmount() }
    volume.store = try Store(mounting: volume.device, options: Volume.options)
    #expect(volume.store.superblock.state.contains(.errors))
    #expect(try volume.names() == [".", "..", "file"])
  }

  /// The lesson of "fsyncgate": many wait for one commit, its barrier fails, the device recovers at once. Whoever
  /// waited must hear of the failure, not of the next barrier's success.
  @Test func nobodyWaitingForAFailedCommitIsToldItSucceeded() throws {
    let waiters = 8
    for _ in 0..<40 {
      let volume = try Volume(mebibytes: 16)
      let files = try (0..<waiters).map { try volume.create("file-\($0)") }
      for file in files { try volume.write(file, pattern(5000)) }
      let entered = Atomic<Int>(0)
      let failures = Atomic<Int>(0)
      let isFirst = Atomic<Bool>(true)
      volume.device.beforeBarrier = { () throws(FSError) in
        guard isFirst.exchange(false, ordering: .relaxed) else { return }
        while entered.load(ordering: .relaxed) < waiters { usleep(100) }
        usleep(1000)
        throw .device(operation: .barrier, byteOffset: 0, errno: EIO)
      }
      onThreads(waiters) { index in
        entered.add(1, ordering: .relaxed)
        do throws(FSError) {
          try volume.store.sync(files[index], dataOnly: false)
        } catch {
          failures.add(1, ordering: .relaxed)
        }
      }
      #expect(failures.load(ordering: .relaxed) == waiters)
      volume.device.beforeBarrier = nil
    }
  }
}

/// Runs `body` on `count` threads at once (not a pool's, which has no more than there are cores) and waits for all.
private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let done = DispatchSemaphore(value: 0)
  for index in 0..<count {
    Thread.detachNewThread {
      body(index)
      done.signal()
    }
  }
  for _ in 0..<count { done.wait() }
}
