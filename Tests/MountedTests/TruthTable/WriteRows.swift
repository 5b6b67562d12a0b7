/// Rows 1–5 and 19 of the truth table: reading, writing, copying, mapping. All columns.

import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: reads and writes", .needsMount, .mounted(), .deadline())
struct WriteRows {
  private static let block = Layout.block

  @Test("Row 1: read, lseek, stat, map query", arguments: Sealing.allCases)
  func row1(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let subject = try Subject(in: folder, sealing, .mixed)
    defer { try? subject.release() }
    let file = try subject.path.open()
    defer { file.close() }
    let block = Self.block
    #expect(try file.read(100_000, at: 0).count == Layout.mixed.size)
    #expect(try file.read(block, at: 2 * block) == [UInt8](repeating: 0, count: block))
    #expect(try file.seek(0, hmt_seek_hole) == 2 * block)
    #expect(try file.seek(2 * block, hmt_seek_data) == 6 * block)
    #expect(try file.seek(0, SEEK_END) == Layout.mixed.size)
    #expect(try file.size() == Layout.mixed.size)
    #expect(try subject.path.extents().split(separator: "\n").count >= 3)
    #expect(try subject.path.isMapImmutable() == sealing.isWhole)
    #expect(try subject.path.sealCount() == (sealing.isSealed ? 1 : 0))
  }

  /// Overwrites of what is mapped and written, by every way to write.
  @Test("Row 2: overwrite of mapped, written blocks", arguments: Sealing.allCases)
  func row2(_ sealing: Sealing) throws {
    let block = Self.block
    let cases: [(String, offset: Int, count: Int, direct: Bool)] = [
      ("a whole block", block, block, false), ("across a block border", block - 10, 20, false),
      ("up to the end", 5 * block + 40, 60, false), ("all of it", 0, Layout.written.size, false),
      ("directly", 2 * block, 2 * block, true),
    ]
    for (what, offset, count, direct) in cases {
      let bytes = pattern(count, seed: 77)
      try expectCell(sealing, effect: .none, what) { subject in
        let file = try subject.path.open(O_WRONLY | (direct ? hmt_o_direct : 0))
        defer { file.close() }
        #expect(try direct ? file.writeDirectly(bytes, at: offset) == count : file.write(bytes, at: offset) == count)
      } happened: { _, before, after in
        var expected = before.contents
        expected.replaceSubrange(offset..<offset + count, with: bytes)
        return after.contents == expected && after.extents == before.extents
      }
    }
  }

  @Test("Row 3: write into a hole or unwritten extent of an as-is seal", arguments: Sealing.allCases)
  func row3(_ sealing: Sealing) throws {
    let block = Self.block
    let cases: [(String, offset: Int, count: Int, direct: Bool)] = [
      ("into a hole", 2 * block + 5, 10, false), ("a whole hole", 2 * block, 2 * block, false),
      ("into an unwritten block", 4 * block, block, false), ("part of an unwritten block", 5 * block + 9, 1, false),
      ("from written into a hole", block, 2 * block, false),
      ("from unwritten into written", 5 * block, 2 * block, false),
      ("directly into a hole", 3 * block, block, true), ("directly into unwritten", 4 * block, block, true),
    ]
    for (what, offset, count, direct) in cases {
      let bytes = pattern(count, seed: 78)
      try expectCell(sealing, .mixed, effect: .withinPin, what) { subject in
        let file = try subject.path.open(O_WRONLY | (direct ? hmt_o_direct : 0))
        defer { file.close() }
        #expect(try direct ? file.writeDirectly(bytes, at: offset) == count : file.write(bytes, at: offset) == count)
        try file.sync()
      } happened: { _, before, after in
        var expected = before.contents
        expected.replaceSubrange(offset..<offset + count, with: bytes)
        return after.contents == expected && after.extents != before.extents
      }
    }
  }

  @Test("Row 3: overwrites of the written blocks of an as-is seal go on", arguments: Sealing.allCases)
  func row3Written(_ sealing: Sealing) throws {
    try expectCell(sealing, .mixed, effect: .none, "overwrite beside a hole") { subject in
      let file = try subject.path.open(O_WRONLY)
      defer { file.close() }
      #expect(try file.write(pattern(4096, seed: 5), at: 6 * 4096) == 4096)
    } happened: { _, before, after in
      Array(after.contents[(6 * 4096)..<(7 * 4096)]) == pattern(4096, seed: 5) && after.extents == before.extents
    }
  }

  @Test("Row 4: write or append past EOF", arguments: Sealing.allCases)
  func row4(_ sealing: Sealing) throws {
    let size = Layout.written.size
    let cases: [(String, offset: Int, count: Int)] = [
      ("within the last block", size, 10), ("across the end", size - 10, 20), ("behind a gap", size + 100_000, 5),
      ("from the start to beyond", 0, size + 1),
    ]
    for (what, offset, count) in cases {
      let bytes = pattern(count, seed: 79)
      try expectCell(sealing, effect: .outsidePin, what) { subject in
        let file = try subject.path.open(O_WRONLY)
        defer { file.close() }
        #expect(try file.write(bytes, at: offset) == count)
      } happened: { _, _, after in
        after.size == offset + count && Array(after.contents[offset...]) == bytes
      }
    }
    try expectCell(sealing, effect: .outsidePin, "append") { subject in
      let file = try subject.path.open(O_WRONLY | O_APPEND)
      defer { file.close() }
      #expect(try file.write(pattern(10)) == 10)
    } happened: { _, before, after in
      after.contents == before.contents + pattern(10)
    }
    // After a failed extending direct write the kernel asks for the old size, which is row 8.
    for offset in [5 * 4096, 8 * 4096] {
      try expectCell(sealing, effect: .outsidePin, "directly at \(offset)") { subject in
        let file = try subject.path.open(O_WRONLY | hmt_o_direct)
        defer { file.close() }
        #expect(try file.writeDirectly(pattern(8192), at: offset) == 8192)
      } happened: { _, _, after in
        after.size == offset + 8192 && Array(after.contents[offset...]) == pattern(8192)
      }
    }
    try expectCell(sealing, .empty, effect: .withinPin, "the first byte of an empty file") { subject in
      let file = try subject.path.open(O_WRONLY)
      defer { file.close() }
      #expect(try file.write([1], at: 0) == 1)
    } happened: { _, _, after in
      after.contents == [1]
    }
  }

  /// write(2) of more than one WRITE request may be short at a request's border (rule 5): each is whole.
  @Test("Row 4: a long write is short at a request's border or refused", arguments: Sealing.hard)
  func row4Long(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let path = folder / "long"
    let old = zeros(3 << 20)
    try path.create(old)
    let subject = try Subject(in: folder, sealing)
    defer { try? subject.release() }
    try path.seal()
    let file = try path.open(O_WRONLY)
    defer { file.close() }
    let new = [UInt8](repeating: 99, count: 4 << 20)
    let written = (try? file.write(new, at: 0)) ?? 0
    #expect(written <= 3 << 20 && written % 4096 == 0)
    #expect(try path.size() == 3 << 20)
    let contents = try path.storedContents()
    #expect(contents[..<written].elementsEqual(new[..<written]))
    #expect(contents[written...].elementsEqual(old[written...]))
  }

  @Test("Rule 4: sealing syncs first, so what was just written is written")
  func sealingSyncs() throws {
    let folder = try sharedVolume().freshFolder()
    for (index, flags) in [0, hmt_o_direct].enumerated() {
      let file = try (folder / "file-\(index)").open(O_CREAT | O_RDWR | flags)
      defer { file.close() }
      try file.allocate(at: 0, 65_536)
      #expect(try file.writeDirectly(pattern(65_536), at: 0) == 65_536)
      try file.seal()
      #expect(try !(folder / "file-\(index)").extents().contains("unwritten"))
      try file.unseal()
    }
  }

  @Test("Row 5: copy_file_range into it is judged as the writes it is", arguments: Sealing.allCases)
  func row5(_ sealing: Sealing) throws {
    let block = Self.block
    let source = try sharedVolume().freshFolder() / "source"
    let bytes = pattern(64 << 10, seed: 80)
    try source.create(bytes)
    let cases: [(String, Layout, offset: Int, count: Int, Effect)] = [
      ("over written blocks", .written, block, 3 * block, .none),
      ("into a hole", .mixed, 2 * block, block, .withinPin),
      ("into unwritten blocks", .mixed, 4 * block, block, .withinPin),
      ("past the end", .written, Layout.written.size, 10, .outsidePin),
      ("across the end", .written, 4 * block, 2 * block, .outsidePin),
    ]
    for (what, layout, offset, count, effect) in cases {
      try expectCell(sealing, layout, effect: effect, what) { subject in
        let from = try source.open()
        let to = try subject.path.open(O_WRONLY)
        defer {
          from.close()
          to.close()
        }
        #expect(try from.copyRange(at: 0, count, to: to, at: offset) == count)
      } happened: { _, _, after in
        Array(after.contents[offset..<offset + count]) == Array(bytes[..<count])
      }
    }
  }

  @Test("Row 5: copy_file_range out of it", arguments: Sealing.allCases)
  func row5Source(_ sealing: Sealing) throws {
    let target = try sharedVolume().freshFolder() / "target"
    try target.create()
    try expectCell(sealing, effect: .none, "as a source") { subject in
      let from = try subject.path.open()
      let to = try target.open(O_WRONLY)
      defer {
        from.close()
        to.close()
      }
      #expect(try from.copyRange(at: 0, 100_000, to: to, at: 0) == Layout.written.size)
    } happened: { _, before, _ in
      try target.contents() == before.contents
    }
  }

  @Test("Row 19: fsync, fdatasync, mmap, msync", arguments: Sealing.allCases)
  func row19(_ sealing: Sealing) throws {
    try expectCell(sealing, effect: .none, "mapped stores") { subject in
      let file = try subject.path.open(O_RDWR)
      defer { file.close() }
      try file.withMapping(Layout.written.size) { memory in
        memory[5000] = 0xee
        memory[Layout.written.size - 1] = 0xef
        try check(msync(memory.baseAddress, memory.count, Int32(MS_SYNC)))
      }
      try file.withMapping(4096, writable: false) { #expect($0[0] == pattern(1)[0]) }
      try file.sync()
      try file.syncData()
    } happened: { _, before, after in
      after.contents[5000] == 0xee && after.contents[Layout.written.size - 1] == 0xef
        && after.extents == before.extents
    }
  }

  /// The store is refused when the kernel writes it back: msync or fsync tells. Writeback is no process's and never waits:
  /// under a breakable request it is told to come again, after the recall has begun.
  @Test("Row 3: a mapped store into a hole of an as-is seal", arguments: Sealing.sealed)
  func row3Mapped(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let subject = try Subject(in: folder, sealing, .mixed)
    defer { try? subject.release() }
    let before = try subject.state()
    let file = try subject.path.open(O_RDWR)
    defer { file.close() }
    var isTold = false
    try file.withMapping(Layout.mixed.size) { memory in
      memory[2 * 4096 + 7] = 0xee
      isTold = msync(memory.baseAddress, memory.count, Int32(MS_SYNC)) != 0
    }
    if !isTold { isTold = (try? file.sync()) == nil }
    #expect(isTold, "neither msync nor fsync told of the refused store")
    let after = try subject.state()
    #expect(after.extents == before.extents && after.contents == before.contents && after.size == before.size)
    #expect(try subject.isRecalled() == (sealing.column == .breakable))
  }
}
