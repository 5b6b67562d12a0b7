import HoldfastBase
import HoldfastFormat

@testable import HoldfastCheck

extension Damage {
  static let inodes: [Damage] = [
    .device("no root") {
      var image = Sample.bare()
      image.records[.inode(1)] = nil
      return (image.build(), [.rootMissing])
    },
    .device("root a file") {
      var image = Sample.bare()
      image.edit(1) { $0.mode = 0o100644 }
      return (image.build(), [.rootMissing, .inodeUnreferenced(inode: 1)])
    },
    .records("reserved inode number") { image in
      image.inode(5, .regular, links: 1)
      image.name("five", in: 1, 5, .regular)
      image.edit(1) { $0.size += 1 }
      return [.reservedInode(inode: 5)]
    },
    .records("inode not below the next number") { image in
      image.nextInode = Sample.truncating
      return [.inodeBeyondNext(inode: Sample.truncating, next: Sample.truncating)]
    },
    .records("records without an inode") { image in
      image.xattr("user.left", of: 50, bytes: 1)
      return [.inodeMissing(inode: 50)]
    },
    .records("records without an inode that is named") { image in
      image.records[.inode(Sample.withXattrs)] = nil
      return [.inodeMissing(inode: Sample.withXattrs)]
    },
    .records("impossible mode") { image in
      image.edit(Sample.fifo) { $0.mode |= 1 << 24 }
      return [.inodeField(inode: Sample.fifo, field: .mode)]
    },
    .records("impossible time") { image in
      image.edit(Sample.fifo) { $0.changed.nanoseconds = 1_000_000_000 }
      return [.inodeField(inode: Sample.fifo, field: .time)]
    },
    .records("too many links") { image in
      image.edit(Sample.twiceNamed) { $0.links = 3 }
      return [.linkCount(inode: Sample.twiceNamed, recorded: 3, found: 2)]
    },
    .records("directory with wrong links") { image in
      image.edit(1) { $0.links = 2 }
      return [.linkCount(inode: 1, recorded: 2, found: 3)]
    },
    .records("orphan with links") { image in
      image.edit(Sample.orphan) { $0.links = 1 }
      return [.linkCount(inode: Sample.orphan, recorded: 1, found: 0)]
    },
    .records("wrong blocks") { image in
      image.edit(Sample.file) { $0.blocks = 11 }
      return [.blockCount(inode: Sample.file, recorded: 11, found: 10)]
    },
    .records("blocks of a fifo") { image in
      image.edit(Sample.fifo) { $0.blocks = 1 }
      return [.blockCount(inode: Sample.fifo, recorded: 1, found: 0)]
    },
    .records("extents of a fifo", settled: false) { image in
      image.extent(Sample.fifo, at: 0, 2)
      image.extent(Sample.fifo, at: 2, 2)
      image.edit(Sample.fifo) { $0.blocks = 4 }
      return [.misplacedRecord(inode: Sample.fifo, type: .extent)]
    },
    .records("target of a regular file") { image in
      image.target(3, of: Sample.empty)
      return [.misplacedRecord(inode: Sample.empty, type: .symlink)]
    },
    .records("entry of a regular file") { image in
      image.name("three", in: Sample.empty, Sample.twiceNamed, .regular)
      image.edit(Sample.twiceNamed) { $0.links = 3 }
      return [.misplacedRecord(inode: Sample.empty, type: .dirent)]
    },
    .records("file nobody names") { image in
      image.inode(60, .regular, links: 1)
      return [.inodeUnreferenced(inode: 60)]
    },
    .records("directory nobody names") { image in
      image.inode(60, .directory, links: 2, parent: 1)
      return [.inodeUnreferenced(inode: 60)]
    },
    .records("unlinked file without an orphan record") { image in
      image.records[.orphan(Sample.orphan)] = nil
      image.edit(Sample.orphan) { $0.size = 3 << 12 }
      return [.inodeUnreferenced(inode: Sample.orphan)]
    },
  ]

  static let maps: [Damage] = [
    .records("file block mapped twice", settled: false) { image in
      image.extent(Sample.file, at: 3, 1)
      image.edit(Sample.file) { $0.blocks += 1 }
      return [.extentsOverlap(inode: Sample.file, fileBlock: 3)]
    },
    .records("extent beyond the largest file", settled: false) { image in
      image.extent(Sample.file, at: 1 << 51 - 1, 2, flags: .unwritten)
      image.edit(Sample.file) { $0.blocks += 2 }
      return [.extentTooFar(inode: Sample.file, fileBlock: 1 << 51 - 1)]
    },
    outOfBounds(4095, 2), outOfBounds(4096, 1), outOfBounds(1280, 1), outOfBounds(.max, 0xffff_ffff),
    .records("written blocks behind the end", settled: false) { image in
      image.extent(Sample.file, at: 12, 1)
      image.edit(Sample.file) { $0.blocks += 1 }
      return [.extentBeyondEnd(inode: Sample.file, fileBlock: 12)]
    },
    .records("written extent across the end", settled: false) { image in
      image.edit(Sample.file) { $0.size = 9 * 4096 }
      return [.extentBeyondEnd(inode: Sample.file, fileBlock: 9)]
    },
    .records("written blocks in front of what a truncation frees") { image in
      image.orphan(Sample.truncating, .truncating, from: 11)
      return [.extentBeyondEnd(inode: Sample.truncating, fileBlock: 10)]
    },
  ]

  private static func outOfBounds(_ physical: BlockNumber, _ count: UInt32) -> Damage {
    .records("extent at \(physical), \(count) blocks") { image in
      image.put(ExtentRecord(physical: physical, count: count, flags: .unwritten), of: Sample.empty, at: 0)
      image.edit(Sample.empty) { $0.blocks = UInt64(count) }
      return [
        .extentOutOfBounds(inode: Sample.empty, fileBlock: 0, physical: physical, count: UInt64(count))
      ]
    }
  }

  static let attributes: [Damage] = [
    .records("attribute with a NUL in its name") { image in
      image.xattr("user.\0", of: Sample.fifo, bytes: 1)
      return [
        .xattrName(inode: Sample.fifo, offset: image.xattrKey("user.\0", of: Sample.fifo).offset)
      ]
    },
    .records("attribute under a wrong hash") { image in
      let key = Key.file(Sample.fifo, .xattr, 5 << 16)
      image.records[key] = ImageBuilder.firstPiece("user.a", valueBytes: 0, [])
      return [.xattrHash(inode: Sample.fifo, offset: 5 << 16)]
    },
    .records("attribute twice") { image in
      image.xattr("user.short", of: Sample.withXattrs, bytes: 3, collision: 9)
      let key = image.xattrKey("user.short", of: Sample.withXattrs, collision: 9)
      return [.xattrDuplicate(inode: Sample.withXattrs, offset: key.offset)]
    },
    .records("attribute without its last piece") { image in
      image.records[image.xattrKey("user.long", of: Sample.withXattrs, collision: 2, piece: 2)] = nil
      let key = image.xattrKey("user.long", of: Sample.withXattrs, collision: 2)
      return [.xattrIncomplete(inode: Sample.withXattrs, offset: key.offset)]
    },
    .records("attribute without its second piece") { image in
      image.records[image.xattrKey("user.long", of: Sample.withXattrs, collision: 2, piece: 1)] = nil
      let key = image.xattrKey("user.long", of: Sample.withXattrs, collision: 2)
      return [.xattrIncomplete(inode: Sample.withXattrs, offset: key.offset)]
    },
    .records("attribute with a short piece") { image in
      image.records[image.xattrKey("user.long", of: Sample.withXattrs, collision: 2, piece: 1)]?.removeLast()
      let key = image.xattrKey("user.long", of: Sample.withXattrs, collision: 2)
      return [.xattrIncomplete(inode: Sample.withXattrs, offset: key.offset)]
    },
    .records("piece without an attribute") { image in
      let key = image.xattrKey("user.none", of: Sample.fifo, piece: 1)
      image.records[key] = [1]
      return [.xattrStray(inode: Sample.fifo, offset: key.offset)]
    },
    .records("piece behind an attribute's end") { image in
      let key = image.xattrKey("user.page", of: Sample.withXattrs, piece: 1)
      image.records[key] = [1]
      return [.xattrStray(inode: Sample.withXattrs, offset: key.offset)]
    },
    .records("symbolic link of another length") { image in
      image.edit(Sample.link) { $0.size = 12 }
      return [.symlinkLength(inode: Sample.link, recorded: 12, found: 11)]
    },
    .records("symbolic link without a middle") { image in
      image.records[.file(Sample.longLink, .symlink, 1)] = nil
      return [.symlinkIncomplete(inode: Sample.longLink, piece: 1)]
    },
    .records("symbolic link with a short middle") { image in
      image.records[.file(Sample.longLink, .symlink, 1)]?.removeLast()
      return [.symlinkIncomplete(inode: Sample.longLink, piece: 1)]
    },
    .records("symbolic link to nothing") { image in
      image.records[.file(Sample.link, .symlink, 0)] = nil
      image.edit(Sample.link) { $0.size = 0 }
      return [.symlinkTarget(inode: Sample.link)]
    },
    .records("symbolic link to a NUL") { image in
      image.records[.file(Sample.link, .symlink, 0)]?[3] = 0
      return [.symlinkTarget(inode: Sample.link)]
    },
    .records("symbolic link longer than a path") { image in
      image.target(4096, of: Sample.link)
      image.edit(Sample.link) { $0.size = 4096 }
      return [.symlinkTarget(inode: Sample.link)]
    },
  ]
}
