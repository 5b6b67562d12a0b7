/// Rows 6–13 of the truth table: truncation, opening, fallocate. All columns.

import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: sizes and allocation", .needsMount, .mounted(), .deadline())
struct SizeRows {
  private static let block = Layout.block
  private static let size = Layout.written.size

  /// By path, by handle, and by the holder's own handle if there is one (row 26).
  private func expectTruncate(_ sealing: Sealing, _ layout: Layout = .written, to size: Int, _ effect: Effect) throws {
    for isByPath in [true, false] {
      try expectCell(sealing, layout, effect: effect, "\(isByPath ? "truncate" : "ftruncate") to \(size)") {
        subject in
        if isByPath { return try subject.path.truncate(size) }
        let file = try subject.path.open(O_WRONLY)
        defer { file.close() }
        try file.truncate(size)
      } happened: { _, before, after in
        let kept = before.contents.prefix(size)
        return after.size == size && after.contents == kept + [UInt8](repeating: 0, count: size - kept.count)
      }
    }
  }

  @Test("Row 6: truncate down", arguments: Sealing.allCases)
  func row6(_ sealing: Sealing) throws {
    for size in [0, 1, 4096, 4097, 3 * 4096 - 1] { try expectTruncate(sealing, to: size, .withinPin) }
    for size in [3 * 4096, Self.size - 1] { try expectTruncate(sealing, to: size, .outsidePin) }
    try expectTruncate(sealing, .mixed, to: 3 * 4096, .withinPin)
  }

  @Test("Row 7: truncate up", arguments: Sealing.allCases)
  func row7(_ sealing: Sealing) throws {
    for size in [Self.size + 1, 6 * 4096, 1 << 20] { try expectTruncate(sealing, to: size, .outsidePin) }
    try expectTruncate(sealing, .empty, to: 1, .outsidePin)
  }

  @Test("Row 8: truncate to the same size", arguments: Sealing.allCases)
  func row8(_ sealing: Sealing) throws {
    try expectTruncate(sealing, to: Self.size, .none)
    try expectTruncate(sealing, .mixed, to: Layout.mixed.size, .none)
    try expectTruncate(sealing, .empty, to: 0, .none)
  }

  @Test("Row 9: open with O_TRUNC, size > 0", arguments: Sealing.allCases)
  func row9(_ sealing: Sealing) throws {
    for (what, flags) in [("O_WRONLY", O_WRONLY), ("O_RDWR|O_CREAT", O_RDWR | O_CREAT), ("O_RDONLY", O_RDONLY)] {
      try expectCell(sealing, effect: .withinPin, "\(what)|O_TRUNC") { subject in
        try subject.path.open(flags | O_TRUNC).close()
      } happened: { _, _, after in
        after.size == 0 && after.extents.isEmpty
      }
    }
    try expectCell(sealing, .empty, effect: .none, "O_TRUNC of an empty file") { subject in
      try subject.path.open(O_WRONLY | O_TRUNC).close()
    } happened: { _, _, after in
      after.size == 0
    }
  }

  @Test("Row 10: open for writing", arguments: Sealing.allCases)
  func row10(_ sealing: Sealing) throws {
    for flags in [O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_CREAT, O_RDWR | hmt_o_direct] {
      try expectCell(sealing, effect: .none, "open \(flags)") { subject in
        try subject.path.open(flags).close()
      } happened: { _, before, after in
        after == before
      }
    }
  }

  private func expectAllocate(
    _ sealing: Sealing, _ layout: Layout, _ mode: Int32, at offset: Int, _ length: Int, _ effect: Effect,
    _ what: String,
    happened: (_ before: Subject.State, _ after: Subject.State) -> Bool
  ) throws {
    try expectCell(sealing, layout, effect: effect, what) { subject in
      let file = try subject.path.open(O_WRONLY)
      defer { file.close() }
      try file.allocate(mode, at: offset, length)
    } happened: { _, before, after in
      happened(before, after)
    }
  }

  @Test("Row 11: fallocate that would allocate or grow", arguments: Sealing.allCases)
  func row11(_ sealing: Sealing) throws {
    let block = Self.block
    try expectAllocate(sealing, .written, 0, at: 0, 10 * block, .outsidePin, "growing") {
      $1.size == 10 * block && $1.extents != $0.extents && $1.contents == $0.contents + zeros(10 * block - $0.size)
    }
    try expectAllocate(sealing, .written, 0, at: Self.size, 1, .outsidePin, "growing by a byte") {
      $1.size == $0.size + 1
    }
    try expectAllocate(sealing, .written, hmt_keep_size, at: 10 * block, block, .outsidePin, "KEEP_SIZE beyond the end")
    {
      $1.size == $0.size && $1.extents != $0.extents && $1.contents == $0.contents
    }
    try expectAllocate(sealing, .mixed, 0, at: 2 * block, block, .withinPin, "in a hole") {
      $1.size == $0.size && $1.extents != $0.extents && $1.contents == $0.contents
    }
    try expectAllocate(sealing, .empty, 0, at: 0, block, .withinPin, "in an empty file") { $1.size == block }
  }

  @Test("Row 11: fallocate over what is allocated", arguments: Sealing.allCases)
  func row11Allocated(_ sealing: Sealing) throws {
    for mode in [0, hmt_keep_size] {
      try expectAllocate(sealing, .written, mode, at: 0, Self.size, .none, "mode \(mode) within the file") {
        $1.contents == $0.contents && $1.extents == $0.extents
      }
      try expectAllocate(sealing, .mixed, mode, at: 4 * 4096, 4096, .none, "mode \(mode) over unwritten") {
        $1.contents == $0.contents && $1.extents == $0.extents
      }
    }
  }

  @Test("Row 12: punch hole, zero range", arguments: Sealing.allCases)
  func row12(_ sealing: Sealing) throws {
    let block = Self.block
    let punch = hmt_punch_hole | hmt_keep_size
    let cases: [(String, Int32, offset: Int, length: Int, Effect)] = [
      ("punch a block", punch, block, block, .withinPin), ("punch within a block", punch, block + 10, 20, .withinPin),
      ("punch all", punch, 0, 10 * block, .withinPin), ("punch beside R", punch, 0, block, .outsidePin),
      ("zero a block", hmt_zero_range, block, block, .withinPin),
      ("zero within a block beside R", hmt_zero_range, 10, 20, .outsidePin),
      ("zero, KEEP_SIZE", hmt_zero_range | hmt_keep_size, block, 2 * block, .withinPin),
    ]
    for (what, mode, offset, length, effect) in cases {
      try expectAllocate(sealing, .written, mode, at: offset, length, effect, what) { before, after in
        var expected = before.contents
        let end = min(offset + length, expected.count)
        expected.replaceSubrange(offset..<end, with: zeros(end - offset))
        return after.contents == expected
      }
    }
    try expectAllocate(sealing, .written, hmt_zero_range, at: Self.size - 10, 20, .outsidePin, "zero across the end") {
      $1.size == $0.size + 10 && $1.contents == $0.contents.dropLast(10) + zeros(20)
    }
  }

  /// The kernel's FUSE refuses these modes itself; what matters is that nothing happens.
  @Test("Row 13: collapse and insert range", arguments: Sealing.allCases)
  func row13(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let subject = try Subject(in: folder, sealing)
    defer { try? subject.release() }
    let before = try subject.state()
    let file = try subject.path.open(O_WRONLY)
    defer { file.close() }
    for mode in [hmt_collapse_range, hmt_insert_range] {
      #expect(throws: Errno(EOPNOTSUPP)) { try file.allocate(mode, at: 4096, 4096) }
    }
    #expect(try subject.state() == before)
  }
}

func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }
