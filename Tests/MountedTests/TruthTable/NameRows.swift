/// Rows 14, 16–18 of the truth table: sharing, background work, unlinking, what is no change of the map. Row 15:
/// PlaceRows.swift.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: names, links, background", .needsMount, .mounted(), .deadline(), .serialized)
struct NameRows {
  /// The kernel's FUSE passes no clone ioctl; nothing may happen on either side.
  @Test("Row 14: sharing blocks", arguments: Sealing.allCases)
  func row14(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let subject = try Subject(in: folder, sealing)
    defer { try? subject.release() }
    let other = try Subject(in: folder, .unsealed, name: "other")
    let before = (try subject.state(), try other.state())
    for (from, to) in [(subject.path, other.path), (other.path, subject.path)] {
      let source = try from.open()
      let target = try to.open(O_RDWR)
      defer {
        source.close()
        target.close()
      }
      #expect(throws: Errno.self) {
        try target.control(hmt_ficlone, UnsafeMutableRawPointer(bitPattern: UInt(source.descriptor))!)
      }
    }
    #expect(try subject.state() == before.0)
    #expect(try other.state() == before.1)
  }

  /// What the engine does by itself: commits, checkpoints, trimming of preallocation when a writer closes.
  @Test("Row 16: background work", arguments: Sealing.allCases)
  func row16(_ sealing: Sealing) throws {
    let volume = try sharedVolume()
    let folder = try volume.freshFolder()
    // Appending leaves preallocation that a close would trim.
    let path = folder / "subject"
    let writer = try path.open(O_CREAT | O_RDWR | O_APPEND)
    defer { writer.close() }
    for part in 0..<40 { try writer.write(pattern(9000, seed: UInt8(part))) }
    try writer.sync()
    let subject = try Subject(of: path, sealing)
    defer { try? subject.release() }
    let extents = try path.extents()
    let generation = try path.generation()
    writer.close()
    for index in 0..<50 { try (folder / "noise-\(index)").create(pattern(5000)) }
    try volume.sync()
    if sealing.isWhole {
      #expect(try path.extents() == extents)
      #expect(try path.generation() == generation)
    } else if sealing.isPin {
      let scope = Layout.written.pinned
      #expect(Extents(try path.extents()).blocks(in: scope) == Extents(extents).blocks(in: scope))
    }
    #expect(try !subject.isRecalled(), "background work recalls nobody")
    #expect(try path.size() == 40 * 9000)
  }

  private enum Removal: CaseIterable { case unlink, renameOver }

  private func remove(_ path: Path, _ removal: Removal) throws {
    switch removal {
    case .unlink: try path.unlink()
    case .renameOver:
      let other = Path(path.text + "-new")
      try other.create([1])
      try other.rename(to: path)
    }
  }

  /// A file that is open lives on sealed; its blocks are nobody else's until the last close.
  @Test("Row 17: unlink, rename over it", arguments: Sealing.allCases)
  func row17(_ sealing: Sealing) throws {
    let volume = try sharedVolume()
    for removal in Removal.allCases {
      let folder = try volume.freshFolder()
      let subject = try Subject(in: folder, sealing)
      let user = try subject.path.open(O_RDWR | O_NONBLOCK)
      defer { user.close() }
      let before = try subject.state()
      let inode = UInt64(try user.status().st_ino)
      try remove(subject.path, removal)
      #expect(try user.status().st_nlink == 0)
      #expect(try user.read(100_000, at: 0) == before.contents)
      let standing = try volume.seals().filter { $0.inode == inode }
      #expect(standing.count == (sealing.isSealed ? 1 : 0), "\(sealing) \(removal)")
      // The unlink has returned; the recall runs behind it.
      #expect(standing.allSatisfy { ($0.recallMs != nil) == (sealing.column == .breakable) }, "\(sealing) \(removal)")
      if let refusal = sealing.refusal { #expect(throws: refusal) { try user.truncate(0) } }
      if sealing.isWhole { #expect(throws: sealing.refusal!) { try user.write([1], at: before.size) } }
      #expect(try user.write([9], at: 10) == 1)
      subject.holder?.close()
      user.close()
      if let process = subject.process {
        // It still lives, and its request with it: nobody gets the blocks.
        try volume.sync()
        #expect(try volume.seals().contains { $0.inode == inode })
        process.kill()
      }
      let isGone = try eventually { try volume.seals().allSatisfy { $0.inode != inode } }
      #expect(isGone, "\(sealing) \(removal): the request outlives its file")
    }
  }

  @Test("Row 17: the blocks of an unlinked, sealed file are not given to others")
  func row17Reuse() throws {
    let volume = try sharedVolume()
    let folder = try volume.freshFolder()
    let path = folder / "subject"
    try path.create([UInt8](repeating: 7, count: 1 << 20))
    let holder = try path.open()
    defer { holder.close() }
    try holder.seal()
    let held = Extents(try path.extents())
    try path.unlink()
    try volume.sync()
    // Fill the volume.
    let chunk = [UInt8](repeating: 1, count: 1 << 20)
    var fillers: [Path] = []
    filling: for index in 0..<500 {
      let filler = folder / "filler-\(index)"
      let file = try filler.open(O_CREAT | O_WRONLY)
      fillers.append(filler)
      for part in 0..<8 {
        do {
          try file.write(chunk, at: part << 20)
        } catch {
          #expect(error == Errno(ENOSPC))
          break filling
        }
      }
    }
    for filler in fillers {
      #expect(!Extents(try filler.extents()).overlaps(held))
    }
    #expect(try holder.read(1 << 20, at: 0) == [UInt8](repeating: 7, count: 1 << 20))
    let freeBefore = try folder.statistics().f_bfree
    holder.close()
    let isFreed = try eventually {
      try volume.sync()
      return try folder.statistics().f_bfree >= freeBefore + 256
    }
    #expect(isFreed, "the blocks of the released, unlinked file do not come back")
    for filler in fillers { try filler.unlink() }
  }

  @Test("Row 18: rename, link, chmod, chown, utimes, other xattrs", arguments: Sealing.allCases)
  func row18(_ sealing: Sealing) throws {
    try expectCell(sealing, effect: .none, "attributes and names") { subject in
      let path = subject.path
      let other = Path(path.text + "-other")
      let link = Path(path.text + "-link")
      try path.link(as: link)
      try path.rename(to: other)
      try other.rename(to: path)
      try link.unlink()
      try path.changeMode(0o640)
      try path.changeOwner(Agent.user, Agent.otherUser)
      try path.setTimes(timespec(tv_sec: 5, tv_nsec: 6), timespec(tv_sec: 7, tv_nsec: 8))
      try path.setAttribute("user.note", "kept")
      try path.setAttribute("user.gone", "x")
      try path.removeAttribute("user.gone")
    } happened: { subject, before, after in
      let status = try subject.path.status()
      #expect(status.st_mode & 0o7777 == 0o640)
      #expect(status.st_uid == Agent.user && status.st_gid == Agent.otherUser)
      #expect(after.modified == [7, 8])
      #expect(try subject.path.attributeText("user.note") == "kept")
      return after.contents == before.contents && after.generation == before.generation
    }
  }
}

/// `holdfast.extents`, parsed.
struct Extents {
  private struct Extent {
    var logical: Swift.Range<Int>
    var physical: Int
    var flags: Substring
  }

  /// Where a block of the file lies, and its flags.
  struct Place: Equatable {
    var logical: Int
    var physical: Int
    var flags: Substring
  }

  private var extents: [Extent] = []

  /// Bytes of the image.
  var physical: [Swift.Range<UInt64>] {
    extents.map { UInt64($0.physical)..<UInt64($0.physical + $0.logical.count) }
  }

  init(_ text: String) {
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count == 4, let logical = Int(fields[0]), let physical = Int(fields[1]), let length = Int(fields[2])
      else { continue }
      extents.append(Extent(logical: logical..<logical + length, physical: physical, flags: fields[3]))
    }
  }

  func overlaps(_ other: Extents) -> Bool {
    physical.contains { mine in other.physical.contains { mine.overlaps($0) } }
  }

  /// The blocks within these bytes of the file, however they are cut into extents.
  func blocks(in bytes: Swift.Range<Int>) -> [Place] {
    extents.flatMap { extent in
      stride(from: extent.logical.lowerBound, to: extent.logical.upperBound, by: Layout.block)
        .filter { bytes.contains($0) }
        .map { Place(logical: $0, physical: extent.physical + $0 - extent.logical.lowerBound, flags: extent.flags) }
    }
  }
}
