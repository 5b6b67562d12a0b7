/// Rows 15 and 16 of the truth table, by who relocates: DEFRAG and PREPARE with CONTIGUOUS. All columns.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: places", .needsMount, .mounted(), .deadline(), .serialized)
struct PlaceRows {
  private func isInOneRun(_ state: Subject.State) -> Bool { state.extents.split(separator: "\n").count == 1 }

  private func expectMove(
    _ sealing: Sealing, _ effect: Effect, _ what: String, _ move: (File) throws -> Void,
    happened: (_ before: Subject.State, _ after: Subject.State) -> Bool
  ) throws {
    try expectCell(sealing, .splintered, effect: effect, what) { subject in
      let file = try subject.path.open(O_RDWR)
      defer { file.close() }
      try move(file)
    } happened: { _, before, after in
      after.contents == before.contents && after.size == before.size && after.generation != before.generation
        && after.modified == before.modified && happened(before, after)
    }
  }

  @Test("Row 15: defragment", arguments: Sealing.allCases)
  func row15(_ sealing: Sealing) throws {
    try expectMove(sealing, .withinPin, "the whole file") {
      try $0.defragment()
    } happened: {
      isInOneRun($1)
    }
    let behind = Layout.splintered.pinned.upperBound
    // Behind R: what a pin leaves free moves; a seal is of the whole file.
    try expectMove(sealing, .outsidePin, "blocks behind R") {
      try $0.defragment(behind, 1 << 20)
    } happened: {
      $1.extents.split(separator: "\n").count < $0.extents.split(separator: "\n").count
    }
    try expectMove(sealing, .withinPin, "PREPARE, contiguous") {
      try $0.prepareContiguously(alignment: 1 << 16)
    } happened: {
      isInOneRun($1)
    }
  }

  @Test("Row 15: what is in one run already does not move", arguments: Sealing.allCases)
  func row15Contiguous(_ sealing: Sealing) throws {
    try expectCell(sealing, .written, effect: .none, "defragment one run") { subject in
      let file = try subject.path.open(O_RDONLY)
      defer { file.close() }
      try file.defragment()
    } happened: { _, before, after in
      after == before
    }
  }

  @Test("Row 16: what is held is left alone", arguments: Sealing.allCases)
  func row16(_ sealing: Sealing) throws {
    let subject = try Subject(in: try sharedVolume().freshFolder(), sealing, .splintered)
    defer { try? subject.release() }
    let before = try subject.state()
    let file = try subject.path.open(O_RDONLY)
    defer { file.close() }
    let outcome = try file.defragment(flags: HOLDFAST_DEFRAG_SKIP_HELD)
    let after = try subject.state()
    #expect(after.contents == before.contents && after.sealCount == before.sealCount)
    #expect(try !subject.isRecalled())
    if sealing.isWhole {
      #expect(after == before && outcome.moved == 0 && outcome.skipped == 6 * 4096)
    } else if sealing.isPin {
      #expect(outcome.skipped == 2 * 4096)
      let pinned = Layout.splintered.pinned
      #expect(Extents(after.extents).blocks(in: pinned) == Extents(before.extents).blocks(in: pinned))
    } else {
      #expect(isInOneRun(after) && outcome.skipped == 0 && outcome.fragments_after == 1)
    }
  }

  @Test func rightsAndArguments() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(10_000))
    let file = try path.open(O_RDWR)
    defer { file.close() }
    #expect(throws: Errno(EINVAL)) { try file.defragment(flags: 2) }
    #expect(throws: Errno(EINVAL)) { try file.defragment(Int.max, 10) }
    for alignment in [1, 4097, 12288, 1 << 31] {
      #expect(throws: Errno(EINVAL)) { try file.prepareContiguously(alignment: alignment) }
    }
    let reader = try path.open(O_RDONLY)
    defer { reader.close() }
    #expect(throws: Errno(EBADF)) { try reader.prepareContiguously() }
  }
}
