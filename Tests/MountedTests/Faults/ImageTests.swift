/// What others do to the image while it is mounted: cut it short, delete it, put another in its place, mount it once
/// more, fill the filesystem it lies on.

import CMountedSupport
import Glibc
import Testing

@Suite("Faults: the image underneath", .needsMount, .deadline())
struct ImageTests {
  private func mounted(mebibytes: Int = 32, _ options: String = "") throws -> Volume {
    let volume = try Volume(mebibytes: mebibytes)
    try volume.mount(options)
    return volume
  }

  /// The next barrier notices; what is still there can be read.
  @Test(arguments: [8 << 20, 0]) func cutShort(_ size: Int) throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(30_000))
    let file = try path.open(O_RDWR)
    let isLost = try path.placeInImage().lowerBound >= UInt64(size)
    try Path(volume.image).truncate(size)
    #expect(throws: Errno(EIO)) {
      try file.write(pattern(4096), at: 65_536)
      try file.sync()
    }
    #expect(throws: Errno(EROFS)) { try (volume.root / "new").open(O_CREAT | O_WRONLY) }
    if isLost {
      #expect(throws: Errno(EIO)) { try path.storedContents() }
    } else {
      #expect(try path.storedContents()[..<30_000].elementsEqual(pattern(30_000)))
    }
    #expect(try volume.information().state == "read-only")
    #expect(eventually { volume.log.contains("critical") && volume.log.contains("cut short") }, "\(volume.log)")
    file.close()
    let result = try volume.tryUnmount()
    #expect(result.status == 1, "\(result.errors)")
    let again = try holdfast("mount", volume.image, volume.mountPoint)
    #expect(again.status == 1)
    #expect(again.errors.contains("cut short") || again.errors.contains("not a Holdfast image"), "\(again.errors)")
  }

  /// A write at the image's very end would make the file as long as it was, all holes: not unseen.
  @Test func cutShortAndGrownAgain() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(30_000))
    try Path(volume.image).truncate(8 << 20)
    // Whatever is written where: it must not grow the file.
    let file = try (volume.root / "filler").open(O_CREAT | O_WRONLY)
    #expect(throws: Errno(EIO)) {
      for index in 0..<400 { try file.write(pattern(65_536), at: index * 65_536) }
    }
    file.close()
    #expect(try Path(volume.image).size() == 8 << 20)
    #expect(throws: Errno.self) { try path.create(pattern(10)) }
    #expect(try holdfast("sync", volume.mountPoint).status == 1)
    #expect(eventually { volume.log.contains("cut short") }, "\(volume.log)")
    #expect(try volume.tryUnmount().status == 1)
  }

  /// An open file is there until it is closed: the mount works on, and unmount says that nobody can look at the result.
  @Test func deleted() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(30_000))
    try Path(volume.image).unlink()
    try path.create(pattern(200_000, seed: 4))
    try volume.sync()
    #expect(try path.storedContents() == pattern(200_000, seed: 4))
    #expect(try volume.information().state == "sound")
    let result = try volume.tryUnmount()
    #expect(result.status == 1 && result.errors.contains("deleted"), "\(result.errors)")
    #expect(!volume.log.contains("error:"), "\(volume.log)")
  }

  @Test func replaced() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let other = try Volume(mebibytes: 32)
    defer { other.remove() }
    let path = volume.root / "file"
    try path.create(pattern(30_000))
    // The old image has a second name, to be looked at afterwards.
    let kept = volume.folder + "/kept"
    try Path(volume.image).link(as: Path(kept))
    try Path(other.image).rename(to: Path(volume.image))
    let before = try Path(volume.image).contents()
    try path.create(pattern(200_000, seed: 4))
    try volume.sync()
    #expect(try path.storedContents() == pattern(200_000, seed: 4))
    let result = try volume.tryUnmount()
    #expect(result.status == 1 && result.errors.contains("not the volume"), "\(result.errors)")
    #expect(try Path(volume.image).contents() == before)
    try Path(kept).rename(to: Path(volume.image))
    #expect(try volume.imageInformation().clean)
    try volume.mount()
    #expect(try path.contents() == pattern(200_000, seed: 4))
    volume.finish()
  }

  /// By whatever name: at once, and the first goes on undisturbed.
  @Test func mountedTwice() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let names = [volume.image, volume.folder + "/hard", volume.folder + "/soft"]
    try Path(names[0]).link(as: Path(names[1]))
    try Path(names[2]).makeSymlink(to: Path(names[0]))
    let other = volume.folder + "/other"
    try Path(other).makeDirectory()
    for name in names {
      for arguments in [["mount", name, other], ["mount", name, other, "-o", "ro"], ["mkfs", name, "--force"]] {
        let result = try run([TestEnvironment.holdfast] + arguments, seconds: 20)
        #expect(result.status == 1, "\(arguments): \(result.errors)")
        #expect(result.errors.contains("mounted") || result.errors.contains("in use"), "\(result.errors)")
      }
    }
    try (volume.root / "file").create(pattern(10_000))
    #expect(try (volume.root / "file").storedContents() == pattern(10_000))
    volume.finish()
  }

  // MARK: No room for the image itself

  /// A sparse copy of a fresh image on a small tmpfs, mounted; `body` gets the volume and the tmpfs.
  private func onASmallFilesystem(_ body: (Volume, Path) throws -> Void) throws {
    let volume = try Volume(mebibytes: 64)
    defer { volume.remove() }
    let small = volume.folder + "/small"
    try Path(small).makeDirectory()
    #expect(try run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", small]).status == 0)
    defer { _ = hmt_umount(small, 1) }
    let copy = small + "/image"
    #expect(try run(["cp", "--sparse=always", volume.image, copy]).status == 0)
    try Path(volume.image).unlink()
    try Path(volume.image).makeSymlink(to: Path(copy))
    try volume.mount("commit=3600")
    try body(volume, Path(small))
  }

  private func fill(_ folder: Path) throws -> Path {
    let path = folder / "filler"
    let file = try path.open(O_CREAT | O_WRONLY)
    defer { file.close() }
    var size = 0
    while let count = try? file.write(pattern(65_536), at: size) { size += count }
    while let count = try? file.write(pattern(4096), at: size) { size += count }
    return path
  }

  /// Writers are told ENOSPC; with room again everything works.
  @Test func noRoomForData() throws {
    try onASmallFilesystem { volume, small in
      let kept = volume.root / "kept"
      try kept.create(pattern(30_000))
      // More than the twelve megabytes there are, of 64 promised.
      let file = try (volume.root / "big").open(O_CREAT | O_WRONLY)
      var failure: Errno?
      var size = 0
      while failure == nil, size < 40 << 20 {
        do throws(Errno) { size += try file.write(pattern(65_536), at: size) } catch { failure = error }
      }
      #expect(failure == Errno(ENOSPC))
      #expect(try volume.information().state == "sound")
      #expect(try kept.storedContents() == pattern(30_000))
      #expect(try file.size() == size)
      file.close()
      #expect(volume.log.contains("No space left on device"))
      // Deleting gives the host nothing back, but what was written before can be written again.
      try (volume.root / "big").unlink()
      #expect(try kept.contents() == pattern(30_000))
    }
  }

  /// The journal's turn: the volume stops, and is whole when there is room again.
  @Test func noRoomForTheJournal() throws {
    try onASmallFilesystem { volume, small in
      let kept = volume.root / "kept"
      try kept.create(pattern(30_000))
      try volume.sync()
      let filler = try fill(small)
      var failure: Errno?
      for index in 0..<400 where failure == nil {
        do throws(Errno) {
          let directory = volume.root / "folder-\(index)"
          try directory.makeDirectory()
          let file = try directory.open()
          defer { file.close() }
          try file.sync()
        } catch { failure = error }
      }
      #expect(failure == Errno(ENOSPC))
      #expect(try volume.information().state == "read-only")
      #expect(throws: Errno(EROFS)) { try kept.unlink() }
      #expect(try kept.contents() == pattern(30_000))
      #expect(eventually { volume.log.contains("critical") })
      #expect(volume.log.contains("No space left on device"))
      #expect(try volume.tryUnmount().status == 1)
      try filler.unlink()
      try volume.mount()
      #expect(try kept.contents() == pattern(30_000))
      try (volume.root / "again").create(pattern(30_000))
      volume.finish()
    }
  }
}
