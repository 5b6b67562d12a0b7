/// Two ways to a file's bytes at once: through the image and through the mount (docs/decisions/0009-layouts.md).

import CHoldfast
import CMountedSupport
import Glibc
import Synchronization
import Testing

@Suite("Layouts: coherence", .needsMount, .deadline(seconds: 120))
struct CoherenceTests {
  /// A mounted volume with one file of 2 MiB, its pages in the kernel's cache, and the image.
  private final class Scene {
    static let byteCount = 2 << 20
    let volume: Volume
    let path: Path
    let holder: File
    let image: File

    init(_ options: String = "") throws {
      volume = try Volume(mebibytes: 64)
      try volume.mount(options)
      path = volume.root / "data"
      try path.create(pattern(Self.byteCount))
      holder = try path.open(O_RDWR)
      _ = try holder.read(Self.byteCount, at: 0)
      image = try Path(volume.image).open(O_RDWR)
    }

    func end() {
      holder.close()
      image.close()
      volume.finish()
    }
  }

  private static let mountOptions = ["", "direct"]

  @Test("Direct stores are read through the mount at once", arguments: mountOptions)
  func readAfterStore(_ options: String) throws {
    let scene = try Scene(options)
    defer { scene.end() }
    let layout = try scene.holder.layout(HOLDFAST_LAYOUT_WRITE)
    #expect(layout.image.inode == UInt64(try Path(scene.volume.image).status().st_ino))
    let reader = try scene.path.open(O_RDONLY)
    defer { reader.close() }
    for round in 0..<64 {
      let offset = round * 31_337
      try scene.image.write([UInt8(round), 0xee], at: layout.place(offset))
      #expect(try reader.read(2, at: offset) == [UInt8(round), 0xee], "round \(round)")
    }
    // And what is written through the mount is on the image.
    let writer = try scene.path.open(O_WRONLY)
    try writer.write([1, 2, 3], at: 4095)
    writer.close()
    #expect(try scene.image.read(1, at: layout.place(4095)) == [1])
    #expect(try scene.image.read(2, at: layout.place(4096)) == [2, 3])
    try scene.holder.returnLayout(layout, touches: true)
    // The holder's own handle uses the page cache, which was filled before the layout.
    #expect(try scene.holder.read(2, at: 31_337) == [1, 0xee])
    #expect(try scene.path.contents()[31_337] == 1)
  }

  @Test("A mapping of the image and the mount show each other's stores", arguments: mountOptions)
  func mapping(_ options: String) throws {
    let scene = try Scene(options)
    defer { scene.end() }
    let layout = try scene.holder.layout(HOLDFAST_LAYOUT_WRITE)
    let start = mmap(
      nil, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, scene.image.descriptor, off_t(layout.extents[0].physical))
    #expect(start != MAP_FAILED)
    let mapped = UnsafeMutableRawBufferPointer(start: start, count: 1 << 20)
    defer { munmap(start, 1 << 20) }
    let file = try scene.path.open(O_RDWR)
    defer { file.close() }
    for round in 0..<256 {
      let offset = round * 4001
      mapped[offset] = UInt8(round)
      #expect(try file.read(1, at: offset) == [UInt8(round)])
      try file.write([UInt8(round) ^ 0xff], at: offset + 1)
      #expect(mapped[offset + 1] == UInt8(round) ^ 0xff)
    }
  }

  @Test("A reader, a writer and a mapper of the mount beside a holder that stores")
  func everybody() throws {
    let scene = try Scene()
    defer { scene.end() }
    let layout = try scene.holder.layout(HOLDFAST_LAYOUT_WRITE)
    // Bytes of one 4 KiB block each: the holder's, the writer's.
    let holders = layout.place(0)
    let stop = Atomic(false)
    let stored = Atomic(0)
    let path = scene.path
    let reader = Background {
      let file = try path.open(O_RDONLY)
      defer { file.close() }
      while !stop.load(ordering: .acquiring) {
        // What was stored before the read begins is what it reads, or something later.
        let least = stored.load(ordering: .acquiring)
        let bytes = try file.read(8, at: 0)
        let seen = bytes.withUnsafeBytes { $0.load(as: Int.self) }
        if seen < least { throw Trouble("read \(seen) after \(least) was stored") }
      }
    }
    let writer = Background {
      let file = try path.open(O_RDWR)
      defer { file.close() }
      var round: UInt8 = 0
      while !stop.load(ordering: .acquiring) {
        round &+= 1
        try file.write([UInt8](repeating: round, count: 4096), at: 4096)
        let back = try file.read(4096, at: 4096)
        if back != [UInt8](repeating: round, count: 4096) { throw Trouble("the writer does not read its own bytes") }
      }
    }
    let mapper = Background {
      while !stop.load(ordering: .acquiring) {
        let file = try path.open(O_RDWR)
        defer { file.close() }
        do {
          try file.withMapping(4096) { _ in throw Trouble("a shared mapping beside an exclusive layout") }
        } catch let error as Errno {
          if error != Errno(ENODEV) { throw error }
        }
        // A private one shows what was there when it was made, or later.
        let least = stored.load(ordering: .acquiring)
        let start = mmap(nil, 4096, PROT_READ, MAP_PRIVATE, file.descriptor, 0)
        if start == MAP_FAILED { throw Errno(errno) }
        let seen = start!.load(as: Int.self)
        munmap(start, 4096)
        if seen < least { throw Trouble("a private mapping shows \(seen) after \(least) was stored") }
      }
    }
    for round in 1...5000 {
      var value = round
      try scene.image.writeAll(withUnsafeBytes(of: &value) { Array($0) }, at: holders)
      stored.store(round, ordering: .releasing)
    }
    stop.store(true, ordering: .releasing)
    for other in [reader, writer, mapper] { try other.finish() }
    try scene.holder.returnLayout(layout, touches: true)
    #expect(try scene.path.contents()[..<8].withUnsafeBytes { $0.load(as: Int.self) } == 5000)
  }

  @Test("Handles that use the page cache are in the way, and named")
  func others() throws {
    let scene = try Scene()
    defer { scene.end() }
    let agent = try Agent()
    let theirs = try agent.open(scene.path)
    // The handle that made the file is closed, but RELEASE comes when it comes.
    #expect(try eventually { try scene.holder.layoutRefusal(HOLDFAST_LAYOUT_WRITE)?.told.busyCount == 1 })
    let refusal = try scene.holder.layoutRefusal(HOLDFAST_LAYOUT_WRITE)
    #expect(refusal?.errno == Errno(EBUSY))
    #expect(refusal?.told.busyCount == 1)
    #expect(refusal?.told.busy == [agent.pid])
    // Nothing was taken.
    #expect(try scene.path.sealCount() == 0)
    // For reading nobody is.
    #expect(try scene.holder.layoutRefusal(0) == nil)
    try agent.call("close", theirs)
    #expect(try eventually { try scene.holder.layoutRefusal(HOLDFAST_LAYOUT_WRITE) == nil })
    agent.exit()
  }

  @Test("A handle opened beside a layout is in nobody's way later, and two holders share")
  func twoHolders() throws {
    let scene = try Scene()
    defer { scene.end() }
    let first = try scene.holder.layout(HOLDFAST_LAYOUT_WRITE)
    let beside = try scene.path.open(O_RDWR)
    defer { beside.close() }
    let second = try beside.layout(HOLDFAST_LAYOUT_WRITE)
    #expect(second.place(0) == first.place(0))
    #expect(try scene.path.sealCount() == 2)
    try beside.returnLayout(second)
    try scene.holder.returnLayout(first)
    // It has been direct_io from the start.
    _ = try scene.holder.returnLayout(try scene.holder.layout(HOLDFAST_LAYOUT_WRITE))
    #expect(throws: Errno(ENODEV)) { try beside.withMapping(4096) { _ in } }
  }

  @Test("Shared: close-to-open, and a dirty page never overwrites a direct store")
  func shared() throws {
    let scene = try Scene()
    defer { scene.end() }
    let other = try scene.path.open(O_RDWR)
    defer { other.close() }
    try other.withMapping(4096) { mapped in
      mapped[0] = 1
      let layout = try scene.holder.layout(HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_SHARED)
      // What was dirty at the grant has been written back.
      #expect(try scene.image.read(1, at: layout.place(0)) == [1])
      try scene.image.write([0xd1], at: layout.place(0))
      // Opened since the store: sees it.
      #expect(try scene.path.contents()[0] == 0xd1)
      // A page dirtied beside the layout holds the byte before another store.
      mapped[100] = 2
      try scene.image.write([0xd2], at: layout.place(0))
      #expect(msync(mapped.baseAddress, 4096, MS_SYNC) != 0)
      #expect(try scene.image.read(1, at: layout.place(0)) == [0xd2])
      #expect(scene.volume.log.contains("a layout for writing stands on these blocks"))
      mapped[101] = 3
      try scene.image.write([0xd3], at: layout.place(0))
      try scene.holder.returnLayout(layout)
      #expect(try scene.image.read(1, at: layout.place(0)) == [0xd3])
      #expect(try other.read(1, at: 0) == [0xd3])
      #expect(mapped[0] == 0xd3)
      // That 101 was lost is told once more; from here on all is as ever.
      #expect(msync(mapped.baseAddress, 4096, MS_SYNC) != 0)
      mapped[102] = 4
      #expect(msync(mapped.baseAddress, 4096, MS_SYNC) == 0)
      #expect(try scene.image.read(1, at: layout.place(102)) == [4])
    }
  }

  @Test("Dirty pages outside of a layout's range are nobody's to drop")
  func besideARange() throws {
    let scene = try Scene()
    defer { scene.end() }
    let other = try scene.path.open(O_RDWR)
    defer { other.close() }
    let layout = try scene.holder.layout(HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_SHARED, 0, 4096)
    try other.withMapping(Scene.byteCount) { mapped in
      mapped[1 << 20] = 0x77
      try scene.holder.returnLayout(layout)
      #expect(msync(mapped.baseAddress, Scene.byteCount, MS_SYNC) == 0)
    }
    #expect(try scene.path.storedContents()[1 << 20] == 0x77)
  }

  @Test("What is cached beside a layout is gone when the holder just closes, or is killed", arguments: [true, false])
  func endsWithoutReturn(_ isKilled: Bool) throws {
    let scene = try Scene()
    defer { scene.end() }
    scene.holder.close()
    let agent = try Agent()
    let theirs = try agent.open(scene.path, O_RDWR)
    #expect(try agent.call("layout", theirs, HOLDFAST_LAYOUT_WRITE) == 0)
    let place = try #require(Int(try scene.path.extents().split(separator: " ")[1]))
    let beside = try scene.path.open(O_RDONLY)
    // A private mapping brings pages into the kernel's cache.
    let start = mmap(nil, 4096, PROT_READ, MAP_PRIVATE, beside.descriptor, 0)
    #expect(start != MAP_FAILED && start!.load(as: UInt8.self) == pattern(1)[0])
    munmap(start, 4096)
    beside.close()
    try scene.image.write([0xab], at: place)
    if isKilled { agent.kill() } else { agent.exit() }
    #expect(try eventually { try scene.path.sealCount() == 0 })
    #expect(try scene.path.contents()[0] == 0xab)
  }
}
