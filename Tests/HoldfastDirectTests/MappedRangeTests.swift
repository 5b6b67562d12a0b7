import CPlatform
import Glibc
import HoldfastDirect
import Testing

@Suite struct MappedRangeTests {
  private static let block = ScratchImage.block

  private func bytes(_ range: borrowing MappedRange, _ index: Int) -> UInt8 {
    range.start.load(fromByteOffset: index * Self.block, as: UInt8.self)
  }

  @Test(arguments: [MapOptions(), .populate]) func extentsAreOneRange(options: MapOptions) throws {
    let image = try ScratchImage(blocks: 32)
    let space = try image.space([(0, 20, 2, .written), (2, 3, 1, .written), (3, 9, 5, .written)])
    let range = try space.map(4096, 6 * 4096 - 10, writable: true, options: options)
    #expect(range.length == 6 * 4096)
    #expect((0..<6).map { bytes(range, $0) } == [22, 4, 10, 11, 12, 13])
    range.start.storeBytes(of: 0x77, toByteOffset: 4096 + 5, as: UInt8.self)
    #expect(try image.contents()[3 * 4096 + 5] == 0x77)
  }

  @Test func whatCannotBeMappedIsNot() throws {
    let image = try ScratchImage(blocks: 32)
    let space = try image.space(
      [(0, 20, 2, .written), (3, 9, 2, .written), (5, 1, 1, .unwritten), (6, 2, 1, .shared), (7, 4, 1, .prepared)],
      end: 8 << 12)
    func expect(_ offset: UInt64, _ length: UInt64, _ reason: DirectError.Reason, at defect: UInt64 = 0) {
      var expected = DirectError(.map, reason)
      if defect > 0 { (expected.defectOffset, expected.defectLength) = (defect, 4096) }
      #expect(throws: expected) { _ = try space.map(offset, length, writable: true) }
    }
    expect(0, 5 << 12, .hole, at: 2 << 12)
    expect(3 << 12, 3 << 12, .unwritten, at: 5 << 12)
    expect(6 << 12, 1, .shared, at: 6 << 12)
    expect(7 << 12, 2 << 12, .outsideLayout)
    expect(1, 100, .malformedRange)
    expect(0, 0, .malformedRange)
    expect(0, .max, .malformedRange)
    let prepared = try space.map(7 << 12, 4096, writable: true)
    #expect(bytes(prepared, 0) == 5)
  }

  /// Not direct: what has no bytes on the image is zeros, for who only reads.
  @Test func holesMayBeRead() throws {
    let image = try ScratchImage(blocks: 32)
    let space = try image.space([(1, 20, 1, .written), (2, 1, 1, .unwritten), (3, 2, 1, .shared)])
    let range = try space.map(0, 5 * 4096, writable: false)
    #expect((0..<5).map { bytes(range, $0) } == [0, 21, 0, 3, 0])
    var expected = DirectError(.map, .hole)
    expected.defectLength = 4096
    #expect(throws: expected) { _ = try space.map(0, 5 * 4096, writable: false, options: .direct) }
    #expect(throws: expected) { _ = try space.map(0, 5 * 4096, writable: true) }
  }

  /// Nothing of a mapping that failed half-way stays; nobody's mapping is hit.
  @Test func nothingStaysOfAFailure() throws {
    let image = try ScratchImage(blocks: 8)
    let space = try image.space([(0, 2, 2, .written), (2, 6, 1, .written)])
    let before = try Self.mappings(of: image.path)
    #expect(throws: DirectError(.map, errno: EOPNOTSUPP)) {
      _ = try space.map(0, 3 * 4096, writable: true, options: .sync)
    }
    #expect(try Self.mappings(of: image.path) == before)
    do {
      let range = try space.map(0, 3 * 4096, writable: false)
      #expect(try Self.mappings(of: image.path) == before + 2)
      #expect(bytes(range, 2) == 7)
    }
    #expect(try Self.mappings(of: image.path) == before)
  }

  private static func mappings(of path: String) throws -> Int {
    let stream = try #require(fopen("/proc/self/maps", "r"))
    defer { fclose(stream) }
    var line = [CChar](repeating: 0, count: 5000)
    var count = 0
    while fgets(&line, Int32(line.count), stream) != nil {
      if strstr(line, path) != nil { count += 1 }
    }
    return count
  }

  @Test func tooManyPiecesAreCounted() throws {
    let image = try ScratchImage(blocks: 2)
    // All at one place: neighbours on the image would be one extent.
    let extents = (0...DirectSpace.maximumPieces).map { ($0, 0, 1, DirectExtent.State.written) }
    let space = try image.space(extents)
    var expected = DirectError(.map, .tooManyPieces)
    expected.pieces = DirectSpace.maximumPieces + 1
    #expect(throws: expected) {
      _ = try space.map(0, UInt64(extents.count) << 12, writable: false)
    }
    // One fewer is mapped, if the process has not that many already.
    let range = try space.map(0, UInt64(DirectSpace.maximumPieces) << 12, writable: false)
    #expect(bytes(range, DirectSpace.maximumPieces - 1) == 1)
  }

  /// The address is where huge pages of the image would be huge pages of the mapping.
  @Test(arguments: [0, 1, 511, 512, 700]) func hugePagesFit(firstBlock: Int) throws {
    let image = try ScratchImage(blocks: 1)
    #expect(truncate(image.path, 16 << 20) == 0)
    var table = ExtentTable()
    let length: UInt64 = 5 << 20
    let isSound = table.append(
      DirectExtent(logical: 0, physical: UInt64(firstBlock) << 12, length: length), imageBytes: 16 << 20)
    #expect(isSound)
    let space = DirectSpace(image: try image.open(), extents: table, start: 0, end: .max, writable: true)
    let range = try space.map(0, length, writable: true)
    #expect((Int(bitPattern: range.start) - firstBlock << 12) % (2 << 20) == 0)
    memset(range.start, 1, range.length)
  }

  /// A mapping holds the lease, not the descriptor alone.
  @Test func aMappingHoldsTheLease() throws {
    let image = try ScratchImage(blocks: 4)
    var range: MappedRange?
    do {
      let file = try image.open()
      #expect(holdfast_direct_lease(file.descriptor, 1 << 62 + 77) == 0)
      var table = ExtentTable()
      _ = table.append(DirectExtent(logical: 0, physical: 0, length: 4096), imageBytes: 4096)
      let space = DirectSpace(image: file, extents: table, start: 0, end: .max, writable: true)
      range = try space.map(0, 4096, writable: true)
      #expect(try image.isLeased(77))
    }
    #expect(try image.isLeased(77))
    range = nil
    _ = consume range
    #expect(try !image.isLeased(77))
  }
}
