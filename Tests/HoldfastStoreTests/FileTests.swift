import HoldfastBase
import HoldfastSeal
import HoldfastStore
import Testing

@Suite struct FileTests {
  @Test func writesReadBackAcrossRemountAndCrash() throws {
    var volume = try Volume()
    let file = try volume.create("file")
    try volume.write(file, pattern(10_000))
    #expect(try volume.read(file, 20_000) == pattern(10_000))
    try volume.remount()
    #expect(try volume.read(volume.lookup("file"), 20_000) == pattern(10_000))
    try volume.write(file, pattern(300_000, seed: 9), at: 5000)
    try volume.store.sync(file, dataOnly: false)
    try volume.crash()
    #expect(try volume.read(file, 400_000, at: 5000) == pattern(300_000, seed: 9))
    #expect(try volume.read(file, 5000) == Array(pattern(10_000)[..<5000]))
  }

  @Test func manyFilesSurvive() throws {
    var volume = try Volume(mebibytes: 256)
    let directory = try volume.makeDirectory("many")
    for index in 0..<20_000 {
      let file = try volume.create("file-\(index)", in: directory)
      if index % 10 == 0 { try volume.write(file, pattern(100, seed: UInt8(index % 251))) }
      if index % 1000 == 0 { try volume.store.housekeep() }
    }
    try volume.remount()
    #expect(try volume.names(in: directory).count == 20_002)
    for index in stride(from: 0, to: 20_000, by: 10) {
      let file = try volume.lookup("file-\(index)", in: directory)
      #expect(try volume.read(file, 200) == pattern(100, seed: UInt8(index % 251)))
    }
    for index in 0..<20_000 { try volume.unlink("file-\(index)", in: directory) }
    try volume.store.housekeep()
    #expect(try volume.names(in: directory) == [".", ".."])
    try volume.remount()
    #expect(volume.store.usage.inodes == 2)
  }

  @Test func truncationShowsZerosOnRegrowth() throws {
    let volume = try Volume()
    let file = try volume.create("file")
    try volume.write(file, pattern(10_000))
    try volume.truncate(file, 4500)
    try volume.truncate(file, 9000)
    #expect(try volume.read(file, 10_000) == Array(pattern(10_000)[..<4500]) + [UInt8](repeating: 0, count: 4500))
    try volume.write(file, [1], at: 20_000)
    #expect(try volume.read(file, 30_000, at: 9000) == [UInt8](repeating: 0, count: 11_000) + [1])
  }

  @Test func punchingAndZeroing() throws {
    let volume = try Volume()
    let file = try volume.create("file")
    var expected = pattern(100_000)
    try volume.write(file, expected)
    try volume.allocate(file, [.punchHole, .keepSize], 5000, 20_000)
    expected.replaceSubrange(5000..<25_000, with: [UInt8](repeating: 0, count: 20_000))
    #expect(try volume.read(file, 200_000) == expected)
    try volume.allocate(file, [.zeroRange], 90_000, 20_000)
    expected.replaceSubrange(90_000..<100_000, with: [UInt8](repeating: 0, count: 20_000))
    #expect(try volume.read(file, 200_000) == expected)
    #expect(try volume.store.seekHole(file, from: 0) == 8192)
    #expect(try volume.store.seekData(file, from: 8192) == 24_576)
  }

  @Test func appendOnlyRefusesTimesOfOnesChoosing() throws {
    let volume = try Volume()
    let file = try volume.create("log")
    let administrator = Credentials(uid: 0, gid: 0, pid: 1)
    try volume.store.setFlags([.appendOnly], of: file, by: administrator)
    var changes = AttributeChanges()
    changes.modified = .now
    _ = try volume.store.setAttributes(changes, of: file, handle: nil, by: administrator)
    changes.modified = .at(.now)
    #expect(throws: FSError.notPermitted) {
      try volume.store.setAttributes(changes, of: file, handle: nil, by: administrator)
    }
  }

  @Test func renameLeavesAWhiteout() throws {
    var volume = try Volume()
    let file = try volume.create("lower")
    try volume.rename("lower", to: "upper", flags: .whiteout)
    #expect(try volume.lookup("upper") == file)
    let whiteout = try volume.store.attributes(of: volume.lookup("lower")).record
    #expect(whiteout.fileType == .characterDevice && whiteout.device == 0 && whiteout.links == 1)
    #expect(throws: FSError.invalid(.argument)) {
      try volume.rename("upper", to: "lower", flags: [.exchange, .whiteout])
    }
    try volume.rename("upper", to: "lower", flags: .whiteout)
    #expect(try volume.lookup("lower") == file)
    try volume.remount()
    #expect(try volume.names().sorted() == [".", "..", "lower", "upper"])
    #expect(volume.store.usage.inodes == 3)
  }

  @Test func freedSpaceComesBack() throws {
    var volume = try Volume()
    let before = volume.store.usage.freeBlocks
    for round in 0..<40 {
      let file = try volume.create("big")
      let data = pattern(64 << 10, seed: UInt8(round))
      for part in 0..<48 { try volume.write(file, data, at: UInt64(part) << 17) }
      #expect(try volume.read(file, 64 << 10, at: 47 << 17) == data)
      try volume.unlink("big")
      try volume.store.housekeep()
    }
    try volume.store.settle()
    #expect(volume.store.usage.freeBlocks == before)
    try volume.remount()
    #expect(volume.store.usage.freeBlocks == before)
  }

  @Test func aFullVolumeSaysSoAndCanBeEmptied() throws {
    var volume = try Volume(mebibytes: 32)
    var made = 0
    do {
      while true {
        let file = try volume.create("file-\(made)")
        made += 1
        try volume.write(file, pattern(100_000))
      }
    } catch let error as FSError {
      #expect(error == .noSpace)
    }
    #expect(made > 50)
    for index in 0..<made { try volume.unlink("file-\(index)") }
    try volume.store.housekeep()
    try volume.remount()
    #expect(try volume.names() == [".", ".."])
    let file = try volume.create("again")
    try volume.write(file, pattern(1_000_000))
  }

  @Test func aFailedVolumeSaysSoAtItsNextMount() throws {
    var volume = try Volume()
    let file = try volume.create("file")
    try volume.store.syncAll()
    volume.device.fault = { $0.operation == .write ? 5 : nil }
    _ = try volume.create("lost")
    #expect(throws: FSError.self) { try volume.store.sync(file, dataOnly: false) }
    #expect(throws: FSError.readOnly) { try volume.create("refused") }
    volume.device.fault = nil
    #expect(throws: FSError.self) { try volume.store.unmount() }
    volume.store = try Store(mounting: volume.device, options: Volume.options)
    #expect(volume.store.superblock.state.contains(.errors))
    #expect(try volume.names() == [".", "..", "file"])
  }

  @Test func preallocationStopsAtTheLargestBlock() throws {
    var volume = try Volume(mebibytes: 128)
    let file = try volume.create("far")
    volume.store.opened(file, writing: true)
    try volume.write(file, pattern(100_000))
    try volume.write(file, [7], at: Limits.fileBytes - 1)
    #expect(try volume.read(file, 10, at: Limits.fileBytes - 1) == [7])
    volume.store.closed(file, handle: 1, writing: true)
    try volume.unlink("far")
    try volume.store.housekeep()
    try volume.remount()
    #expect(volume.store.usage.inodes == 1)
  }

  @Test func aPersistentSealGoesWithItsInodeWhateverTheCrash() throws {
    var volume = try Volume()
    let file = try volume.create("sealed")
    try volume.write(file, pattern(5000))
    let request = SealRequest(lifetime: .persistent, name: "keep", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: file)
    try volume.crash()
    #expect(volume.store.seals.count(file) == 1)
    try volume.unlink("sealed")
    try volume.store.housekeep()
    try volume.crash()
    #expect(throws: FSError.notFound) { try volume.lookup("sealed") }
    #expect(volume.store.seals.totalCount == 0)
  }

  @Test func aPersistentSealTakenAgainOutlivesTheReleaseBefore() throws {
    var volume = try Volume()
    let file = try volume.create("sealed")
    try volume.write(file, pattern(5000))
    let request = SealRequest(lifetime: .persistent, name: "again", taker: Volume.user)
    for _ in 0..<3 {
      _ = try volume.store.seal(request, createOnly: true, of: file)
      // Revoked from the table, taken again before the record is looked at.
      let revoked = volume.store.seals.revoke(.all)
      _ = try volume.store.seal(request, createOnly: true, of: file)
      volume.store.seals.onExpiry?(revoked)
      #expect(volume.store.seals.count(file) == 1)
      try volume.remount()
      #expect(volume.store.seals.count(file) == 1)
      try volume.store.unseal(request.identity, of: file, by: Volume.user)
    }
  }

  @Test func preparingFarBeyondTheEndIsDoneAtOnce() throws {
    let volume = try Volume()
    let file = try volume.create("short")
    try volume.write(file, pattern(5000))
    try volume.store.prepare(file, offset: 0, byteCount: Limits.fileBytes, handle: nil, by: Volume.user)
    try volume.store.prepare(file, offset: 1 << 40, byteCount: 1 << 50, handle: nil, by: Volume.user)
    #expect(try volume.size(file) == 5000)
  }

  @Test func cleanMountReadsFewBlocks() throws {
    var volume = try Volume()
    for index in 0..<5000 { _ = try volume.create("file-\(index)") }
    try volume.store.unmount()
    let before = volume.device.bytesRead.load(ordering: .relaxed)
    volume.store = try Store(mounting: volume.device, options: Volume.options)
    let read = volume.device.bytesRead.load(ordering: .relaxed) - before
    #expect(read <= 8 * 4096)
  }
}
