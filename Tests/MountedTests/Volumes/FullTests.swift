/// A full volume: ENOSPC before anything changes, and room again after deleting.

import CMountedSupport
import Glibc
import Testing

@Suite("Volumes: full", .needsMount, .deadline())
struct FullTests {
  @Test func aFullVolumeSaysSoAndCanBeEmptied() throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    try volume.mount()
    let root = volume.root
    let free = try root.statistics().f_bfree
    let kept = root / "kept"
    try kept.create(pattern(100_000))
    var files = 0
    let chunk = pattern(300_000)
    var isFull = false
    while !isFull && files < 1000 {
      let path = root / "file-\(files)"
      do {
        let file = try path.open(O_CREAT | O_WRONLY)
        files += 1
        defer { file.close() }
        try file.writeAll(chunk)
      } catch {
        #expect(error == Errno(ENOSPC))
        isFull = true
      }
    }
    #expect(isFull && files > 30)
    // What is there stays readable and may be overwritten; a refused append changes nothing.
    #expect(try kept.contents() == pattern(100_000))
    let file = try kept.open(O_RDWR)
    try file.write(pattern(100_000, seed: 7), at: 0)
    let size = try kept.size()
    var appended = size
    // Commits in the background give some blocks back: until nothing is left after one either.
    var refusals = 0
    while refusals < 3 {
      do throws(Errno) {
        appended += try file.write(chunk, at: appended)
        refusals = 0
      } catch {
        #expect(error == Errno(ENOSPC))
        #expect(try kept.size() == appended)
        refusals += 1
        try? volume.sync()
      }
    }
    // Holding on to what there is takes no room.
    try file.sync()
    try file.seal()
    try file.unseal()
    try kept.seal("1")
    try kept.unseal()
    file.close()
    #expect(try kept.contents()[..<100_000].elementsEqual(pattern(100_000, seed: 7)))
    for index in 0..<files { try (root / "file-\(index)").unlink() }
    try kept.unlink()
    let isEmpty = try eventually {
      try volume.sync()
      return try root.statistics().f_bfree + 1024 >= free
    }
    let left = try root.statistics().f_bfree
    #expect(isEmpty, "\(left) of \(free) blocks came back")
    try (root / "again").create(pattern(1 << 20))
    volume.finish()
  }

  /// Names and inodes alone fill it too; each can be removed again.
  @Test func fullOfNames() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    try volume.mount()
    let filler = try (volume.root / "filler").open(O_CREAT | O_WRONLY)
    var size = 0
    while (try? filler.write(pattern(65_536), at: size)) != nil { size += 65_536 }
    while (try? filler.write(pattern(4096), at: size)) != nil { size += 4096 }
    filler.close()
    var made = 0
    var refusal: Errno?
    while made < 200_000 && refusal == nil {
      let path = volume.root / "a-rather-long-name-for-a-file-that-has-nothing-in-it-\(made)"
      let descriptor = hmt_open(path.bytes, O_CREAT | O_WRONLY, 0o644)
      if descriptor < 0 { refusal = Errno(errno) } else { close(descriptor) }
      if descriptor >= 0 { made += 1 }
    }
    #expect(refusal == Errno(ENOSPC))
    let names = try volume.root.names()
    #expect(names.count == made + 3)
    for name in names where name.hasPrefix("a-") { try (volume.root / name).unlink() }
    try (volume.root / "filler").unlink()
    #expect(try volume.root.names().count == 2)
    volume.finish()
  }

  /// A store into a mapped hole that finds no room is told at msync or fsync, and the volume stays whole.
  @Test func aMappedStoreWithoutRoom() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    try volume.mount()
    let sparse = volume.root / "sparse"
    try sparse.create()
    try sparse.truncate(1 << 20)
    let filler = try (volume.root / "filler").open(O_CREAT | O_WRONLY)
    var size = 0
    while (try? filler.write(pattern(65_536), at: size)) != nil { size += 65_536 }
    while (try? filler.write(pattern(4096), at: size)) != nil { size += 4096 }
    filler.close()
    let file = try sparse.open(O_RDWR)
    var isTold = false
    try file.withMapping(1 << 20) { memory in
      for page in 0..<256 { memory[page * 4096] = 1 }
      isTold = msync(memory.baseAddress, memory.count, Int32(MS_SYNC)) != 0
    }
    if !isTold { isTold = (try? file.sync()) == nil }
    file.close()
    #expect(isTold)
    try (volume.root / "filler").unlink()
    volume.finish()
  }
}
