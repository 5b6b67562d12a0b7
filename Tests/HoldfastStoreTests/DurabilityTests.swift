import HoldfastBase
import HoldfastFormat
import HoldfastStore
import Testing

/// What a sync costs the device.
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
}
