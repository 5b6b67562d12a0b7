/// Shrinking: what lies behind the new end moves, or is named, whatever fails in between.

import Glibc
import HoldfastBase
import HoldfastCheck
import HoldfastSeal
import Testing

@testable import HoldfastStore

extension Volume {
  /// Files of 1 MiB all over the volume, every other one removed again: the rest lie up to its end. Their inodes by name.
  func age() throws -> [String: InodeNumber] {
    let made = try fill("aged")
    var left: [String: InodeNumber] = [:]
    for index in made.indices {
      if index % 2 == 0 { try unlink("aged-\(index)") } else { left["aged-\(index)"] = made[index] }
    }
    try settle()
    return left
  }

  /// The end of the last block of any of these.
  func end(of inodes: some Sequence<InodeNumber>) throws -> UInt64 {
    try inodes.flatMap { try places(of: $0) }.map(\.upperBound).max() ?? 0
  }

  func contents(of files: [String: InodeNumber]) throws -> [String: [UInt8]] {
    var contents: [String: [UInt8]] = [:]
    for name in files.keys { contents[name] = try read(lookup(name), 2 << 20) }
    return contents
  }
}

@Suite("Store: shrinking") struct ShrinkTests {
  @Test func filesMoveBelowTheEnd() throws {
    var volume = try Volume(mebibytes: 64)
    let files = try volume.age()
    let contents = try volume.contents(of: files)
    #expect(try volume.end(of: files.values) > 60 << 20)
    let control = ResizeControl()
    let report = try volume.shrink(mebibytes: 44, control: control)
    #expect(report.outcome == .done && report.byteCount == 44 << 20 && report.movedBlocks > 0)
    #expect(report.cutFailure == nil && volume.device.byteCount == 44 << 20)
    #expect(try volume.end(of: files.values) <= 44 << 20)
    #expect(try volume.contents(of: files) == contents)
    #expect(volume.totalMebibytes == 44 && volume.store.usage.totalBlocks == 44 << 8)
    _ = try volume.fill("more")
    try volume.remount()
    #expect(volume.complaints == [])
    #expect(try volume.contents(of: files) == contents)
  }

  /// A file whose first blocks lie behind others' is moved whole; unwritten blocks stay unwritten, and free.
  @Test func metadataAndPreallocationMoveToo() throws {
    var volume = try Volume(mebibytes: 64)
    var names: [String: InodeNumber] = [:]
    // Chunks of metadata all over the volume: names among data.
    for round in 0..<40 {
      for index in 0..<60 { _ = try volume.create("a rather long name, so that nodes fill \(round) \(index)") }
      names["file-\(round)"] = try volume.makeFile("file-\(round)", mebibytes: 1)
    }
    let reserved = try volume.create("reserved")
    try volume.allocate(reserved, .keepSize, 0, 3 << 20)
    names["reserved"] = reserved
    for round in 0..<20 {
      try volume.unlink("file-\(round)")
      names["file-\(round)"] = nil
    }
    try volume.settle()
    let contents = try volume.contents(of: names)
    let report = try volume.shrink(mebibytes: 40)
    #expect(report.outcome == .done, "\(report)")
    #expect(try volume.end(of: names.values) <= 40 << 20)
    #expect(try volume.store.attributes(of: reserved).record.blocks == 3 << 8)
    try volume.remount()
    #expect(volume.complaints == [])
    #expect(try volume.names().count == 40 * 60 + 21 + 2)
    #expect(try volume.contents(of: names) == contents)
  }

  @Test func sealsInTheWayAreNamedAndNothingMoves() throws {
    let volume = try Volume(mebibytes: 64)
    let files = try volume.age()
    let (name, last) = try #require(try files.max { try volume.end(of: [$0.value]) < volume.end(of: [$1.value]) })
    try volume.seal(last, name: "keep")
    let places = try volume.places(of: last)
    let all = try files.mapValues { try volume.places(of: $0) }
    let report = try volume.shrink(mebibytes: 44)
    #expect(report.outcome == .obstructed && report.byteCount == 64 << 20, "\(report)")
    let obstacle = try #require(report.obstacles.first)
    #expect(report.obstacles.count == 1 && obstacle.inode == last)
    #expect(obstacle.byteOffset == 0 && obstacle.byteCount == 1 << 20)
    guard case .request(let info) = obstacle.reason else { throw FSError.noData }
    #expect(info.request.name == "keep" && info.request.pid == Volume.user.pid)
    // A hard request refuses at once: nothing was moved for nothing.
    #expect(try files.mapValues { try volume.places(of: $0) } == all)
    #expect(report.smallestByteCount == places[0].upperBound)
    // … and that far it goes.
    #expect(try volume.shrink(bytes: report.smallestByteCount).outcome == .done)
    #expect(try volume.places(of: last) == places)
    #expect(volume.complaints == [])
    try volume.unseal(last, name: "keep")
    #expect(try volume.shrink(mebibytes: 44).outcome == .done)
    #expect(try volume.read(volume.lookup(name), 1 << 20).count == 1 << 20)
    #expect(volume.complaints == [])
  }

  /// Of a file with a pin behind the end only the pinned blocks stay.
  @Test func aPinKeepsItsBlocksOnly() throws {
    let volume = try Volume(mebibytes: 64)
    let files = try volume.age()
    let last = try #require(try files.values.max { try volume.end(of: [$0]) < volume.end(of: [$1]) })
    let pin = SealRequest(
      scope: .range(byteOffset: 5000, byteCount: 10), lifetime: .name, name: "pin", taker: Volume.user)
    _ = try volume.store.seal(pin, createOnly: false, of: last)
    let place = try volume.places(of: last)[0]
    let report = try volume.shrink(mebibytes: 44)
    #expect(report.obstacles.map(\.byteOffset) == [4096] && report.obstacles.map(\.byteCount) == [4096])
    #expect(report.smallestByteCount == place.lowerBound + 8192)
    #expect(try volume.shrink(bytes: report.smallestByteCount).outcome == .done)
    #expect(try volume.store.map(of: last, from: 4096, limit: 1).extents[0].physical <= place.lowerBound + 4096)
    #expect(volume.device.byteCount == place.lowerBound + 8192)
    #expect(volume.complaints == [])
  }

  @Test func leasedBlocksAndThoseInQuarantineAreNamed() throws {
    let volume = try Volume(mebibytes: 64)
    let files = try volume.age()
    let order = try files.sorted { try volume.end(of: [$0.value]) < volume.end(of: [$1.value]) }
    let (leased, freed) = (order[order.count - 1], order[order.count - 2])
    volume.device.leased = [leased.value, freed.value]
    let end = try volume.end(of: [freed.value])
    try volume.truncate(freed.value, 0)
    try volume.settle()
    let report = try volume.shrink(mebibytes: 44)
    #expect(report.outcome == .obstructed)
    #expect(
      report.obstacles.map(\.reason) == [
        .holder(isLeased: true, processes: [], inQuarantine: false),
        .holder(isLeased: true, processes: [], inQuarantine: true),
      ])
    #expect(report.obstacles.map(\.inode) == [leased.value, freed.value] && report.obstacles[1].end == end >> 12)
    volume.device.leased = []
    #expect(try volume.shrink(mebibytes: 44).outcome == .done)
    #expect(volume.complaints == [])
  }

  /// Row 15: who holds a breakable request is asked to let go; who does not wait for it is told to try again.
  @Test func breakableRequestsAreRecalled() throws {
    let volume = try Volume(mebibytes: 64)
    let files = try volume.age()
    let last = try #require(try files.values.max { try volume.end(of: [$0]) < volume.end(of: [$1]) })
    let request = SealRequest(kind: .breakable(graceSeconds: 0), lifetime: .name, name: "soft", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: last)
    #expect(throws: FSError.recallInFlight) { try volume.shrink(mebibytes: 44) }
    #expect(volume.store.seals.recallCounters.recalled == 1)
    volume.store.seals.fenceOverdue()
    #expect(volume.store.seals.count(last) == 0)
    #expect(try volume.shrink(mebibytes: 44, waits: true).outcome == .done)
    #expect(volume.complaints == [])
  }

  /// The holder lets go, or the caller is tired of it, as soon as it is asked; which of the two, `isPatient` says.
  @Test(arguments: [true, false]) func aWaitEndsOnce(isPatient: Bool) throws {
    let volume = try Volume(mebibytes: 64)
    let files = try volume.age()
    let last = try #require(try files.values.max { try volume.end(of: [$0]) < volume.end(of: [$1]) })
    let request = SealRequest(kind: .breakable(graceSeconds: 3600), lifetime: .name, name: "soft", taker: Volume.user)
    _ = try volume.store.seal(request, createOnly: false, of: last)
    let control = ResizeControl()
    let store = volume.store
    store.seals.onRecall = { requests in
      if isPatient {
        for info in requests { try? store.unseal(info.request.identity, of: info.inode, by: Volume.user) }
      } else {
        control.cancel()
      }
    }
    if isPatient {
      #expect(try volume.shrink(mebibytes: 44, control: control, waits: true).outcome == .done)
      #expect(store.seals.count(last) == 0)
    } else {
      #expect(throws: FSError.interrupted) { try volume.shrink(mebibytes: 44, control: control, waits: true) }
      // The recall goes on (rule 11).
      #expect(store.seals.count(last) == 1 && volume.totalMebibytes == 64)
    }
    // Nobody's turn is left over: others may seal.
    let other = try #require(files.values.first { $0 != last })
    try volume.seal(other)
    #expect(volume.complaints == [])
  }

  @Test func whatIsUsedMustFit() throws {
    let volume = try Volume(mebibytes: 64)
    let files = try volume.age()
    let report = try volume.shrink(mebibytes: 20)
    #expect(report.outcome == .noRoom && report.byteCount == 64 << 20 && report.obstacles.isEmpty)
    #expect(report.smallestByteCount > 20 << 20 && report.smallestByteCount < 48 << 20)
    let contents = try volume.contents(of: files)
    #expect(try volume.shrink(bytes: report.smallestByteCount).outcome == .done)
    #expect(try volume.contents(of: files) == contents)
    #expect(volume.complaints == [])
    let least = try volume.shrink(mebibytes: 1)
    #expect(least.outcome == .tooSmall && least.smallestByteCount >= 16 << 20)
    #expect(throws: FSError.invalid(.argument)) { try volume.shrink(mebibytes: 64) }
  }

  @Test func aCancelledShrinkGivesEverythingBack() throws {
    let volume = try Volume(mebibytes: 64)
    _ = try volume.age()
    let free = volume.store.usage.freeBlocks
    let control = ResizeControl()
    control.cancel()
    #expect(throws: FSError.interrupted) { try volume.shrink(mebibytes: 44, control: control) }
    try volume.settle()
    #expect(volume.store.usage.freeBlocks + 1024 > free)
    #expect(volume.totalMebibytes == 64 && volume.complaints == [])
    #expect(try volume.shrink(mebibytes: 44).outcome == .done)
  }

  @Test func aFileThatCannotBeCutIsTold() throws {
    var volume = try Volume(mebibytes: 64)
    volume.device.fault = { $0.operation == .resize ? EPERM : nil }
    let report = try volume.shrink(mebibytes: 32)
    #expect(report.outcome == .done && report.cutFailure != nil)
    volume.device.fault = nil
    try volume.remount()
    #expect(volume.totalMebibytes == 32 && volume.complaints == [])
  }

  /// As after a crash that took the cut, and more: the image is shorter than its superblock says.
  @Test func aFileCutTooShortIsRefused() throws {
    let volume = try Volume(mebibytes: 64)
    _ = try volume.shrink(mebibytes: 32)
    try volume.device.cut(to: 32 << 20 - 4096)
    #expect(throws: FSError.imageTruncated(expectedBytes: 32 << 20, actualBytes: 32 << 20 - 4096)) {
      try Store(mounting: volume.device, options: Volume.options)
    }
  }

  /// Each write and barrier in turn is the last one: whatever a shrink had come to, there is one volume, of the old size
  /// or the new one, with all files.
  @Test func everyMomentOfAShrinkMayBeTheLast() throws {
    let sample = try Volume(mebibytes: 20)
    let names = try sample.age()
    let contents = try sample.contents(of: names)
    try sample.store.unmount()
    let image = Array(sample.device.memory.bytes)
    var sizes: Set<UInt64> = []
    var last = 0
    while last < 3000 {
      var volume = try Volume(of: image)
      let countdown = Countdown(last)
      volume.device.rememberUnsyncedWrites()
      volume.device.fault = { $0.isChange && (countdown.strikes() || countdown.isOver) ? EIO : nil }
      let isDone = (try? volume.shrink(mebibytes: 17))?.outcome == .done
      volume.device.fault = nil
      volume.device.losePower()
      try volume.crash()
      #expect(volume.complaints == [], "write or barrier \(last)")
      sizes.insert(volume.totalMebibytes)
      #expect(try volume.contents(of: names) == contents, "write or barrier \(last)")
      // Nothing is lost to what a crash left behind.
      if last % 7 == 0 { #expect(try volume.shrink(mebibytes: 17).outcome == .done) }
      if isDone {
        #expect(sizes == [17, 20])
        return
      }
      last += 1
    }
    Issue.record("a shrink of three thousand writes")
  }
}
