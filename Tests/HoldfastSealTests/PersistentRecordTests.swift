import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct PersistentRecordTests {
  static let samples: [SealRequest] = [
    request(lifetime: .persistent),
    request(
      String(repeating: "n", count: 64), lifetime: .persistent, taker: Credentials(uid: .max, gid: .max, pid: .max),
      kind: .breakable(graceSeconds: SealSpecification.maximumGraceSeconds),
      scope: .range(byteOffset: Limits.fileBytes - 1, byteCount: 1), ttl: .max,
      pinnedBytes: .max),
    request("x", lifetime: .persistent, kind: .breakable(graceSeconds: 0), scope: .range(byteOffset: 5, byteCount: 9)),
  ]

  @Test(arguments: samples) func roundTrip(_ sample: SealRequest) throws {
    let bytes = sample.encodePersistent()
    #expect(bytes.count <= SealRequest.maximumPersistentBytes && SealRequest.maximumPersistentBytes <= 1200)
    var decoded = try #require(SealRequest(decodingPersistent: bytes))
    // Wall-clock seconds: the age survives to within rounding.
    #expect(abs(decoded.takenAt - sample.takenAt) <= 2 * Clocks.nanosecondsPerSecond)
    decoded.takenAt = sample.takenAt
    #expect(decoded == sample)
  }

  /// The layout is on disks: these bytes must decode for ever.
  @Test func layoutIsPinned() throws {
    var bytes: [UInt8] = [1, 1, 1, 2, 30, 0, 0, 0]
    bytes += [0x00, 0x10, 0, 0, 0, 0, 0, 0] + [0x00, 0x20, 0, 0, 0, 0, 0, 0]
    bytes += [0xe8, 3, 0, 0] + [0xe9, 3, 0, 0] + [7, 0, 0, 0] + [0, 0, 0, 0]
    bytes += [0, 0, 0, 0, 0, 0, 0, 0] + [0x00, 0x20, 0, 0, 0, 0, 0, 0] + [2, 3, 0, 0]
    bytes += Array("ab".utf8) + Array("cmd".utf8)
    let decoded = try #require(SealRequest(decodingPersistent: bytes))
    #expect(decoded.kind == .breakable(graceSeconds: 30) && decoded.preparation == .asIs)
    #expect(decoded.scope == .range(byteOffset: 4096, byteCount: 8192) && decoded.pinnedBytes == 8192)
    #expect((decoded.uid, decoded.gid, decoded.pid) == (1000, 1001, 7) && decoded.ttlSeconds == nil)
    #expect(decoded.name == "ab" && decoded.command == "cmd" && decoded.lifetime == .persistent)
  }

  @Test func longCommandsAreCutBetweenCharacters() throws {
    var long = request(lifetime: .persistent)
    long.command = String(repeating: "é", count: 200)
    let decoded = try #require(SealRequest(decodingPersistent: long.encodePersistent()))
    #expect(decoded.command == String(repeating: "é", count: 127))
  }

  @Test func expiryCountsTimeUnmounted() throws {
    var old = request(lifetime: .persistent, ttl: 60)
    old.takenAt -= 100 * Clocks.nanosecondsPerSecond
    let decoded = try #require(SealRequest(decodingPersistent: old.encodePersistent()))
    #expect(decoded.isExpired())
    let table = SealTable()
    try table.take(decoded, on: 1)
    table.releaseExpired()
    #expect(table.count(1) == 0)
  }

  @Test func everyOtherLengthAndVersionIsRefused() {
    let bytes = Self.samples[1].encodePersistent()
    for count in 0..<bytes.count { #expect(SealRequest(decodingPersistent: Array(bytes[..<count])) == nil) }
    #expect(SealRequest(decodingPersistent: bytes + [0]) == nil)
    for version in UInt8.min...UInt8.max where version != SealRequest.persistentVersion {
      #expect(SealRequest(decodingPersistent: [version] + bytes.dropFirst()) == nil)
    }
  }

  /// Whatever the bytes: no trap, and what decodes is safe to use.
  @Test func survivesHostileBytes() throws {
    var generator = SeededGenerator()
    for round in 0..<20_000 {
      var bytes = Self.samples.randomElement(using: &generator)!.encodePersistent()
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        bytes[bytes.indices.randomElement(using: &generator)!] =
          [0, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &generator)].randomElement(using: &generator)!
      }
      guard let decoded = SealRequest(decodingPersistent: bytes) else { continue }
      let table = SealTable()
      do throws(FSError) { try table.take(decoded, on: 1) } catch {
        #expect(error == .quotaExceeded, "seed \(generator.seed), round \(round): \(bytes)")
        continue
      }
      #expect(JSON(table.allHoldersJSON()) != nil, "seed \(generator.seed), round \(round): \(bytes)")
      _ = table.conflict(.reclaim, inode: 1, by: .daemon)
      #expect(SealName.isValidOrDefault(decoded.name), "seed \(generator.seed), round \(round): \(bytes)")
      #expect(
        SealRequest(decodingPersistent: decoded.encodePersistent()) != nil,
        "seed \(generator.seed), round \(round): \(bytes)")
    }
    for round in 0..<20_000 {
      let count = Int.random(in: 0...120, using: &generator)
      var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
      if count > 0 { bytes[0] = 1 }
      _ = SealRequest(decodingPersistent: bytes)
      #expect(bytes.count == count, "seed \(generator.seed), round \(round)")
    }
  }
}
