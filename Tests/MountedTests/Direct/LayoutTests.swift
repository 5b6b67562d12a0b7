/// The client library on a mount: what is read, written and mapped past the filesystem is what the mount shows.

import CMountedSupport
import Glibc
import HoldfastClient
import Testing

@Suite("Direct: layouts", .needsMount, .mounted(mebibytes: 128), .deadline())
struct LayoutTests {
  private func file(_ contents: [UInt8], pieces: Int = 1) throws -> Path {
    let path = try sharedVolume().freshFolder() / "file"
    if pieces == 1 { try path.create(contents) } else { try path.createFragmented(contents, pieces: pieces) }
    return path
  }

  @Test(arguments: [1, 9]) func whatIsStoredShowsInTheMount(pieces: Int) throws {
    var contents = pattern(300_000)
    let path = try file(contents, pieces: pieces)
    #expect(try path.contents() == contents)
    let layout = try takeWriteLayout(path)
    #expect(try layout.fileSize == 300_000 && layout.inode == path.inode())
    #expect(layout.extents.count >= pieces)
    #expect(try layout.bytes(400_000, at: 0) == contents)
    #expect(try layout.bytes(10, at: 299_995) == Array(contents[299_995...]))
    #expect(try layout.bytes(10, at: 300_000) == [])
    let stored = pattern(150_000, seed: 99)
    #expect(try layout.write(bytes: stored, at: 77_777) == 150_000)
    contents.replaceSubrange(77_777..<227_777, with: stored)
    do {
      let mapping = try layout.map(0..<300_000, .readWrite, options: [.direct, .populate])
      #expect(Array(mapping.bytes.prefix(300_000)) == contents)
      mapping.bytes[4095] = 0x5a
      mapping.bytes[4096] = 0xa5
    }
    (contents[4095], contents[4096]) = (0x5a, 0xa5)
    #expect(try path.contents() == contents)
    #expect(try layout.giveBack().fileSize == 300_000)
    #expect(try path.contents() == contents && path.storedContents() == contents)
  }

  @Test func pastThePageCacheOfTheImage() throws {
    let contents = pattern(100_000)
    let path = try file(contents)
    let layout = try takeLayout(path, { $0.isWrite = true }, uncached: true)
    let buffer = try layout.bytes(102_400, at: 0)
    #expect(buffer == contents)
    #expect(try layout.write(bytes: [UInt8](repeating: 7, count: 8192), at: 4096) == 8192)
    #expect(
      try Array(path.contents()[4095..<12_289]) == [contents[4095]] + [UInt8](repeating: 7, count: 8192)
        + [contents[12_288]])
  }

  /// What was preallocated behind the end becomes the file's by writing and returning.
  @Test func aFileGrowsByItsLayout() throws {
    let path = try file(pattern(5000))
    let preallocating = try path.open(O_WRONLY)
    try preallocating.allocate(hmt_keep_size, at: 0, 64 << 10)
    preallocating.close()
    let before = try path.status().st_mtim
    let layout = try takeWriteLayout(path)
    try layout.write(bytes: [1, 2, 3], at: 20_000)
    #expect(layout.fileSize == 20_003)
    #expect(try layout.bytes(100, at: 19_999) == [0, 1, 2, 3])
    #expect(try path.size() == 5000)
    #expect(try layout.giveBack().fileSize == 20_003)
    let expected = pattern(5000) + [UInt8](repeating: 0, count: 15_000) + [1, 2, 3]
    #expect(try path.contents() == expected)
    let after = try path.status().st_mtim
    #expect(after.tv_sec > before.tv_sec || after.tv_nsec != before.tv_nsec)
  }

  @Test func holesAreRefused() throws {
    let path = try sharedVolume().freshFolder() / "file"
    let file = try path.open(O_CREAT | O_RDWR)
    try file.writeAll(pattern(4096), at: 0)
    try file.writeAll(pattern(4096), at: 12_288)
    try file.sync()
    file.close()
    func expectDefect(_ kind: String, _ body: () throws -> Void) {
      do {
        try body()
        Issue.record("no error")
      } catch let error as ClientError {
        #expect(error.errno == EINVAL && error.defect?.offset == 4096 && error.defect?.length == 8192, "\(error)")
        #expect(error.description.contains(kind) && error.description.contains("holdfast prepare"), "\(error)")
      } catch { Issue.record(error) }
    }
    expectDefect("a hole") { _ = try takeWriteLayout(path) }
    let layout = try takeLayout(path) {
      $0.isWrite = true
      $0.isAsIs = true
    }
    expectDefect("a hole") { _ = try layout.map(0..<16_384, .readWrite) }
    expectDefect("a hole") { _ = try layout.map(0..<16_384) }
    expectDefect("a hole") { try layout.write(bytes: [UInt8](repeating: 1, count: 12_288), at: 0) }
    #expect(try layout.bytes(20_000, at: 0) == pattern(4096) + [UInt8](repeating: 0, count: 8192) + pattern(4096))
    let shown = try layout.map(0..<16_384, options: [])
    #expect(Array(shown.bytes) == pattern(4096) + [UInt8](repeating: 0, count: 8192) + pattern(4096))
  }

  @Test func theKernelRefusesMapSync() throws {
    let layout = try takeWriteLayout(try file(pattern(8192)))
    do {
      _ = try layout.map(0..<8192, .readWrite, options: [.direct, .sync])
      Issue.record("an image in tmpfs has DAX?")
    } catch {
      #expect(error.errno == EOPNOTSUPP && error.description.contains("DAX"), "\(error)")
    }
  }

  /// Only a range: the rest of the file stays free, and grows.
  @Test func aRangeIsHeld() throws {
    let path = try file(pattern(100_000))
    let layout = try takeLayout(path) { ($0.isWrite, $0.isShared, $0.offset, $0.length) = (true, true, 4096, 8192) }
    #expect(try layout.bytes(20_000, at: 4096) == Array(pattern(100_000)[4096..<12_288]))
    do {
      _ = try layout.bytes(1, at: 0)
      Issue.record("read outside")
    } catch { #expect(error.errno == ERANGE && error.description.contains("not within the layout")) }
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(5000) }
    try path.truncate(50_000)
  }

  /// Somebody else uses the page cache: named.
  @Test func othersAreNamed() throws {
    let path = try file(pattern(8192))
    let agent = try Agent()
    let other = try agent.open(path, O_RDWR)
    do {
      _ = try HoldfastClient.Layout(try OpenFile(path.text, access: .readWrite), writing())
      Issue.record("granted")
    } catch {
      #expect(error.errno == EBUSY && error.description.contains("\(agent.pid)"), "\(error)")
    }
    _ = try takeLayout(path) { ($0.isWrite, $0.isShared) = (true, true) }
    try agent.call("close", other)
    _ = try takeWriteLayout(path)
  }

  private func writing() -> LayoutRequest {
    var request = LayoutRequest()
    request.isWrite = true
    return request
  }

  @Test func readmeInSwift() throws {
    let path = try file(pattern(8192))
    // Until the handle is gone for good.
    #expect(eventually { (try? takeWriteLayout(path)) != nil })
    do {
      var request = LayoutRequest()
      request.isWrite = true
      let layout = try HoldfastClient.Layout(OpenFile(path.text, access: .readWrite), request)
      let mapping = try layout.map(0..<layout.fileSize, .readWrite, options: [.direct, .populate])
      mapping.bytes.copyBytes(from: "hello".utf8)
    }
    #expect(try path.contents().prefix(5) == Array("hello".utf8)[...])
  }

  /// Another node over the same bytes has other locks.
  @Test func onlyTheMountedImageWillDo() throws {
    let path = try file(pattern(8192))
    let other = try sharedVolume().folder + "/other"
    try Path(other).create(pattern(8192))
    do {
      _ = try takeLayout(path, image: other)
      Issue.record("granted")
    } catch {
      #expect(error.errno == EXDEV && error.description.contains(other), "\(error)")
    }
    #expect(try path.sealCount() == 0)
    _ = try takeLayout(path, image: try sharedVolume().image)
  }

  @Test func sealsAndPinsAreValues() throws {
    let path = try file(pattern(8192))
    do {
      let seal = try Seal(try OpenFile(path.text))
      #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
      try seal.release()
      #expect(try path.sealCount() == 0)
      let pin = try Pin(try OpenFile(path.text), 0..<1)
      #expect(try path.sealCount() == 1)
      _ = consume pin
    }
    #expect(try path.sealCount() == 0)
    try path.truncate(0)
  }

  /// The right to the blocks is the right to open the image; the layout alone says only where they are.
  @Test func anotherUserGetsNothing() throws {
    let volume = try Volume(mebibytes: 64)
    defer { volume.remove() }
    try volume.mount("allow_other")
    let path = volume.root / "theirs"
    try path.create(pattern(8192))
    try path.changeOwner(Agent.user, Agent.user)
    chmod(volume.image, 0o600)
    let agent = try Agent(uid: Agent.user)
    // It may seal its file, and read where it lies.
    let file = try agent.open(path, O_RDWR)
    try agent.call("seal", file, 0, "''")
    try agent.call("unseal", file, 0, "''")
    try agent.call("close", file)
    for kind in ["read", "write,shared"] {
      #expect(throws: Errno(EACCES)) { try agent.call("direct", path, kind, "''") }
    }
    #expect(throws: Errno(EACCES)) { _ = try agent.open(Path(volume.image), O_RDONLY) }
    #expect(try path.sealCount() == 0)
    // A group on the image is how to let somebody.
    chown(volume.image, 0, Agent.user)
    chmod(volume.image, 0o640)
    try agent.call("direct", path, "read", "''")
    #expect(throws: Errno(EACCES)) { try agent.call("direct-write", 0, 1) }
    try agent.call("direct-return")
    #expect(throws: Errno(EACCES)) { try agent.call("direct", path, "write,shared", "''") }
    chmod(volume.image, 0o660)
    #expect(eventually { (try? agent.call("direct", path, "write", "''")) == 0 })
    #expect(try agent.call("direct-write", 5, 0x77) == 1)
    #expect(try path.contents()[5] == 0x77)
    agent.exit()
    volume.finish()
  }
}
