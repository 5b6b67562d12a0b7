import HoldfastBase
import HoldfastFormat

@testable import HoldfastCheck

extension Damage {
  static let directories: [Damage] = [
    .records("directory of another size") { image in
      image.edit(Sample.directory) { $0.size = 4 }
      return [.directorySize(inode: Sample.directory, recorded: 4, found: 3)]
    },
    badName("."), badName(".."), badName("a/b"), badName("a\0"),
    .records("entry under a wrong hash") { image in
      let key = image.entryKey("one", in: 1)
      let wrong = Key.file(1, .dirent, key.offset ^ 1 << 30)
      image.records[wrong] = image.records[key]
      image.records[key] = nil
      return [.entryHash(directory: 1, offset: wrong.offset)]
    },
    .records("name twice") { image in
      image.name("one", in: 1, Sample.twiceNamed, .regular, collision: 7)
      image.edit(1) { $0.size += 1 }
      image.edit(Sample.twiceNamed) { $0.links += 1 }
      return [.entryDuplicate(directory: 1, offset: image.entryKey("one", in: 1, collision: 7).offset)]
    },
    .records("entry of nothing") { image in
      image.name("gone", in: 1, 90, .regular)
      image.edit(1) { $0.size += 1 }
      return [.entryDangling(directory: 1, offset: image.entryKey("gone", in: 1).offset, inode: 90)]
    },
    .records("entry of no inode there can be") { image in
      image.name("gone", in: 1, .max, .regular)
      image.edit(1) { $0.size += 1 }
      return [.entryDangling(directory: 1, offset: image.entryKey("gone", in: 1).offset, inode: .max)]
    },
    .records("entry of another type") { image in
      image.name("fifo", in: 1, Sample.fifo, .socket)
      return [.entryType(directory: 1, offset: image.entryKey("fifo", in: 1).offset, inode: Sample.fifo)]
    },
    .records("directory with two names") { image in
      image.name("again", in: Sample.directory, Sample.subdirectory, .directory)
      image.edit(Sample.directory) { ($0.size, $0.links) = (4, 4) }
      return [.directoryNamedTwice(inode: Sample.subdirectory, names: 2)]
    },
    .records("root with a name") { image in
      image.name("root", in: Sample.directory, 1, .directory)
      image.edit(Sample.directory) { ($0.size, $0.links) = (4, 4) }
      return [.directoryNamedTwice(inode: 1, names: 1)]
    },
    .records("directory with another parent") { image in
      image.edit(Sample.subdirectory) { $0.parent = 1 }
      return [.directoryParent(inode: Sample.subdirectory, recorded: 1, found: Sample.directory)]
    },
    .records("root with a parent") { image in
      image.edit(1) { $0.parent = Sample.directory }
      return [.directoryParent(inode: 1, recorded: Sample.directory, found: 1)]
    },
    .records("directories that hold each other") { image in
      image.inode(60, .directory, links: 3, size: 1, parent: 61)
      image.inode(61, .directory, links: 3, size: 1, parent: 60)
      image.name("a", in: 60, 61, .directory)
      image.name("b", in: 61, 60, .directory)
      return [.directoryCycle(inode: 60)]
    },
    .records("directory that holds itself") { image in
      image.inode(60, .directory, links: 3, size: 1, parent: 60)
      image.name("a", in: 60, 60, .directory)
      return [.directoryCycle(inode: 60)]
    },
  ]

  private static func badName(_ name: String) -> Damage {
    .records("name \(name.debugDescription)") { image in
      image.name(name, in: 1, Sample.twiceNamed, .regular)
      image.edit(1) { $0.size += 1 }
      image.edit(Sample.twiceNamed) { $0.links += 1 }
      return [.entryName(directory: 1, offset: image.entryKey(name, in: 1).offset)]
    }
  }

  static let intents: [Damage] = [
    .records("orphan record of nothing") { image in
      image.orphan(90, .unlinked)
      return [.orphanDangling(inode: 90)]
    },
    .records("orphan with a name") { image in
      image.orphan(Sample.file, .unlinked)
      return [.orphanNamed(inode: Sample.file, names: 1)]
    },
    .records("directory being truncated") { image in
      image.orphan(Sample.directory, .truncating)
      return [.orphanMisplaced(inode: Sample.directory)]
    },
    .records("seal of nothing") { image in
      image.seal("", of: 90)
      return [.sealDangling(inode: 90)]
    },
  ]

  static let space: [Damage] = [
    .records("two files on one block", settled: false) { image in
      image.put(ExtentRecord(physical: 3000, count: 4, flags: []), of: Sample.empty, at: 0)
      image.edit(Sample.empty) { ($0.size, $0.blocks) = (4 << 12, 4) }
      image.put(ExtentRecord(physical: 3002, count: 1, flags: .shared), of: Sample.withXattrs, at: 0)
      image.edit(Sample.withXattrs) { ($0.size, $0.blocks) = (1, 1) }
      return [
        .spaceOverlap(start: 3002, count: 1, first: .file(Sample.empty), second: .file(Sample.withXattrs))
      ]
    },
    .records("file over free space") { image in
      image.put(ExtentRecord(physical: 4000, count: 4, flags: []), of: Sample.empty, at: 0)
      image.edit(Sample.empty) { ($0.size, $0.blocks) = (4 << 12, 4) }
      return [.spaceOverlap(start: 4000, count: 4, first: .free, second: .file(Sample.empty))]
    },
    .records("file over a metadata chunk") { image in
      image.put(ExtentRecord(physical: 2000, count: 4, flags: []), of: Sample.empty, at: 0)
      image.edit(Sample.empty) { ($0.size, $0.blocks) = (4 << 12, 4) }
      return [.spaceOverlap(start: 2000, count: 4, first: .metadataChunk, second: .file(Sample.empty))]
    },
    .records("free twice") { image in
      image.free(4090, 2)
      return [.spaceOverlap(start: 4090, count: 2, first: .free, second: .free)]
    },
    .records("blocks of nobody") { image in
      let last = image.records.keys.filter { $0.space == .free }.max()!.object
      image.unfree(last, 4096 - last)
      image.free(last, 4090 - last)
      return [.spaceLeaked(start: 4090, count: 6)]
    },
    .records("hole between extents of nobody") { image in
      let first = image.records.keys.filter { $0.space == .free }.min()!.object
      image.unfree(first, 3)
      return [.spaceLeaked(start: first, count: 3)]
    },
    .records("free extent outside the volume") { image in
      image.free(5000, 1)
      return [.spaceOutOfBounds(start: 5000, count: 1, owner: .free)]
    },
    .records("free extent that reaches beyond every end") { image in
      image.records[.free(3000)] = ImageBuilder.length(.max)
      return [
        .spaceOutOfBounds(start: 3000, count: .max, owner: .free), .freeNotIndexed(start: 3000, count: .max),
      ]
    },
    .records("quarantine outside the volume") { image in
      image.records[.quarantine(4096)] = image.records.first { $0.key.space == .quarantine }!.value
      return [.spaceOutOfBounds(start: 4096, count: 8, owner: .quarantine)]
    },
    .records("chunk in the head", settled: true) { image in
      image.records[.chunk(3)] = ImageBuilder.length(9)
      return [
        .spaceOutOfBounds(start: 3, count: 9, owner: .metadataChunk), .chunkUnmapped(start: 3, count: 9),
      ]
    },
    .records("free extent not indexed") { image in
      let first = image.records.keys.filter { $0.space == .free }.min()!.object
      image.records[.freeByLength(BlockRange(start: first, count: 3))] = nil
      return [.freeNotIndexed(start: first, count: 3)]
    },
    .records("index of no free extent") { image in
      image.records[.freeByLength(BlockRange(start: 2306, count: 4))] = []
      return [.freeIndexStray(start: 2306, count: 4)]
    },
    .records("index of another length") { image in
      let first = image.records.keys.filter { $0.space == .free }.min()!.object
      image.records[.freeByLength(BlockRange(start: first, count: 3))] = nil
      image.records[.freeByLength(BlockRange(start: first, count: 2))] = []
      return [.freeNotIndexed(start: first, count: 3), .freeIndexStray(start: first, count: 2)]
    },
    .records("free extents that touch") { image in
      let last = image.records.keys.filter { $0.space == .free }.max()!.object
      image.unfree(last, 4096 - last)
      image.free(last, 4000 - last)
      image.free(4000, 96)
      return [.unmergedFree(start: 4000)]
    },
    total(184) { .freeTotal(recorded: $0 + 1, found: $0) },
    total(192) { .quarantineTotal(recorded: $0 + 1, found: $0) },
    total(200) { .inodeTotal(recorded: $0 + 1, found: $0) },
  ]

  /// A total at `offset` of the superblocks, one too high.
  private static func total(_ offset: Int, _ issue: @escaping @Sendable (UInt64) -> CheckIssue) -> Damage {
    .blocks("total at \(offset) of the superblock") { device in
      let right = UnsafeRawPointer(device.block(0)).u64(offset)
      device.editSuperblocks { $0.put(right + 1, offset) }
      return [issue(right)]
    }
  }
}
