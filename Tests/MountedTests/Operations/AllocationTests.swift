/// fallocate's modes, SEEK_DATA and SEEK_HOLE.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: allocation", .needsMount, .mounted(), .deadline())
struct AllocationTests {
  private func file(_ contents: [UInt8] = []) throws -> (Path, File) {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(contents)
    return (path, try path.open(O_RDWR))
  }

  @Test func preallocation() throws {
    let (path, file) = try file(pattern(100))
    defer { file.close() }
    try file.allocate(at: 0, 100_000)
    #expect(try path.size() == 100_000)
    #expect(try path.contents() == pattern(100) + zeros(99_900))
    #expect(try path.status().st_blocks == 25 * 8)
    #expect(try path.extents().contains("unwritten"))
    try file.allocate(hmt_keep_size, at: 200_000, 4096)
    #expect(try path.size() == 100_000)
    #expect(try path.status().st_blocks == 27 * 8)
    // It stays over a close and is used by a write there.
    file.close()
    #expect(try path.status().st_blocks == 27 * 8)
    let again = try path.open(O_RDWR)
    defer { again.close() }
    try again.write([3], at: 200_000)
    #expect(try path.status().st_blocks == 27 * 8)
    #expect(try again.read(1, at: 200_000) == [3])
  }

  @Test func punching() throws {
    let (path, file) = try file(pattern(100_000))
    defer { file.close() }
    var expected = pattern(100_000)
    for (offset, length) in [(4096, 8192), (20_000, 10), (50_001, 20_000), (99_000, 50_000), (200_000, 4096)] {
      try file.allocate(hmt_punch_hole | hmt_keep_size, at: offset, length)
      let end = min(offset + length, expected.count)
      if offset < end { expected.replaceSubrange(offset..<end, with: zeros(end - offset)) }
      #expect(try path.contents() == expected)
      #expect(try path.storedContents() == expected)
      #expect(try path.size() == 100_000)
    }
    #expect(try path.status().st_blocks == (25 - 2 - 4) * 8)
    #expect(throws: Errno(EOPNOTSUPP)) { try file.allocate(hmt_punch_hole, at: 0, 4096) }
  }

  @Test func zeroing() throws {
    let (path, file) = try file(pattern(100_000))
    defer { file.close() }
    var expected = pattern(100_000)
    for (offset, length) in [(4096, 8192), (20_000, 10), (50_001, 20_000)] {
      try file.allocate(hmt_zero_range, at: offset, length)
      expected.replaceSubrange(offset..<offset + length, with: zeros(length))
      #expect(try path.contents() == expected)
    }
    try file.allocate(hmt_zero_range | hmt_keep_size, at: 99_990, 5000)
    expected.replaceSubrange(99_990..<100_000, with: zeros(10))
    #expect(try path.contents() == expected)
    try file.allocate(hmt_zero_range, at: 99_000, 5000)
    expected = expected[..<99_000] + zeros(5000)
    #expect(try path.contents() == expected)
  }

  @Test func unknownModesAreRefused() throws {
    let (path, file) = try file(pattern(10_000))
    defer { file.close() }
    for mode in [hmt_collapse_range, hmt_insert_range, 0x40, 0x4000, hmt_punch_hole | hmt_keep_size | hmt_zero_range] {
      #expect(throws: Errno(EOPNOTSUPP)) { try file.allocate(mode, at: 0, 4096) }
    }
    for (offset, length) in [(-1, 10), (0, 0), (0, -5)] {
      #expect(throws: Errno(EINVAL)) { try file.allocate(at: offset, length) }
    }
    #expect(throws: Errno(EFBIG)) { try file.allocate(at: Int.max - 10, 100) }
    let reader = try path.open()
    defer { reader.close() }
    #expect(throws: Errno(EBADF)) { try reader.allocate(at: 0, 4096) }
    #expect(try path.contents() == pattern(10_000))
  }

  @Test func moreThanThereIsIsRefusedWhole() throws {
    let (path, file) = try file(pattern(10_000))
    defer { file.close() }
    let free = try path.statistics().f_bfree
    #expect(throws: Errno(ENOSPC)) { try file.allocate(at: 0, 10 << 30) }
    #expect(try path.size() == 10_000)
    #expect(try path.contents() == pattern(10_000))
    #expect(try path.status().st_blocks == 24)
    #expect(try path.statistics().f_bfree > free / 2)
  }

  @Test func dataAndHoles() throws {
    let (_, file) = try file()
    defer { file.close() }
    #expect(throws: Errno(ENXIO)) { try file.seek(0, hmt_seek_data) }
    #expect(throws: Errno(ENXIO)) { try file.seek(0, hmt_seek_hole) }
    try file.write(pattern(4096), at: 0)
    try file.write(pattern(10), at: 40_960)
    try file.truncate(100_000)
    #expect(try file.seek(0, hmt_seek_data) == 0)
    #expect(try file.seek(0, hmt_seek_hole) == 4096)
    #expect(try file.seek(100, hmt_seek_data) == 100)
    #expect(try file.seek(4096, hmt_seek_data) == 40_960)
    #expect(try file.seek(5000, hmt_seek_hole) == 5000)
    #expect(try file.seek(40_965, hmt_seek_data) == 40_965)
    #expect(try file.seek(40_960, hmt_seek_hole) == 45_056)
    #expect(throws: Errno(ENXIO)) { try file.seek(45_056, hmt_seek_data) }
    #expect(throws: Errno(ENXIO)) { try file.seek(100_000, hmt_seek_hole) }
    #expect(throws: Errno(ENXIO)) { try file.seek(-1, hmt_seek_data) }
    // What is allocated and was never written is a hole.
    try file.allocate(at: 8192, 4096)
    #expect(try file.seek(4096, hmt_seek_data) == 40_960)
    try file.write([1], at: 8192)
    #expect(try file.seek(4096, hmt_seek_data) == 8192)
    try file.truncate(4096)
    #expect(try file.seek(0, hmt_seek_hole) == 4096)
  }
}
