/// LAYOUT_GET and LAYOUT_RETURN: who gets one, what it tells, what it keeps from changing, how it ends.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Layouts", .needsMount, .mounted(mebibytes: 128, options: "grace=2"), .deadline(seconds: 120))
struct GrantTests {
  private func file(_ byteCount: Int = 1 << 20) throws -> Path {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(byteCount))
    return path
  }

  @Test("A layout tells where the bytes are, and keeps them there")
  func tells() throws {
    let path = try file(300_000)
    let file = try path.open(O_RDWR)
    defer { file.close() }
    let layout = try file.layout(HOLDFAST_LAYOUT_WRITE)
    #expect(layout.fileSize == 300_000 && layout.cursor == 0)
    #expect(try layout.inode == path.inode() && layout.leaseOffset == HOLDFAST_LEASE_OFFSET + path.inode())
    #expect(layout.generation == (try path.generation()))
    #expect(layout.extents.first?.logical == 0)
    let image = try Path(sharedVolume().image).open()
    defer { image.close() }
    #expect(try image.read(1000, at: layout.place(123_456)) == Array(pattern(300_000)[123_456..<124_456]))
    #expect(try path.sealCount() == 1 && path.isMapImmutable())
    #expect(try path.attributeText("holdfast.holders").contains("\"layout\":\"write\""))
    // Hard, and the holder's own operation is refused like any other (row 26).
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    #expect(throws: Errno(ETXTBSY)) { try file.truncate(0) }
    try file.returnLayout(layout)
    #expect(try path.sealCount() == 0)
    #expect(throws: Errno(ENODATA)) { try file.returnLayout(layout) }
    try path.truncate(0)
  }

  @Test("A range is a pin; its extents begin and end where it does")
  func range() throws {
    let path = try file()
    let file = try path.open(O_RDONLY)
    defer { file.close() }
    let layout = try file.layout(0, 5000, 10_000)
    #expect(layout.extents.first?.logical == 4096)
    #expect(layout.extents.last.map { $0.logical + $0.length } == 16_384)
    #expect(try !path.isMapImmutable())
    try path.truncate(16_384)
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(16_000) }
    try file.returnLayout(layout)
    try path.truncate(0)
  }

  @Test("A page from behind the layout is empty")
  func pageBehind() throws {
    let path = try file()
    let file = try path.open(O_RDONLY)
    defer { file.close() }
    let layout = try file.layout(0, 0, 4096)
    for cursor in [UInt64(4096), 8192, 1 << 20, 1 << 40] {
      let page = try file.page(of: layout, from: cursor)
      #expect(page.extents.isEmpty && page.cursor == 0, "\(cursor)")
    }
  }

  @Test("A refused layout for writing leaves the one for reading that stands")
  func refusedReplacement() throws {
    let path = try file()
    let file = try path.open(O_RDWR)
    let other = try path.open(O_RDONLY)
    defer {
      file.close()
      other.close()
    }
    let reading = try file.layout(0)
    #expect(try file.layoutRefusal(HOLDFAST_LAYOUT_WRITE)?.errno == Errno(EBUSY))
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    try file.returnLayout(reading)
  }

  @Test("Beside a seal and a pin of the same handle, each is released by itself")
  func besideSeals() throws {
    let path = try file()
    let file = try path.open(O_RDWR)
    defer { file.close() }
    try file.seal()
    try file.pin(0, 4096)
    let layout = try file.layout(HOLDFAST_LAYOUT_WRITE)
    #expect(try path.sealCount() == 3)
    try file.unseal()
    try file.unpin(0, 4096)
    #expect(try path.sealCount() == 1)
    // Another of the same blocks takes its place.
    let again = try file.layout(0)
    #expect(try path.sealCount() == 1)
    #expect(throws: Errno(ENODATA)) { try file.returnLayout(layout) }
    try file.returnLayout(again)
    #expect(throws: Errno(ENODATA)) { try file.unseal() }
  }

  @Test("What write(2) may not, a layout for writing may not")
  func unwritable() throws {
    let path = try file()
    let reader = try path.open(O_RDONLY)
    let writer = try path.open(O_RDWR)
    defer { for file in [reader, writer] { file.close() } }
    let reading = try reader.layout(0)
    #expect(throws: Errno(EBADF)) { try reader.returnLayout(reading, touches: true) }
    try reader.returnLayout(reading)
    for flag in ["i", "a"] {
      #expect(try run(["chattr", "+\(flag)", path.text]).status == 0)
      defer { _ = try? run(["chattr", "-\(flag)", path.text]) }
      #expect(try writer.layoutRefusal(HOLDFAST_LAYOUT_WRITE)?.errno == Errno(EPERM), "\(flag)")
      try reader.returnLayout(try reader.layout(0))
    }
    reader.close()
    try writer.returnLayout(try writer.layout(HOLDFAST_LAYOUT_WRITE))
  }

  @Test("More extents than fit come in pages")
  func pages() throws {
    let folder = try sharedVolume().freshFolder()
    let path = folder / "file"
    // Every other block, so that each is an extent of its own.
    let file = try path.open(O_CREAT | O_RDWR)
    defer { file.close() }
    let count = 600
    // Not written at its end: no preallocation.
    try file.truncate(count * 8192)
    for index in 0..<count { try file.write([UInt8](repeating: UInt8(index & 0xff), count: 4096), at: index * 8192) }
    try file.sync()
    let refusal = try file.layoutRefusal(0)
    #expect(refusal?.errno == Errno(EINVAL) && refusal?.told.defect == HOLDFAST_DEFECT_HOLE)
    let layout = try file.layout(HOLDFAST_LAYOUT_AS_IS)
    var extents = layout.extents
    var cursor = layout.cursor
    var pages = 1
    while cursor != 0 {
      let page = try file.page(of: layout, from: cursor)
      extents += page.extents
      cursor = page.cursor
      pages += 1
    }
    #expect(pages == 25 && extents.count == count)
    #expect(extents.map { Int($0.logical) } == (0..<count).map { $0 * 8192 })
    let image = try Path(sharedVolume().image).open()
    defer { image.close() }
    for (index, extent) in extents.enumerated() {
      #expect(try image.read(1, at: Int(extent.physical)) == [UInt8(index & 0xff)])
    }
    try file.returnLayout(layout)
    #expect(throws: LayoutRefusal.self) { try file.page(of: layout, from: 0) }
  }

  @Test("Who may not, and what is malformed")
  func refusals() throws {
    let path = try file()
    try path.changeMode(0o666)
    let reading = try path.open(O_RDONLY)
    let writing = try path.open(O_WRONLY)
    defer {
      reading.close()
      writing.close()
    }
    #expect(try reading.layoutRefusal(HOLDFAST_LAYOUT_WRITE)?.errno == Errno(EBADF))
    #expect(try writing.layoutRefusal(0)?.errno == Errno(EBADF))
    for (flags, offset, length) in [
      (HOLDFAST_LAYOUT_SHARED, 0, 0), (0x100, 0, 0), (0, 4096, 0), (0, 0, Int.max), (HOLDFAST_LAYOUT_PAGE, 0, 0),
    ] {
      let code = try reading.layoutRefusal(flags, offset, length)?.errno.code
      #expect(code == EINVAL || code == ENODATA, "\(flags) \(offset) \(length): \(code.map(String.init) ?? "granted")")
    }
    let directory = try sharedVolume().root.open(O_RDONLY)
    defer { directory.close() }
    #expect(try directory.layoutRefusal(0)?.errno.code != nil)
    // seal_policy=owner: not another's file.
    let agent = try Agent(uid: Agent.user)
    let theirs = try agent.open(path, O_RDONLY)
    #expect(throws: Errno(EPERM)) { try agent.call("layout", theirs, 0) }
    // A layout is information: without the right to open the image there are no bytes.
    #expect(throws: Errno(EACCES)) { try agent.open(Path(sharedVolume().image), O_RDONLY) }
    try path.changeOwner(Agent.user, Agent.user)
    try agent.call("layout", theirs, 0)
    #expect(throws: Errno(EACCES)) { try agent.open(Path(sharedVolume().image), O_RDWR) }
    agent.exit()
  }

  @Test("A write layout takes set-id bits from a file, as a write does")
  func setIDs() throws {
    let path = try file()
    try path.changeOwner(Agent.user, Agent.user)
    try path.changeMode(0o6777)
    let agent = try Agent(uid: Agent.user)
    let theirs = try agent.open(path, O_RDWR)
    try agent.call("layout", theirs, 0)
    #expect(try path.mode() == 0o6777)
    try agent.call("layout", theirs, HOLDFAST_LAYOUT_WRITE)
    // The kernel is told behind the answer.
    #expect(try eventually { try path.mode() == 0o777 })
    agent.exit()
  }

  @Test("Recall: the handle hears of it, returns, and the breaker goes on")
  func recall() throws {
    let path = try file()
    let file = try path.open(O_RDWR)
    defer { file.close() }
    let layout = try file.layout(HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_BREAKABLE, graceSeconds: 60)
    let breaker = Background { try path.truncate(4096) }
    #expect(try file.poll(Int16(POLLPRI)) & Int16(POLLPRI) != 0)
    #expect(try file.recallMilliseconds() != nil)
    #expect(try path.size() == 1 << 20)
    // Row 21: nobody new meanwhile.
    #expect(try file.layoutRefusal(0, 0, 4096)?.errno == Errno(EAGAIN))
    try file.returnLayout(layout, touches: true)
    try breaker.finish()
    #expect(try path.size() == 4096)
  }

  @Test("Recall: a holder that does not answer is fenced")
  func fence() throws {
    let path = try file()
    let file = try path.open(O_RDWR)
    defer { file.close() }
    let layout = try file.layout(HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_BREAKABLE, graceSeconds: 1)
    try path.truncate(4096)
    #expect(throws: Errno(ESTALE)) { try file.returnLayout(layout) }
    #expect(try file.layoutRefusal(0)?.errno == Errno(ESTALE))
    #expect(try file.poll(Int16(POLLPRI)) & Int16(POLLERR) != 0)
  }

  @Test("Row 26: the holder's own write past the end goes on, and its breakable layout ends")
  func own() throws {
    let path = try file(8192)
    let file = try path.open(O_RDWR)
    defer { file.close() }
    let layout = try file.layout(HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_BREAKABLE)
    try file.write([1], at: 8192)
    #expect(throws: Errno(ENODATA)) { try file.returnLayout(layout) }
    #expect(try path.size() == 8193)
  }

  // MARK: Behind the end

  @Test("Preallocated blocks behind the end are laid out zeroed, and become the file's with the return")
  func behindTheEnd() throws {
    let path = try file(10_000)
    let file = try path.open(O_RDWR)
    defer { file.close() }
    // Blocks that were another file's.
    let other = try sharedVolume().root / "behind-\(getpid())"
    try other.create([UInt8](repeating: 0x5a, count: 4 << 20))
    try other.unlink()
    try sharedVolume().sync()
    try file.allocate(Int32(hmt_keep_size), at: 0, 4 << 20)
    let layout = try file.layout(HOLDFAST_LAYOUT_WRITE, 0, 4 << 20)
    let image = try Path(sharedVolume().image).open(O_RDWR)
    defer { image.close() }
    for offset in stride(from: 10_000, to: 4 << 20, by: 4096) {
      #expect(try image.read(16, at: layout.place(offset)) == [UInt8](repeating: 0, count: 16), "byte \(offset)")
    }
    try image.write([7, 8, 9], at: layout.place(10_000))
    try image.write([1, 2, 3], at: layout.place(1 << 20))
    #expect(try path.size() == 10_000)
    #expect(throws: Errno(EINVAL)) { try file.returnLayout(layout, size: 4 << 20 + 1) }
    #expect(try path.sealCount() == 1, "a refused return returns nothing")
    #expect(try file.returnLayout(layout, size: 1 << 20 + 3) == 1 << 20 + 3)
    var expected = pattern(10_000) + [UInt8](repeating: 0, count: 1 << 20 - 10_000) + [1, 2, 3]
    expected.replaceSubrange(10_000..<10_003, with: [7, 8, 9])
    #expect(try path.contents() == expected)
    // Smaller is a truncation.
    let again = try file.layout(HOLDFAST_LAYOUT_WRITE)
    #expect(try file.returnLayout(again, size: 5000, touches: true) == 5000)
    #expect(try path.contents() == Array(expected[..<5000]))
  }

  @Test("A return with a size meets others' requests, and is refused whole")
  func returnAgainstASeal() throws {
    let path = try file(8192)
    let file = try path.open(O_RDWR)
    defer { file.close() }
    let layout = try file.layout(HOLDFAST_LAYOUT_WRITE)
    try path.seal()
    #expect(throws: Errno(ETXTBSY)) { try file.returnLayout(layout, size: 4096) }
    #expect(try path.sealCount() == 2)
    try path.unseal()
    #expect(try file.returnLayout(layout, size: 4096) == 4096)
  }
}
