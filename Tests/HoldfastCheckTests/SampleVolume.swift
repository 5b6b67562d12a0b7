import HoldfastBase
import HoldfastFormat

/// A volume with one of everything, settled: root(1) / dir(16) / sub(24) and what the constants name.
enum Sample {
  static let directory: InodeNumber = 16
  static let file: InodeNumber = 17
  static let link: InodeNumber = 18
  static let fifo: InodeNumber = 19
  static let twiceNamed: InodeNumber = 20
  static let longLink: InodeNumber = 21
  static let withXattrs: InodeNumber = 22
  static let device: InodeNumber = 23
  static let subdirectory: InodeNumber = 24
  static let preallocated: InodeNumber = 25
  static let empty: InodeNumber = 26
  static let orphan: InodeNumber = 27
  static let truncating: InodeNumber = 28

  static func unsettled() -> ImageBuilder {
    var image = ImageBuilder()
    image.inode(1, .directory, links: 3, size: 9, parent: 1)
    image.inode(directory, .directory, links: 3, size: 3, parent: 1)
    image.inode(subdirectory, .directory, links: 2, size: 1, parent: directory)
    image.name("dir", in: 1, directory, .directory)
    image.name("file", in: 1, file, .regular)
    image.name("link", in: 1, link, .symlink)
    image.name("fifo", in: 1, fifo, .fifo)
    image.name("one", in: 1, twiceNamed, .regular)
    image.name("two", in: 1, twiceNamed, .regular, collision: 3)
    image.name("long", in: 1, longLink, .symlink)
    image.name("attrs", in: 1, withXattrs, .regular)
    image.name("dev", in: 1, device, .characterDevice)
    image.name("sub", in: directory, subdirectory, .directory)
    image.name("pre", in: directory, preallocated, .regular)
    image.name("cut", in: directory, truncating, .regular)
    image.name(String(repeating: "n", count: 255), in: subdirectory, empty, .regular)

    image.inode(file, .regular, links: 1, size: 40_000, blocks: 10)
    image.extent(file, at: 0, 4, gap: 3)
    image.extent(file, at: 4, 6)
    image.inode(link, .symlink, links: 1, size: 11)
    image.target(11, of: link)
    image.inode(fifo, .fifo, links: 1)
    image.inode(twiceNamed, .regular, links: 2, size: 4097, blocks: 1)
    image.extent(twiceNamed, at: 1, 1, gap: 1)
    image.inode(longLink, .symlink, links: 1, size: 2048 + 952)
    image.target(3000, of: longLink)
    image.inode(withXattrs, .regular, links: 1)
    image.xattr("user.short", of: withXattrs, bytes: 5)
    image.xattr("user.long", of: withXattrs, bytes: 3000, collision: 2)
    image.xattr("user.empty", of: withXattrs, bytes: 0)
    image.xattr("user.page", of: withXattrs, bytes: 1024)
    image.inode(device, .characterDevice, links: 1)
    image.inode(preallocated, .regular, links: 1, size: 5000, blocks: 18)
    image.extent(preallocated, at: 0, 2)
    image.extent(preallocated, at: 2, 16, flags: .unwritten)
    image.inode(empty, .regular, links: 1)
    image.inode(orphan, .regular, links: 0, size: 100, blocks: 3)
    image.extent(orphan, at: 0, 3)
    image.orphan(orphan, .unlinked)
    image.inode(truncating, .regular, links: 1, size: 4096, blocks: 4)
    image.extent(truncating, at: 0, 1)
    image.extent(truncating, at: 10, 3)
    image.orphan(truncating, .truncating, from: 1)
    image.quarantine(8, of: file)
    image.seal("backup", of: file)
    return image
  }

  static func image() -> ImageBuilder {
    var image = unsettled()
    image.settle()
    return image
  }

  /// No more than a root directory, unmounted.
  static func bare() -> ImageBuilder {
    var image = ImageBuilder()
    image.state = .clean
    image.inode(1, .directory, links: 2, parent: 1)
    image.settle()
    return image
  }
}
