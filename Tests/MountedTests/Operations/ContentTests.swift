/// open's flags, reading and writing, sparse and very long files, mappings, copies.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: contents", .needsMount, .mounted(mebibytes: 96), .deadline())
struct ContentTests {
  private func file(_ contents: [UInt8] = []) throws -> Path {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create(contents)
    return path
  }

  @Test func truncatingOpens() throws {
    let path = try file(pattern(50_000))
    let reader = try path.open()
    defer { reader.close() }
    _ = try reader.read(50_000, at: 0)
    try path.open(O_WRONLY | O_TRUNC).close()
    #expect(try reader.read(50_000, at: 0).isEmpty)
    #expect(try path.size() == 0)
  }

  @Test func appends() throws {
    let path = try file(pattern(100))
    let (first, second) = (try path.open(O_WRONLY | O_APPEND), try path.open(O_RDWR | O_APPEND))
    defer {
      first.close()
      second.close()
    }
    var expected = pattern(100)
    for round in 0..<50 {
      let bytes = pattern(997, seed: UInt8(round))
      try (round % 2 == 0 ? first : second).write(bytes)
      expected += bytes
    }
    #expect(try path.contents() == expected)
    // The offset of pwrite is ignored, as Linux has it.
    try first.write([1, 2], at: 0)
    #expect(try path.contents() == expected + [1, 2])
  }

  @Test func directWritesAndReads() throws {
    let path = try file(pattern(8192))
    let direct = try path.open(O_RDWR | hmt_o_direct)
    let cached = try path.open(O_RDWR)
    defer {
      direct.close()
      cached.close()
    }
    #expect(try cached.read(8192, at: 0) == pattern(8192))
    #expect(try direct.writeDirectly(pattern(4096, seed: 9), at: 4096) == 4096)
    #expect(try cached.read(4096, at: 4096) == pattern(4096, seed: 9))
    try cached.write(pattern(4096, seed: 10), at: 0)
    #expect(try direct.readDirectly() == pattern(4096, seed: 10) + pattern(4096, seed: 9))
    #expect(try direct.writeDirectly(pattern(1 << 20, seed: 11), at: 8192) == 1 << 20)
    #expect(try path.size() == 8192 + 1 << 20)
  }

  @Test func unnamedFiles() throws {
    let folder = try sharedVolume().freshFolder()
    let file = try folder.open(hmt_o_tmpfile | O_RDWR, 0o640)
    defer { file.close() }
    try file.write(pattern(10_000), at: 0)
    #expect(try file.status().st_nlink == 0)
    #expect(try folder.names().count == 2)
    let name = folder / "named"
    try check(
      linkat(AT_FDCWD, "/proc/self/fd/\(file.descriptor)", AT_FDCWD, name.bytes, Int32(hmt_at_symlink_follow)))
    #expect(try name.contents() == pattern(10_000))
    #expect(try file.status().st_nlink == 1)
    // One that may never have a name.
    let nameless = try folder.open(hmt_o_tmpfile | O_RDWR | O_EXCL)
    defer { nameless.close() }
    #expect(throws: Errno(ENOENT)) {
      try check(
        linkat(
          AT_FDCWD, "/proc/self/fd/\(nameless.descriptor)", AT_FDCWD, (folder / "other").bytes,
          Int32(hmt_at_symlink_follow)))
    }
  }

  @Test func holesReadAsZeros() throws {
    let path = try file(pattern(10))
    let handle = try path.open(O_RDWR)
    defer { handle.close() }
    try handle.write([7], at: 1_000_000)
    #expect(try handle.read(2_000_000, at: 0) == pattern(10) + zeros(999_990) + [7])
    #expect(try path.status().st_blocks == 16)
    // What a shorter file left in its last block is not seen again.
    try handle.truncate(5)
    try handle.truncate(100)
    #expect(try handle.read(1000, at: 0) == pattern(5) + zeros(95))
  }

  @Test(arguments: [Int.max - 1, 1 << 62, 1 << 50, (1 << 44) - 3])
  func filesNearTheEndOfOffsets(_ offset: Int) throws {
    let path = try file()
    let handle = try path.open(O_RDWR)
    defer { handle.close() }
    #expect(try handle.write([5], at: offset) == 1)
    #expect(try path.size() == offset + 1)
    #expect(try handle.read(1, at: offset) == [5])
    #expect(try path.status().st_blocks == 8)
    #expect(try handle.seek(0, hmt_seek_data) == offset & ~4095)
    #expect(try handle.seek(0, hmt_seek_hole) == 0)
    try handle.sync()
    try handle.truncate(Int.max)
    #expect(try path.size() == Int.max)
    let rest = min(10, Int.max - offset)
    #expect(try handle.read(rest, at: offset) == [5] + zeros(rest - 1))
    try handle.truncate(0)
    #expect(try path.status().st_blocks == 0)
  }

  @Test func nothingLiesBeyondTheLastOffset() throws {
    let path = try file()
    let handle = try path.open(O_RDWR)
    defer { handle.close() }
    // The kernel itself refuses what ends beyond.
    #expect(throws: Errno(EINVAL)) { try handle.write([1], at: Int.max) }
    #expect(throws: Errno(EINVAL)) { try handle.truncate(-1) }
    #expect(throws: Errno(EINVAL)) { try handle.write([1], at: -5) }
    #expect(try path.size() == 0)
  }

  @Test func sharedMappings() throws {
    let path = try file(pattern(100_000))
    let handle = try path.open(O_RDWR)
    let other = try path.open(O_RDWR)
    defer {
      handle.close()
      other.close()
    }
    try handle.withMapping(100_000) { memory throws in
      #expect(memory.elementsEqual(pattern(100_000)))
      memory[50_000] = 0xaa
      #expect(try other.read(1, at: 50_000) == [0xaa])
      try other.write([0xbb], at: 60_000)
      #expect(memory[60_000] == 0xbb)
      try check(msync(memory.baseAddress, memory.count, Int32(MS_SYNC)))
      #expect(try path.storedContents()[50_000] == 0xaa)
    }
    // Stores into a hole, through a mapping.
    let sparse = try sharedVolume().freshFolder() / "sparse"
    try sparse.create()
    try sparse.truncate(100_000)
    let file = try sparse.open(O_RDWR)
    defer { file.close() }
    try file.withMapping(100_000) { $0[40_000] = 1 }
    try file.sync()
    #expect(try sparse.storedContents() == zeros(40_000) + [1] + zeros(59_999))
  }

  @Test func copies() throws {
    let folder = try sharedVolume().freshFolder()
    let (from, to) = (folder / "from", folder / "to")
    let bytes = pattern(300_000)
    try from.create(bytes)
    try to.create()
    let (source, target) = (try from.open(O_RDWR), try to.open(O_RDWR))
    defer {
      source.close()
      target.close()
    }
    #expect(try source.copyRange(at: 0, 300_000, to: target, at: 0) == 300_000)
    #expect(try to.contents() == bytes)
    #expect(try source.copyRange(at: 299_990, 100, to: target, at: 5) == 10)
    #expect(try source.copyRange(at: 300_000, 100, to: target, at: 0) == 0)
    let expected: [UInt8] = Array(bytes[..<5]) + Array(bytes[299_990...]) + Array(bytes[15..<20])
    #expect(try target.read(20, at: 0) == expected)
    // Within one file, apart; overlapping is refused.
    #expect(try source.copyRange(at: 0, 1000, to: source, at: 200_000) == 1000)
    #expect(try source.read(1000, at: 200_000) == Array(bytes[..<1000]))
    #expect(throws: Errno(EINVAL)) { try source.copyRange(at: 0, 1000, to: source, at: 500) }
    // What was written and not yet synced is copied.
    try source.write([0xcd], at: 7)
    #expect(try source.copyRange(at: 0, 10, to: target, at: 0) == 10)
    #expect(try target.read(1, at: 7) == [0xcd])
    let reader = try to.open()
    defer { reader.close() }
    #expect(throws: Errno(EBADF)) { try source.copyRange(at: 0, 10, to: reader, at: 0) }
  }

  @Test func aProgramRunsFromTheVolume() throws {
    let path = try sharedVolume().freshFolder() / "true"
    #expect(try run(["cp", "/bin/true", path.text]).status == 0)
    #expect(try run([path.text]).status == 0)
  }

  @Test func filesAreAlwaysReady() throws {
    let path = try file(pattern(10))
    let handle = try path.open(O_RDWR)
    defer { handle.close() }
    var wait = pollfd(fd: handle.descriptor, events: Int16(POLLIN | POLLOUT | POLLPRI), revents: 0)
    #expect(poll(&wait, 1, 0) == 1)
    #expect(wait.revents == Int16(POLLIN | POLLOUT))
  }

  @Test func largeFilesReadBack() throws {
    let path = try file()
    let handle = try path.open(O_RDWR)
    defer { handle.close() }
    let chunk = pattern(1 << 20)
    for part in 0..<24 { try handle.writeAll(chunk, at: part * ((1 << 20) + 4095)) }
    try handle.sync()
    for part in 0..<24 { #expect(try handle.read(1 << 20, at: part * ((1 << 20) + 4095)) == chunk) }
    #expect(try path.storedContents().count == 23 * ((1 << 20) + 4095) + 1 << 20)
  }
}
