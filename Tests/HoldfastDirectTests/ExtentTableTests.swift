import HoldfastDirect
import Testing

@Suite struct ExtentTableTests {
  private func extent(_ logical: UInt64, _ physical: UInt64, _ length: UInt64) -> DirectExtent {
    DirectExtent(logical: logical << 12, physical: physical << 12, length: length << 12)
  }

  @Test func neighboursBecomeOne() {
    var table = ExtentTable()
    for (logical, physical) in [(0, 10), (1, 11), (2, 13), (4, 15)] as [(UInt64, UInt64)] {
      let isSound = table.append(extent(logical, physical, 1), imageBytes: 1 << 20)
      #expect(isSound)
    }
    var found: [DirectExtent] = []
    for index in 0..<table.count { found.append(table[index]) }
    #expect(found == [extent(0, 10, 2), extent(2, 13, 1), extent(4, 15, 1)])
  }

  @Test(
    arguments: [
      (4, 1, 1), (3, 1, 1), (5, 1, 0), (5, 255, 2), (5, 256, 1), (5, 1 << 51, 1), (1 << 51, 1, 1), (5, 1, 1 << 51),
    ] as [(UInt64, UInt64, UInt64)])
  func whatNoMapHasIsRefused(_ logical: UInt64, _ physical: UInt64, _ length: UInt64) {
    var table = ExtentTable()
    let first = table.append(extent(3, 0, 2), imageBytes: 1 << 20)
    #expect(first)
    let isSound = table.append(extent(logical, physical, length), imageBytes: 1 << 20)
    #expect(!isSound)
    #expect(table.count == 1)
  }

  @Test func partsOfBlocksAreRefused() {
    for (logical, physical, length) in [(1, 0, 4096), (0, 512, 4096), (0, 0, 100)] as [(UInt64, UInt64, UInt64)] {
      var table = ExtentTable()
      let isSound = table.append(
        DirectExtent(logical: logical, physical: physical, length: length), imageBytes: 1 << 20)
      #expect(!isSound)
    }
  }
}
