import HoldfastBase
import Testing

@testable import HoldfastFuse
@testable import HoldfastStore

@Suite struct SnapshotTests {
  @Test func pagesComeFromOneSnapshot() throws {
    let snapshots = TextSnapshots()
    let cookie = snapshots.keep([1, 2, 3])
    let other = snapshots.keep([4])
    #expect(cookie != 0 && other != cookie)
    #expect(try snapshots.text(cookie) == [1, 2, 3])
    snapshots.drop(cookie)
    #expect(throws: FSError.stale) { try snapshots.text(cookie) }
    #expect(try snapshots.text(other) == [4])
  }

  @Test func theOldestMakesRoom() throws {
    let snapshots = TextSnapshots()
    let cookies = (0..<17).map { snapshots.keep([UInt8($0)]) }
    #expect(throws: FSError.stale) { try snapshots.text(cookies[0]) }
    #expect(try snapshots.text(cookies[1]) == [1])
    #expect(try snapshots.text(cookies[16]) == [16])
  }

  @Test func usageIsAnObject() {
    var json = JSONWriter()
    VolumeUsage(totalBlocks: 10, freeBlocks: 5, quarantinedBlocks: 1, inodes: 2).write(to: &json)
    let text = String(decoding: json.finish(), as: UTF8.self)
    #expect(
      text == #"{"block_size":4096,"total_blocks":10,"free_blocks":5,"quarantined_blocks":1,"inodes":2}"#)
  }
}
