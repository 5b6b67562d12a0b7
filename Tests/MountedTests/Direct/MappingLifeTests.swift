/// How long a mapping and its lease live, and what becomes of a holder that is asked to let go.

import CMountedSupport
import Glibc
import HoldfastClient
import Testing

@Suite("Direct: lives of mappings", .needsMount, .deadline(seconds: 120))
struct MappingLifeTests {
  private static let size = 1 << 20

  private func volume() throws -> (Volume, Path) {
    let volume = try Volume(mebibytes: 64)
    try volume.mount("commit=1,grace=2")
    let path = volume.root / "held"
    try path.create([UInt8](repeating: 1, count: Self.size))
    return (volume, path)
  }

  private func expectFreed(_ volume: Volume, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let isFreed = try eventually(within: 20) {
      try volume.information().usage.quarantinedBlocks == 0 && volume.seals().isEmpty
    }
    #expect(isFreed, sourceLocation: sourceLocation)
  }

  @Test func aMappingSurvivesItsFile() throws {
    let (volume, path) = try volume()
    defer { volume.remove() }
    let inode = try path.inode()
    let places = Extents(try path.extents())
    do {
      let layout = try takeWriteLayout(path)
      let mapping = try layout.map(0..<UInt64(Self.size), .readWrite)
      mapping.bytes[0] = 2
      let moved = volume.root / "moved"
      try path.rename(to: moved)
      mapping.bytes[1] = 3
      #expect(try moved.contents().prefix(3) == [2, 3, 1])
      try moved.unlink()
      mapping.bytes[2] = 4
      #expect(try layout.bytes(4, at: 0) == [2, 3, 4, 1])
      _ = try layout.giveBack()
      // Its handle and its request are gone. The lease is the mapping's.
      #expect(try isLeased(volume, inode))
      try volume.sync()
      let other = volume.root / "other"
      try other.create([UInt8](repeating: 9, count: 8 * Self.size))
      #expect(!Extents(try other.extents()).overlaps(places))
      memset(mapping.bytes.baseAddress!, 0xff, mapping.bytes.count)
      #expect(try other.storedContents() == [UInt8](repeating: 9, count: 8 * Self.size))
      mapping.unmap()
    }
    #expect(try !isLeased(volume, inode))
    try expectFreed(volume)
    volume.finish()
  }

  /// However its process ends.
  @Test(arguments: [true, false]) func theEndOfAProcessReleases(killed: Bool) throws {
    let (volume, path) = try volume()
    defer { volume.remove() }
    let inode = try path.inode()
    let agent = try Agent()
    #expect(eventually { (try? agent.call("direct", path, "write", "''")) == 0 })
    try agent.call("direct-map")
    #expect(try isLeased(volume, inode) && path.sealCount() == 1)
    if killed { agent.kill() } else { agent.exit() }
    #expect(try eventually { try !isLeased(volume, inode) && path.sealCount() == 0 })
    try path.truncate(0)
    volume.finish()
  }

  @Test func aChildKeepsTheLease() throws {
    let (volume, path) = try volume()
    defer { volume.remove() }
    let inode = try path.inode()
    let places = Extents(try path.extents())
    let agent = try Agent()
    #expect(eventually { (try? agent.call("direct", path, "write", "''")) == 0 })
    try agent.call("direct-map")
    let child = pid_t(try agent.call("fork"))
    defer { kill(child, SIGKILL) }
    try agent.call("direct-return")
    agent.kill()
    try path.unlink()
    try volume.sync()
    #expect(try isLeased(volume, inode))
    let other = volume.root / "other"
    try other.create([UInt8](repeating: 9, count: 8 * Self.size))
    #expect(!Extents(try other.extents()).overlaps(places))
    kill(child, SIGKILL)
    try expectFreed(volume)
    volume.finish()
  }

  /// A breakable layout: its descriptor becomes readable, the holder drains and returns, and who waited goes on.
  @Test func aRecallIsADescriptor() throws {
    let (volume, path) = try volume()
    defer { volume.remove() }
    try volume.remount("commit=1,grace=3600")
    let layout = try takeLayout(path) { ($0.isWrite, $0.isBreakable) = (true, true) }
    let recall = try layout.recallDescriptor()
    let mapping = try layout.map(0..<UInt64(Self.size), .readWrite)
    var entry = pollfd(fd: recall.descriptor, events: Int16(POLLIN), revents: 0)
    #expect(poll(&entry, 1, 0) == 0)
    let breaker = Background { try path.truncate(4096) }
    #expect(poll(&entry, 1, 30_000) == 1 && entry.revents & Int16(POLLIN) != 0)
    guard case .recalled(let left) = try layout.recallStatus() else {
      Issue.record("not recalled")
      return
    }
    #expect(left > 0 && !breaker.isDone)
    // Still its own.
    mapping.bytes[0] = 0x42
    mapping.unmap()
    _ = try layout.giveBack()
    try breaker.finish()
    #expect(try path.size() == 4096 && path.contents()[0] == 0x42)
    volume.finish()
  }

  /// One that does not hear is fenced: it stores on, into blocks of nobody, and is told at its next operation.
  @Test func whoIgnoresARecallHarmsNobody() throws {
    let (volume, path) = try volume()
    defer { volume.remove() }
    let places = Extents(try path.extents())
    let agent = try Agent()
    #expect(eventually { (try? agent.call("direct", path, "write,breakable", "''")) == 0 })
    try agent.call("direct-map")
    try agent.call("store", 0xa5)
    #expect(try agent.call("direct-recall", 0) == 0)
    // Waits for the grace.
    try path.truncate(0)
    #expect(try agent.call("direct-recall", 0) == 1)
    #expect(throws: Errno(ESTALE)) { try agent.call("direct-map") }
    #expect(throws: Errno(ESTALE)) { try agent.call("direct-write", 0, 1) }
    try volume.sync()
    #expect(try volume.information().usage.quarantinedBlocks == Self.size / 4096)
    var files: [Path] = []
    while files.count < 200 {
      let file = volume.root / "fill-\(files.count)"
      guard (try? file.create([UInt8](repeating: 3, count: Self.size / 2))) != nil else { break }
      files.append(file)
    }
    #expect(files.count > 10)
    let rounds = try agent.call("rounds")
    #expect(try eventually { try agent.call("rounds") > rounds + 1 })
    for file in files {
      #expect(!Extents(try file.extents()).overlaps(places))
      let isAsWritten = try file.storedContents() == [UInt8](repeating: 3, count: Self.size / 2)
      #expect(isAsWritten, "\(file)")
    }
    #expect(throws: Errno(ESTALE)) { try agent.call("direct-return") }
    agent.kill()
    try expectFreed(volume)
    volume.finish()
  }
}
