import HoldfastBase
import HoldfastFormat
import HoldfastStore
import Testing

@testable import HoldfastCheck

/// What a repair decides, case by case.
@Suite struct RepairCases {
  private func repaired(_ device: MemoryDevice, _ what: String) -> RepairReport {
    let report = RepairTests.repair(device)
    #expect(report.outcome == .repaired, "\(what): \(report.outcome)")
    RepairTests.expectSound(device, what)
    return report
  }

  private func notes(_ report: RepairReport) -> [RepairNote] { report.entries.map(\.note) }

  private var reference: VolumeDump {
    get throws { try VolumeDump(RepairTests.pattern(Sample.image().build())) }
  }

  // MARK: Nodes

  /// The leaves below a lost node are marked used, and so they are found.
  @Test func lostInternalNodesLoseNothing() throws {
    let internals = Sample.image().build().internals
    #expect(internals.count > 2)
    for lost in [[internals[0]], [internals[1]], [internals[internals.count - 1]], internals] {
      let device = RepairTests.pattern(Sample.image().build())
      for block in lost { device.zero(block) }
      let report = repaired(device, "\(lost)")
      // Internal nodes that nobody could read may have had more leaves than are there.
      if lost.count == 1 { #expect(report.lossCount == 0, "\(lost): \(notes(report))") }
      #expect(notes(report).contains { $0.kind == "leavesSalvaged" } && report.before.isPartial)
      #expect(try VolumeDump(device) == reference)
    }
  }

  /// A node with nothing but space records is no loss: they are made anew.
  @Test func lostSpaceRecordsAreHarmless() throws {
    var image = Sample.image()
    image.leafLimit = 1
    var tried = 0
    for leaf in image.build().leaves {
      let device = RepairTests.pattern(image.build())
      let key = TreeNode.slotKey(device.block(leaf), 0)
      guard let space = key.space, [.free, .freeByLength, .quarantine].contains(space) else { continue }
      tried += 1
      device.flip(leaf, byte: 77)
      let report = RepairTests.repair(device, .harmless)
      #expect(report.outcome == .repaired && report.lossCount == 0, "\(key.told)")
      RepairTests.expectSound(device, key.told)
      #expect(try VolumeDump(device) == reference)
    }
    #expect(tried > 5)
  }

  /// Each leaf in turn: what it held is gone or made up, all the rest is as it was.
  @Test(arguments: [3, 10, 60]) func everyLeafLost(leafLimit: Int) throws {
    var image = Sample.image()
    image.leafLimit = leafLimit
    for index in image.build().leaves.indices {
      let device = RepairTests.pattern(image.build())
      device.flip(device.leaves[index], byte: 77)
      let leaf = device.leaves[index]
      let first = TreeNode.slotKey(device.block(leaf), 0)
      let last = TreeNode.slotKey(device.block(leaf), BlockHeader.count(device.block(leaf)) - 1)
      let report = repaired(device, "leaf \(index)")
      if first.space == .file || last.space == .persistentSeal {
        #expect(notes(report).contains { $0.kind == "recordsLost" })
      }
      let after = try VolumeDump(device)
      for (path, file) in try reference.files {
        // Inodes with all their records, and all the names on the way to them, in other leaves.
        let touched =
          first.space == .file && first.high <= file.inode && (last.space != .file || file.inode <= last.high)
        if touched { continue }
        // A lost intent may change a file that is elsewhere: then it is spoken of.
        let isThere =
          after.files[path] == file || after.files.values.contains(file)
          || Told(report).speaksDirectly(of: file.inode)
        #expect(isThere, "leaf \(index): \(path) \(file.text)")
      }
      try RepairTests.expectUsable(device, "leaf \(index)")
    }
  }

  // MARK: Blocks

  @Test func bothFilesOfCrossLinkedBlocksKeepTheContent() throws {
    var image = Sample.unsettled()
    let records = image.records
    let extent = try #require(records[.extent(Sample.file, 4)]?.withUnsafeBytes { ExtentRecord(decoding: $0) })
    image.put(extent, of: Sample.empty, at: 0)
    image.edit(Sample.empty) { ($0.size, $0.blocks) = (UInt64(extent.count) << 12, UInt64(extent.count)) }
    image.settle()
    let device = RepairTests.pattern(image.build())
    let before = try VolumeDump(device)
    let report = repaired(device, "cross-linked")
    #expect(report.lossCount == 0)
    #expect(notes(report).contains(.blocksCloned(inode: Sample.empty, fileBlock: 0, count: 6)))
    #expect(try VolumeDump(device) == before)
    let clone = try #require(try Self.records(device)[.extent(Sample.empty, 0)])
    #expect(clone != records[.extent(Sample.file, 4)] && clone.count == ExtentRecord.size)
  }

  /// The file with the higher number is the sealed one here: it keeps its map all the same.
  @Test func aSealedFileKeepsItsMap() throws {
    var image = Sample.unsettled()
    image.records[image.sealKey("backup", of: Sample.file)] = nil
    let extent = ExtentRecord(physical: 3000, count: 8, flags: [])
    image.put(extent, of: Sample.withXattrs, at: 0)
    image.edit(Sample.withXattrs) { ($0.size, $0.blocks) = (8 << 12, 8) }
    image.put(ExtentRecord(physical: 3004, count: 8, flags: []), of: Sample.empty, at: 0)
    image.edit(Sample.empty) { ($0.size, $0.blocks) = (8 << 12, 8) }
    image.seal("kept", of: Sample.empty)
    image.settle()
    let device = RepairTests.pattern(image.build())
    let before = try VolumeDump(device)
    let wanted = image.records[.extent(Sample.empty, 0)]
    let report = repaired(device, "sealed")
    #expect(notes(report).contains(.blocksCloned(inode: Sample.withXattrs, fileBlock: 4, count: 4)))
    #expect(try Self.records(device)[.extent(Sample.empty, 0)] == wanted)
    #expect(try VolumeDump(device) == before)
    // And it is sealed still.
    var options = StoreOptions()
    options.backgroundThread = false
    let store = try Store(mounting: device, options: options)
    var cut = AttributeChanges()
    cut.size = 0
    #expect(throws: FSError.self) {
      _ = try store.setAttributes(cut, of: Sample.empty, handle: nil, by: Credentials(uid: 0, gid: 0, pid: 1))
    }
    try store.unmount()
    RepairTests.expectSound(device, "sealed and mounted")
  }

  /// No blocks for a copy: a hole, named. None for a second tree: nothing is written.
  @Test func fullVolumes() throws {
    var image = Sample.unsettled()
    image.put(ExtentRecord(physical: 2400, count: 1690, flags: []), of: Sample.empty, at: 0)
    image.edit(Sample.empty) { ($0.size, $0.blocks) = (1690 << 12, 1690) }
    image.put(ExtentRecord(physical: 2400, count: 100, flags: []), of: Sample.withXattrs, at: 0)
    image.edit(Sample.withXattrs) { ($0.size, $0.blocks) = (100 << 12, 100) }
    image.settle()
    let device = RepairTests.pattern(image.build())
    let report = repaired(device, "no room for a copy")
    #expect(notes(report).contains(.extentDropped(inode: Sample.empty, fileBlock: 0, count: 100)))

    var full = Sample.unsettled()
    full.records[.chunk(full.chunk.start)] = nil
    full.put(ExtentRecord(physical: 2400, count: 1696, flags: []), of: Sample.empty, at: 0)
    full.edit(Sample.empty) { ($0.size, $0.blocks) = (1696 << 12, 1696) }
    full.put(ExtentRecord(physical: 2305, count: 95, flags: []), of: Sample.withXattrs, at: 0)
    full.edit(Sample.withXattrs) { ($0.size, $0.blocks) = (95 << 12, 95) }
    full.settle()
    let crowded = full.build()
    // Every block of the only chunk is in use.
    crowded.edit(crowded.chain[0]) { p in
      for byte in 0..<ChunkMap.bitmapBytes { p.put(UInt8.max, ChunkMap.headerBytes + 16 + byte) }
    }
    let untouched = crowded.copy()
    #expect(RepairTests.repair(crowded).outcome == .refused(.noSpace))
    #expect(crowded.isSame(as: untouched))
  }

  /// Of blocks two files have, those that cannot be read are a hole in the one that gets copies, and named; the rest is
  /// copied, and all is accounted for.
  @Test(arguments: [2400, 2650, 2999] as [UInt64]) func aBadSectorUnderTwoFiles(_ bad: UInt64) throws {
    var image = Sample.unsettled()
    for (inode, start) in [(Sample.empty, 2400), (Sample.withXattrs, 2400)] as [(InodeNumber, UInt64)] {
      image.put(ExtentRecord(physical: start, count: 600, flags: []), of: inode, at: 0)
      image.edit(inode) { ($0.size, $0.blocks) = (600 << 12, 600) }
    }
    image.settle()
    let device = RepairTests.pattern(image.build())
    device.badBlock = bad
    let report = repaired(device, "bad sector")
    // Begin at one block; the lower number keeps it.
    let loser = Sample.empty
    #expect(notes(report).contains(.extentDropped(inode: loser, fileBlock: bad - 2400, count: 1)))
    #expect(report.lossCount == 1)
    #expect(RepairTests.repair(device).outcome == .notNeeded)
    device.badBlock = nil
    let after = try VolumeDump(device)
    #expect(after.files["/attrs"]?.text.contains("size \(600 << 12)") == true)
    let record = try Self.records(device)[.inode(loser)]
    #expect(record.flatMap { bytes in bytes.withUnsafeBytes { InodeRecord(decoding: $0)?.blocks } } == 599)
  }

  /// A file that grows over blocks behind its end shows nothing of what was cut off the block it ended in.
  @Test(arguments: [false, true]) func growingShowsNothingThatWasCutOff(isCloned: Bool) throws {
    var image = Sample.unsettled()
    image.edit(Sample.file) { ($0.size, $0.blocks) = (5 << 12 | 100, 10) }
    if isCloned {
      image.put(ExtentRecord(physical: 2399, count: 11, flags: []), of: Sample.withXattrs, at: 0)
      image.edit(Sample.withXattrs) { ($0.size, $0.blocks) = (11 << 12, 11) }
      image.records[.extent(Sample.file, 0)] = nil
      image.records[.extent(Sample.file, 4)] = nil
      image.put(ExtentRecord(physical: 2400, count: 10, flags: []), of: Sample.file, at: 0)
      image.records[image.sealKey("backup", of: Sample.file)] = nil
    }
    image.settle()
    let device = RepairTests.pattern(image.build())
    let old = try Self.content(of: Sample.file, device)
    let report = repaired(device, "growing")
    #expect(notes(report).contains(.sizeRaised(inode: Sample.file, from: 5 << 12 | 100, to: 10 << 12)))
    #expect(notes(report).contains { $0.kind == "blocksCloned" } == isCloned)
    let new = try Self.content(of: Sample.file, device)
    #expect(new.count == 10 << 12 && Array(new[..<old.count]) == old)
    #expect(new[old.count..<(6 << 12)].allSatisfy { $0 == 0 })
    #expect(new[(6 << 12)...].contains { $0 != 0 })
  }

  /// A persistent seal that cannot be read still keeps its file's map; the other file gets the copy.
  @Test func anUnreadableSealKeepsItsMap() throws {
    var image = Sample.unsettled()
    for (inode, start) in [(Sample.file, 2402), (Sample.empty, 2400)] as [(InodeNumber, UInt64)] {
      image.records[.extent(inode, 0)] = nil
      image.records[.extent(inode, 4)] = nil
      image.put(ExtentRecord(physical: start, count: 4, flags: []), of: inode, at: 0)
      image.edit(inode) { ($0.size, $0.blocks) = (4 << 12, 4) }
    }
    let key = image.sealKey("backup", of: Sample.file)
    image.records[key]![0] = 99
    image.settle()
    let device = RepairTests.pattern(image.build())
    let report = repaired(device, "unreadable seal")
    #expect(notes(report).contains(.sealDropped(inode: Sample.file)))
    let extent = try Self.records(device)[.extent(Sample.file, 0)]
    #expect(extent.flatMap { bytes in bytes.withUnsafeBytes { ExtentRecord(decoding: $0)?.physical } } == 2402)
  }

  /// What a mount refuses the check does not call clean.
  @Test func copiesMadeAtDifferentTimes() throws {
    let device = Sample.image().build()
    let generation = UnsafeRawPointer(device.block(0)).u64(40)
    device.edit(0) {
      $0.put(generation + 1, 40)
      $0.put(UnsafeRawPointer($0).u64(216) + 1, 216)
    }
    #expect(throws: FSError.superblocksDisagree) { try VolumeDump(device) }
    let report = repaired(device, "created")
    #expect(report.before.issues.contains(.superblocksDisagree(field: .geometry)))
    try RepairTests.expectUsable(device, "created")
  }

  /// Rather none than superblocks nobody can open.
  @Test func sequencesThatAreUsedUp() throws {
    var image = Sample.image()
    let last = (UInt64(1) << 62) - 1
    image.edit(Sample.file) { $0.links = 9 }
    let device = image.build()
    device.editSuperblocks { $0.put(last, 136) }
    let position = UnsafeRawPointer(device.block(0)).u64(144)
    ImageBuilder.write(record: [], sequence: last, at: position, of: 1024, device)
    let before = device.copy()
    #expect(RepairTests.repair(device).outcome == .refused(.generationsUsedUp) && device.isSame(as: before))
  }

  // MARK: Names

  @Test func aLostDirectoryKeepsItsChildren() throws {
    var image = Sample.image()
    image.records[image.entryKey("dir", in: 1)] = nil
    let device = RepairTests.pattern(image.build())
    let report = repaired(device, "no name")
    #expect(notes(report).contains(.reconnected(inode: Sample.directory, name: "#\(Sample.directory)")))
    let after = try VolumeDump(device)
    for (path, file) in try reference.files {
      let moved = path.hasPrefix("/dir") ? "/lost+found/#\(Sample.directory)" + path.dropFirst(4) : path
      #expect(after.files[moved] == file, "\(moved)")
    }
    #expect(after.files["/lost+found"]?.text.contains("mode 40700") == true)
  }

  @Test func lostAndFoundThatIsThere() throws {
    for type in [FileType.directory, .regular] {
      var image = Sample.image()
      image.inode(
        60, type, links: type == .directory ? 2 : 1, size: type == .directory ? 1 : 0,
        parent: type == .directory ? 1 : 0)
      image.name("lost+found", in: 1, 60, type)
      image.edit(1) { ($0.size, $0.links) = ($0.size + 1, type == .directory ? 4 : 3) }
      if type == .directory {
        image.name("#61", in: 60, Sample.twiceNamed, .regular)
        image.edit(Sample.twiceNamed) { $0.links = 3 }
      }
      image.inode(61, .regular, links: 1)
      let device = image.build()
      let report = repaired(device, "\(type)")
      let after = try VolumeDump(device)
      #expect(
        after.files[type == .directory ? "/lost+found/#61~1" : "/lost+found~1/#61"]?.inode == 61, "\(notes(report))")
      #expect(after.files["/lost+found"]?.inode == 60)
    }
  }

  @Test func bothOfTwoEqualNamesStay() throws {
    var image = Sample.image()
    image.name("one", in: 1, Sample.fifo, .fifo, collision: 7)
    image.edit(1) { $0.size += 1 }
    image.edit(Sample.fifo) { $0.links = 2 }
    let device = RepairTests.pattern(image.build())
    let report = repaired(device, "twice")
    #expect(notes(report).contains(.entryRenamed(directory: 1, name: "one", newName: "one~1")))
    let after = try VolumeDump(device)
    #expect(after.files["/one"]?.inode == Sample.twiceNamed && after.files["/one~1"]?.inode == Sample.fifo)
  }

  @Test func longNamesAreShortenedForASuffix() throws {
    var names = FreshNames(sorted: [], seed: 1)
    let wish = [UInt8](String(repeating: "ä", count: 127).utf8) + [0x61]
    #expect(names.take(wish, in: 1).name == wish)
    let second = names.take(wish, in: 1).name
    #expect(second.count <= 255 && String(validating: second, as: UTF8.self)?.hasSuffix("ä~1") == true)
    #expect(names.take(wish, in: 2).name == wish)
  }

  /// The name in the directory that its own record calls its parent is kept, though it comes later.
  @Test func theDirectoryKeepsTheNameItsRecordKnows() throws {
    var image = Sample.image()
    image.name("zzz", in: 1, Sample.subdirectory, .directory)
    image.edit(1) { ($0.size, $0.links) = ($0.size + 1, 4) }
    let device = RepairTests.pattern(image.build())
    let report = repaired(device, "second name")
    #expect(notes(report).contains(.secondNameDropped(directory: 1, name: "zzz", inode: Sample.subdirectory)))
    #expect(try VolumeDump(device) == reference)
  }

  // MARK: The rest

  @Test func inodesThatLostTheirRecord() throws {
    var image = Sample.image()
    for inode in [Sample.file, Sample.directory, Sample.longLink, Sample.withXattrs] {
      image.records[.inode(inode)] = nil
    }
    let device = RepairTests.pattern(image.build())
    let report = repaired(device, "no records")
    let after = try VolumeDump(device)
    #expect(after.files["/file"]?.text.hasPrefix("regular mode 100600 size 40960") == true)
    #expect(after.files["/dir"]?.text.hasPrefix("directory mode 40700") == true)
    #expect(after.files["/long"]?.text.hasPrefix("symlink mode 120777 size 3000") == true)
    #expect(after.files["/attrs"]?.text.hasPrefix("regular mode 100600 size 0") == true)
    #expect(after.files["/dir/cut"] == (try reference.files["/dir/cut"]))
    #expect(notes(report).count { $0.kind == "inodeRecreated" } == 4)
  }

  /// The puts of an incomplete attribute are taken back, and none that came after them.
  @Test func aRenumberedLinkWithHalfAnAttribute() throws {
    var image = Sample.image()
    image.inode(5, .symlink, links: 1, size: 7)
    image.target(7, of: 5)
    image.xattr("user.half", of: 5, bytes: 3000)
    image.records[image.xattrKey("user.half", of: 5, piece: 2)] = nil
    image.name("five", in: 1, 5, .symlink)
    image.edit(1) { $0.size += 1 }
    let device = image.build()
    let report = repaired(device, "renumbered")
    #expect(notes(report).contains(.attributeDropped(inode: 100, name: "user.half")))
    #expect(try VolumeDump(device).files["/five"]?.inode == 100)
  }

  @Test func impossibleInodeNumber() throws {
    var image = Sample.image()
    image.inode(Key.maximumObject, .regular, links: 1)
    image.name("far", in: 1, Key.maximumObject, .regular)
    image.edit(1) { $0.size += 1 }
    let device = RepairTests.pattern(image.build())
    let report = repaired(device, "number")
    #expect(notes(report).contains(.inodeDropped(inode: Key.maximumObject)))
    #expect(try VolumeDump(device) == reference)
  }

  @Test func aMisfiledSealMoves() throws {
    var image = Sample.image()
    let key = image.sealKey("backup", of: Sample.file)
    let wrong = Key(space: .persistentSeal, object: Sample.file, low: key.low ^ 1)
    image.records[wrong] = image.records.removeValue(forKey: key)
    let device = image.build()
    #expect(notes(repaired(device, "seal")).contains(.sealMoved(inode: Sample.file)))
    #expect(try Self.records(device)[key] == image.records[wrong])
  }

  @Test func theMarkOfAnErrorIsTakenOff() throws {
    let device = Sample.image().build()
    // In one copy only: the other was past writing when the volume failed.
    device.edit(256) { $0.put(UInt32(2), 132) }
    var checker = Checker(device: device)
    #expect(checker.run().volume?.errorsSeen == true)
    #expect(checker.run().isSound)
    let report = RepairTests.repair(device, .harmless)
    #expect(report.outcome == .repaired && notes(report) == [.errorsForgotten, .superblocksWritten])
    #expect(checker.run().volume?.errorsSeen == false)
    #expect(RepairTests.repair(device, .harmless).outcome == .notNeeded)
  }

  /// Headers with the highest sequences there are cannot be outrun: they are wiped.
  @Test func sequencesThatCannotRise() throws {
    let device = Sample.image().build()
    for (position, sequence) in [(100, 1 << 61), (200, UInt64.max), (300, 77)] as [(UInt64, UInt64)] {
      ImageBuilder.write(record: [], sequence: sequence, at: position, of: 1024, device)
    }
    let report = repaired(device, "sequences")
    #expect(report.before.issues.map(\.kind) == ["journalRecordBehindEnd"])
    try RepairTests.expectUsable(device, "sequences")
  }

  @Test func unknownFeaturesAreLeftAlone() throws {
    let device = Sample.image().build()
    device.flip(device.leaves[0], byte: 5)
    device.editSuperblocks { $0.put(UInt64(4), 64) }
    let before = device.copy()
    #expect(RepairTests.repair(device).outcome == .refused(.unknownFeatures) && device.isSame(as: before))
  }

  /// All records of a volume.
  private static func records(_ device: MemoryDevice) throws -> [Key: [UInt8]] {
    let reader = ImageReader(device: device, log: IssueLog())
    let superblock = try #require(SuperblockCheck(reader).superblock)
    let tree = OldTree(reader, superblock) { _, _ in }
    var records: [Key: [UInt8]] = [:]
    try OldRecords(device, superblock, tree, JournalCheck(reader, superblock).overlay).visit {
      records[$0] = [UInt8]($1)
    }
    return records
  }

  private static func content(of inode: InodeNumber, _ device: MemoryDevice) throws -> [UInt8] {
    var options = StoreOptions()
    options.backgroundThread = false
    options.readOnly = true
    let store = try Store(mounting: device.copy(), options: options)
    var bytes = [UInt8](repeating: 0xee, count: Int(try store.attributes(of: inode).record.size))
    _ = try bytes.withUnsafeMutableBytes { try store.read(inode, into: $0, at: 0) }
    return bytes
  }
}
