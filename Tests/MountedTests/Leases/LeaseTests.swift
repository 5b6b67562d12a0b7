/// Processes that store into a file's blocks through the image itself: whatever happens to the daemon, the file and the
/// request, what they hit is their file's or nobody's.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Leases: direct holders", .needsMount, .deadline(seconds: 180))
struct LeaseTests {
  private static let megabyte = 1 << 20
  /// What the holder stores, and no other file holds.
  private static let stored: UInt8 = 0xa5

  /// A mounted volume with a sealed file, and a process that stores into its blocks.
  private final class Scene {
    let volume: Volume
    let path: Path
    let inode: UInt64
    let places: Extents
    let holder: Agent
    /// The holder's descriptors: of the file and of the image.
    let file: Int
    let image: Int

    /// `leased`: with a lock on the image, which is taken first.
    init(leased: Bool, mebibytes: Int = 64, flags: UInt32 = 0) throws {
      volume = try Volume(mebibytes: mebibytes)
      try volume.mount("commit=1,grace=2")
      path = volume.root / "held"
      // Two extents at least, with another file between.
      try path.create([UInt8](repeating: LeaseTests.stored, count: 2 * LeaseTests.megabyte))
      try (volume.root / "between").create([1])
      let appending = try path.open(O_WRONLY | O_APPEND)
      try appending.writeAll([UInt8](repeating: LeaseTests.stored, count: LeaseTests.megabyte))
      try appending.sync()
      appending.close()
      inode = try path.inode()
      holder = try Agent()
      image = try holder.open(Path(volume.image), O_RDWR)
      if leased { try holder.call("lease", image, inode) }
      file = try holder.open(path)
      try holder.call("seal", file, flags, "''")
      places = Extents(try path.extents())
      for place in places.physical { try holder.call("map", image, place.lowerBound, place.count) }
      try holder.call("store", LeaseTests.stored)
    }

    /// It has stored everywhere since the call.
    func expectStoring() throws {
      let before = try holder.call("rounds")
      #expect(try eventually { try holder.call("rounds") > before + 1 })
    }

    var quarantined: Int { get throws { try volume.information().usage.quarantinedBlocks } }

    /// Fills the volume; no new file gets any of the held blocks, and each keeps what was written into it while the holder
    /// stores. Removes the files again.
    func expectNobodyGetsTheBlocks(_ round: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
      let folder = volume.root / "fill-\(round)"
      try folder.makeDirectory()
      var files: [(path: Path, contents: [UInt8])] = []
      var isFull = false
      while !isFull {
        let contents = [UInt8](repeating: UInt8(files.count & 0x7f), count: LeaseTests.megabyte)
        let path = folder / "\(files.count)"
        let file = try path.open(O_CREAT | O_WRONLY)
        defer { file.close() }
        do {
          try file.writeAll(contents)
          files.append((path, contents))
        } catch {
          #expect(error == Errno(ENOSPC), sourceLocation: sourceLocation)
          isFull = true
        }
      }
      // And the splinters.
      for index in 0..<10_000 {
        let path = folder / "small-\(index)"
        guard (try? path.create([UInt8](repeating: 3, count: 4096))) != nil else { break }
        files.append((path, [UInt8](repeating: 3, count: 4096)))
      }
      #expect(files.count > 10, sourceLocation: sourceLocation)
      try expectStoring()
      for file in files {
        #expect(!Extents(try file.path.extents()).overlaps(places), "\(file.path)", sourceLocation: sourceLocation)
        let isAsWritten = try file.path.storedContents() == file.contents
        #expect(isAsWritten, "\(file.path)", sourceLocation: sourceLocation)
      }
      for file in files { try file.path.unlink() }
      for name in try folder.names() where name != "." && name != ".." { try (folder / name).unlink() }
      try folder.removeDirectory()
      try volume.sync()
    }

    /// The blocks come back to the mounted volume.
    func expectFreed(sourceLocation: SourceLocation = #_sourceLocation) throws {
      let isFreed = try eventually(within: 20) { try quarantined == 0 && volume.seals().isEmpty }
      #expect(isFreed, sourceLocation: sourceLocation)
    }

    /// Everything comes back: as much is free as on a volume that never had the file.
    func expectAllFree(_ expected: UInt, sourceLocation: SourceLocation = #_sourceLocation) throws {
      // But for a chunk of metadata or two.
      let isBack = try eventually(within: 20) {
        try volume.sync()
        return try volume.root.statistics().f_bfree + 512 >= expected
      }
      #expect(isBack, sourceLocation: sourceLocation)
    }
  }

  /// Issue 4's: kill -9 the daemon while a process maps a sealed file, mount again, and try to get its blocks.
  @Test func leasesSurviveTheDaemon() throws {
    let scene = try Scene(leased: true)
    let volume = scene.volume
    defer { volume.remove() }
    try scene.expectStoring()
    try volume.crash()
    // A repair might give the blocks away; a look does no harm.
    for option in ["-p", "-y"] {
      let refused = try holdfast("fsck", option, volume.image)
      #expect(refused.status == 8 && refused.errors.contains("inode \(scene.inode) is leased"), "\(refused)")
    }
    let made = try holdfast("mkfs", "--force", volume.image)
    #expect(made.status == 1 && made.errors.contains("inode \(scene.inode) is leased"), "\(made)")
    #expect(try volume.fsck().status == 0)
    try volume.mount("commit=1,grace=2")
    try scene.expectStoring()

    // The map stays as it is, for a reason that is told.
    let standing = try volume.seals()
    #expect(standing.map(\.lifetime) == ["lease"] && standing.map(\.inode) == [scene.inode])
    #expect(standing.map(\.uid) == [0] && standing.map(\.pid) == [0])
    #expect(throws: Errno(ETXTBSY)) { try scene.path.truncate(0) }
    #expect(throws: Errno(EPERM)) { try scene.path.unseal() }
    // Not aligned to twice of what it is aligned to: the file would have to move.
    let start = Int(scene.places.physical[0].lowerBound)
    let moved = try holdfast("prepare", "--contiguous", "--align", "\(2 * (start & -start))", scene.path.text)
    #expect(moved.status == 1 && moved.errors.contains("holdfast why"), "\(moved)")
    #expect(Extents(try scene.path.extents()).physical == scene.places.physical)
    try scene.expectNobodyGetsTheBlocks("sealed")

    // Unlinked and made anew: the old one is listed, its blocks are nobody's.
    try scene.path.unlink()
    try scene.path.create([UInt8](repeating: 4, count: LeaseTests.megabyte))
    #expect(!Extents(try scene.path.extents()).overlaps(scene.places))
    try volume.sync()
    #expect(try volume.seals().map(\.inode) == [scene.inode])
    try scene.expectNobodyGetsTheBlocks("unlinked")

    // An administrator lets the inode go: its blocks are in quarantine now, through another crash, too.
    #expect(try holdfast("revoke", volume.mountPoint, "--inode", "\(scene.inode)").status == 0)
    #expect(try eventually(within: 20) { try scene.quarantined == 768 })
    #expect(
      try volume.information().quarantine == [.init(inode: scene.inode, blocks: 768, leased: true, pids: [])])
    try scene.expectNobodyGetsTheBlocks("revoked")
    try volume.crash()
    try volume.mount("commit=1,grace=2")
    #expect(try eventually(within: 20) { try scene.quarantined == 768 })
    try scene.expectNobodyGetsTheBlocks("crashed")
    // And through an unmount in order, which is a clean one.
    try volume.remount("commit=1")
    #expect(try scene.quarantined == 768)
    try scene.expectNobodyGetsTheBlocks("unmounted")

    let freeBefore = UInt(try volume.root.statistics().f_bfree)
    scene.holder.kill()
    try scene.expectFreed()
    try scene.expectAllFree(freeBefore + 768)
    volume.finish()
  }

  /// What a holder keeps when its request was revoked: it stores on, harms nobody, and gives everything back when it is
  /// gone. With a lease the image is asked, without one the handle does.
  @Test(arguments: [false, true]) func aRevokedHolderHarmsNobody(leased: Bool) throws {
    let scene = try Scene(leased: leased)
    let volume = scene.volume
    defer { volume.remove() }
    try volume.sync()
    let free = UInt(try volume.root.statistics().f_bfree)
    #expect(try holdfast("revoke", scene.path.text).status == 0)
    #expect(throws: Errno(ESTALE)) { try scene.holder.call("seal", scene.file, 0, "''") }
    try scene.path.truncate(0)
    try volume.sync()
    #expect(try scene.quarantined == 768)
    // Used still, but for a chunk of metadata that comes and goes.
    #expect(UInt(try volume.root.statistics().f_bfree) <= free + 256)
    #expect(
      try volume.information().quarantine == [
        .init(inode: scene.inode, blocks: 768, leased: leased, pids: [scene.holder.pid])
      ])
    try scene.expectNobodyGetsTheBlocks("cut")
    if leased {
      try scene.holder.call("close", scene.file)
      // The handle is not what keeps them.
      try volume.sync()
      try scene.expectNobodyGetsTheBlocks("closed")
      #expect(try scene.quarantined == 768)
      // Nor is the descriptor alone, while a mapping lives.
      try scene.holder.call("close", scene.image)
      try volume.sync()
      #expect(try scene.quarantined == 768)
      scene.holder.kill()
    } else {
      // Without a lease its word is all there is: closed means done.
      try scene.holder.call("stop")
      try scene.holder.call("close", scene.file)
    }
    try scene.expectFreed()
    try scene.expectAllFree(free + 768)
    volume.finish()
  }

  /// A holder that does not answer a recall is fenced, and then harms nobody.
  @Test func aFencedHolderHarmsNobody() throws {
    let scene = try Scene(leased: true, flags: HOLDFAST_SEAL_BREAKABLE)
    let volume = scene.volume
    defer { volume.remove() }
    // Waits for the grace.
    try scene.path.truncate(LeaseTests.megabyte)
    #expect(throws: Errno(ESTALE)) { try scene.holder.call("seal", scene.file, 0, "''") }
    try volume.sync()
    #expect(try scene.quarantined == 512)
    try scene.path.unlink()
    try scene.holder.call("close", scene.file)
    try scene.expectNobodyGetsTheBlocks("fenced")
    scene.holder.kill()
    try scene.expectFreed()
    volume.finish()
  }

  /// Row 17, breakable: unlink returns at once, the holder is asked behind it, and fenced in the end.
  @Test func anUnlinkAsksBehind() throws {
    let scene = try Scene(leased: true, flags: HOLDFAST_SEAL_BREAKABLE)
    let volume = scene.volume
    defer { volume.remove() }
    try scene.path.unlink()
    #expect(try volume.seals().map(\.inode) == [scene.inode])
    try volume.sync()
    try scene.expectNobodyGetsTheBlocks("asked")
    try scene.holder.call("close", scene.file)
    scene.holder.kill()
    try scene.expectFreed()
    volume.finish()
  }
}
