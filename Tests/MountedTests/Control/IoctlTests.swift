/// Every ioctl of include/holdfast.h: what it answers, and that a wrong version, size or reserved field is EINVAL or
/// ENOTTY and changes nothing.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Control: ioctls", .needsMount, .mounted(), .deadline())
struct IoctlTests {
  private func file(_ contents: [UInt8] = pattern(10_000)) throws -> (Path, File) {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(contents)
    return (path, try path.open(O_RDWR))
  }

  private static let structureRequests: [UInt32] = [
    holdfast_ioc_seal, holdfast_ioc_unseal, holdfast_ioc_pin, holdfast_ioc_unpin, holdfast_ioc_prepare,
    holdfast_ioc_layout_get, holdfast_ioc_layout_return, holdfast_ioc_recall_status, holdfast_ioc_holders,
    holdfast_ioc_map, holdfast_ioc_seals, holdfast_ioc_revoke, holdfast_ioc_sync, holdfast_ioc_remount,
    holdfast_ioc_info, holdfast_ioc_defrag, holdfast_ioc_resize,
  ]

  /// Bytes of the argument, as the request's number encodes them.
  private func size(_ request: UInt32) -> Int { Int(request >> 16 & 0x3fff) }

  @Test(arguments: structureRequests)
  func wrongVersions(_ request: UInt32) throws {
    let (path, file) = try file()
    defer { file.close() }
    for version: UInt32 in [0, 2, .max] {
      var bytes = zeros(size(request))
      bytes.withUnsafeMutableBytes { $0.storeBytes(of: version, as: UInt32.self) }
      #expect(throws: Errno(EINVAL)) { try bytes.control(file, request) }
    }
    #expect(try path.sealCount() == 0)
  }

  @Test(arguments: structureRequests)
  func wrongSizes(_ request: UInt32) throws {
    let (path, file) = try file()
    defer { file.close() }
    for change in [-4, 8, -size(request)] where size(request) + change < 1 << 14 {
      let other = request & ~(0x3fff << 16) | UInt32(size(request) + change) << 16
      var bytes = zeros(max(size(request) + change, 64))
      bytes[0] = 1
      #expect(throws: Errno(ENOTTY)) { try bytes.control(file, other) }
    }
    #expect(try path.sealCount() == 0)
  }

  @Test func unknownRequests() throws {
    let (_, file) = try file()
    defer { file.close() }
    for request: UInt32 in [0xc000_4800, 0xc018_48ff, 0x5413, 0x8004_667e, 0xc020_660b] {
      var bytes = zeros(64)
      #expect(throws: Errno.self) { try bytes.control(file, request) }
    }
  }

  @Test func reservedFieldsAndUnknownFlags() throws {
    let (path, file) = try file()
    defer { file.close() }
    func expectInvalid(_ request: UInt32, _ change: (inout holdfast_seal) -> Void) {
      var argument = holdfast_seal(flags: 0)
      change(&argument)
      #expect(throws: Errno(EINVAL)) { try file.control(UInt(request), &argument) }
    }
    for request in [holdfast_ioc_seal, holdfast_ioc_unseal] {
      expectInvalid(request) { $0.signal = 1 }
      expectInvalid(request) { $0.flags = 0x40 }
      expectInvalid(request) { $0.flags = 0x8000_0000 }
      expectInvalid(request) { $0.offset = 4096 }
      expectInvalid(request) { $0.length = 4096 }
      expectInvalid(request) { argument in
        // No NUL, and a character names do not have.
        withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: [UInt8](repeating: 0x61, count: $0.count)) }
      }
      expectInvalid(request) { argument in
        withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: "a.b".utf8) }
      }
    }
    expectInvalid(holdfast_ioc_seal) { $0.flags = HOLDFAST_SEAL_FILL | HOLDFAST_SEAL_AS_IS }
    expectInvalid(holdfast_ioc_seal) { $0.grace_seconds = 5 }
    expectInvalid(holdfast_ioc_seal) { $0.pid = -1 }
    expectInvalid(holdfast_ioc_seal) {
      $0.pid = 1
      $0.flags = HOLDFAST_SEAL_PERSISTENT
    }
    var revoke = holdfast_revoke(flags: 0x10)
    #expect(throws: Errno(EINVAL)) { try file.control(UInt(holdfast_ioc_revoke), &revoke) }
    revoke = holdfast_revoke(flags: 0)
    revoke.reserved = 1
    #expect(throws: Errno(EINVAL)) { try file.control(UInt(holdfast_ioc_revoke), &revoke) }
    var prepare = holdfast_prepare(version: 1, flags: 2, offset: 0, length: 0)
    #expect(throws: Errno(EINVAL)) { try file.control(UInt(holdfast_ioc_prepare), &prepare) }
    prepare = holdfast_prepare(version: 1, flags: 0, offset: .max, length: 10)
    #expect(throws: Errno(EINVAL)) { try file.control(UInt(holdfast_ioc_prepare), &prepare) }
    var sync = holdfast_sync(version: 1, reserved: 1)
    #expect(throws: Errno(EINVAL)) { try file.control(UInt(holdfast_ioc_sync), &sync) }
    #expect(try path.sealCount() == 0)
  }

  @Test func sealTellsTheDefect() throws {
    let (path, file) = try file(pattern(4096))
    defer { file.close() }
    try file.truncate(40_960)
    func expectDefect(_ kind: UInt32, at offset: UInt64, _ length: UInt64) {
      var argument = holdfast_seal(flags: 0)
      #expect(throws: Errno(EINVAL)) { try file.control(UInt(holdfast_ioc_seal), &argument) }
      #expect(argument.defect == kind)
      #expect(argument.defect_offset == offset && argument.defect_length == length)
    }
    expectDefect(HOLDFAST_DEFECT_HOLE, at: 4096, 36_864)
    try file.allocate(at: 4096, 8192)
    expectDefect(HOLDFAST_DEFECT_UNWRITTEN, at: 4096, 8192)
    try file.write(pattern(8192), at: 4096)
    expectDefect(HOLDFAST_DEFECT_HOLE, at: 12_288, 28_672)
    try file.write(pattern(28_672), at: 12_288)
    #expect(try file.seal().defect == HOLDFAST_DEFECT_NONE)
    try file.unseal()
    // Preallocation beyond the end is in scope, but no reason.
    try file.allocate(hmt_keep_size, at: 40_960, 40_960)
    try file.seal()
    #expect(throws: Errno(ETXTBSY)) { try file.write([1], at: 40_960) }
    try file.unseal()
    #expect(try path.sealCount() == 0)
  }

  @Test func preparing() throws {
    let (path, file) = try file(pattern(4096))
    defer { file.close() }
    try file.truncate(40_960)
    try file.allocate(at: 20_480, 4096)
    var argument = holdfast_prepare(version: 1, flags: 0, offset: 4096, length: 8192)
    try file.control(UInt(holdfast_ioc_prepare), &argument)
    #expect(try file.seek(4096, hmt_seek_hole) == 12_288)
    argument = holdfast_prepare(version: 1, flags: 0, offset: 0, length: 0)
    try file.control(UInt(holdfast_ioc_prepare), &argument)
    #expect(try path.contents() == pattern(4096) + zeros(36_864))
    #expect(try !path.extents().contains("unwritten"))
    try file.seal()
    // Nothing to do: no change of a sealed map.
    try file.control(UInt(holdfast_ioc_prepare), &argument)
    try file.unseal()
    // What lies behind the end is left alone.
    let blocks = try path.status().st_blocks
    for (offset, length): (UInt64, UInt64) in [(0, 1 << 20), (40_960, 4096), (1 << 30, 1 << 20), (0, 1 << 62)] {
      argument = holdfast_prepare(version: 1, flags: 0, offset: offset, length: length)
      try file.control(UInt(holdfast_ioc_prepare), &argument)
    }
    #expect(try path.status().st_blocks == blocks)
    argument = holdfast_prepare(version: 1, flags: 0, offset: 0, length: 0)
    let reader = try path.open()
    defer { reader.close() }
    #expect(throws: Errno(EBADF)) { try reader.control(UInt(holdfast_ioc_prepare), &argument) }
    try file.truncate(81_920)
    try path.seal("as-is")
    #expect(throws: Errno(ETXTBSY)) { try file.control(UInt(holdfast_ioc_prepare), &argument) }
    try path.unseal()
  }

  @Test func fillSealsWhatHasHoles() throws {
    let (path, file) = try file([])
    defer { file.close() }
    try file.truncate(1 << 20)
    try path.seal("fill")
    #expect(try path.storedContents() == zeros(1 << 20))
    #expect(try path.status().st_blocks == 2048)
    #expect(try !path.extents().contains("unwritten"))
    try file.write(pattern(5000), at: 77_777)
    #expect(throws: Errno(ETXTBSY)) { try file.write([1], at: 1 << 20) }
    try path.unseal()
  }

  @Test func mapsArePaged() throws {
    let (path, file) = try file([])
    defer { file.close() }
    for index in 0..<700 { try file.write([1], at: index * 8192) }
    try file.sync()
    let all = try file.map()
    #expect(zip(all, all.dropFirst()).allSatisfy { $0.logical + $0.length <= $1.logical })
    #expect(try path.extents().split(separator: "\n").count == all.count)
    // Preallocation may lie in between.
    let extents = all.filter { $0.flags == 0 }
    #expect(extents.count == 700)
    #expect(extents.map(\.logical) == (0..<700).map { UInt64($0 * 8192) })
    #expect(extents.allSatisfy { $0.length == 4096 && $0.physical % 4096 == 0 })
    #expect(Set(extents.map(\.physical)).count == 700)
  }

  @Test func longAnswersArePaged() throws {
    let (path, file) = try file()
    defer { file.close() }
    for index in 0..<150 { try path.seal(name: "request-number-\(index)") }
    let first = try file.jsonPage(holdfast_ioc_holders)
    #expect(
      first.text.count == Int(HOLDFAST_JSON_BYTES) && first.total > UInt64(HOLDFAST_JSON_BYTES) && first.cookie != 0)
    let holders: [Holder] = try decoded(try file.json(holdfast_ioc_holders))
    #expect(Set(holders.map(\.name)) == Set((0..<150).map { "request-number-\($0)" }))
    // A snapshot: what happens meanwhile does not tear it.
    let page = try file.jsonPage(holdfast_ioc_seals)
    for index in 0..<150 { try path.unseal(name: "request-number-\(index)") }
    var text = page.text
    while UInt64(text.count) < page.total {
      text += try file.jsonPage(holdfast_ioc_seals, cookie: page.cookie, offset: UInt64(text.count)).text
    }
    #expect(try decoded(text, as: [Holder].self).count >= 150)
    #expect(throws: Errno.self) { try file.jsonPage(holdfast_ioc_seals, cookie: 0xdead, offset: 0) }
    #expect(throws: Errno(EINVAL)) { try file.jsonPage(holdfast_ioc_holders, offset: 1 << 40) }
  }

  @Test func informationSyncRecall() throws {
    let volume = try sharedVolume()
    let root = try volume.root.open()
    defer { root.close() }
    let information: Volume.Information = try decoded(try root.json(holdfast_ioc_info))
    #expect(information.pid == volume.daemon && information.image == volume.image)
    #expect(information.mountpoint == volume.mountPoint && !information.readOnly)
    var sync = holdfast_sync(version: 1, reserved: 0)
    try root.control(UInt(holdfast_ioc_sync), &sync)
    var status = holdfast_recall_status(version: 1, recalled: 9, remaining_ms: 9)
    let (_, file) = try file()
    defer { file.close() }
    try file.control(UInt(holdfast_ioc_recall_status), &status)
    #expect(status.recalled == 0 && status.remaining_ms == 0)
  }

  @Test func remounting() throws {
    let volume = try sharedVolume()
    let root = try volume.root.open()
    defer { root.close() }
    func remount(_ options: String) throws {
      var argument = holdfast_remount()
      argument.version = 1
      withUnsafeMutableBytes(of: &argument.options) { $0.copyBytes(from: options.utf8) }
      try root.control(UInt(holdfast_ioc_remount), &argument)
    }
    try remount("commit=7,grace=3")
    #expect(throws: Errno(EINVAL)) { try remount("nonsense") }
    #expect(throws: Errno(EINVAL)) { try remount("commit=x") }
    try remount("commit=5,grace=30")
    let text = String(decoding: try root.json(holdfast_ioc_info), as: UTF8.self)
    #expect(text.contains("commit=5"))
  }

  @Test func sealsAreOfRegularFiles() throws {
    let folder = try sharedVolume().freshFolder()
    let directory = try folder.open()
    defer { directory.close() }
    #expect(throws: Errno(EISDIR)) { try directory.seal() }
    #expect(throws: Errno.self) { try directory.unseal() }
    #expect(try directory.json(holdfast_ioc_holders) == Array("[]".utf8))
  }

  /// Random bytes in every structure: the daemon answers each and lives.
  @Test func randomArguments() throws {
    let (path, file) = try file()
    defer { file.close() }
    var seed: UInt64 = 7
    func random() -> UInt64 {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return seed >> 16
    }
    let harmless = Self.structureRequests.filter { $0 != holdfast_ioc_revoke && $0 != holdfast_ioc_remount }
    for round in 0..<600 {
      let request = harmless[round % harmless.count]
      var bytes = zeros(size(request))
      for index in 0..<min(bytes.count, 160) where random() % 3 == 0 {
        bytes[index] = UInt8(truncatingIfNeeded: random())
      }
      bytes.withUnsafeMutableBytes { $0.storeBytes(of: 1, as: UInt32.self) }
      do throws(Errno) {
        try bytes.control(file, request)
      } catch {
        #expect(error != Errno(EIO) && error != Errno(ENOTCONN) && error != Errno(ECONNABORTED))
      }
    }
    try file.revokeAll()
    #expect(try path.contents() == pattern(10_000))
  }
}

extension [UInt8] {
  /// ioctl(2) with these bytes as its argument.
  fileprivate mutating func control(_ file: File, _ request: UInt32) throws(Errno) {
    try check(withUnsafeMutableBytes { hmt_ioctl(file.descriptor, UInt(request), $0.baseAddress) })
  }
}

extension File {
  /// All pages of MAP.
  func map() throws(Errno) -> [holdfast_extent] {
    var extents: [holdfast_extent] = []
    while true {
      var argument = holdfast_map()
      argument.version = UInt32(HOLDFAST_ABI_VERSION)
      argument.offset = extents.last.map { $0.logical + $0.length } ?? 0
      try control(UInt(holdfast_ioc_map), &argument)
      if argument.count == 0 { return extents }
      withUnsafeBytes(of: &argument.extents) {
        extents += $0.bindMemory(to: holdfast_extent.self).prefix(Int(argument.count))
      }
    }
  }
}
