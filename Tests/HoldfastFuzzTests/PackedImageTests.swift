import HoldfastFuzz
import HoldfastSimulation
import Testing

@Suite struct PackedImageTests {
  @Test func roundTrip() throws {
    var random = SeededRandom(seed: 4)
    for _ in 0..<200 {
      var bytes: [UInt8] = []
      for _ in 0..<random.below(20) {
        bytes +=
          random.oneIn(2)
          ? [UInt8](repeating: UInt8(random.below(3)), count: random.below(300))
          : (0..<random.below(300)).map { _ in UInt8(random.below(256)) }
      }
      let packed = bytes.withUnsafeBytes { PackedImage.pack($0) }
      #expect(try PackedImage.unpack(packed[...]) == bytes)
    }
  }

  @Test func whatIsNotPackedIsRefused() throws {
    let packed = [UInt8](repeating: 7, count: 1000).withUnsafeBytes { PackedImage.pack($0) }
    #expect(throws: PackedImage.Failure.malformed) { try PackedImage.unpack([]) }
    #expect(throws: PackedImage.Failure.malformed) { try PackedImage.unpack(packed.dropLast()) }
    #expect(throws: PackedImage.Failure.malformed) { try PackedImage.unpack((packed + [0])[...]) }
    for index in packed.indices {
      var damaged = packed
      damaged[index] ^= 0xff
      #expect(throws: PackedImage.Failure.malformed) { try PackedImage.unpack(damaged[...]) }
    }
  }
}
