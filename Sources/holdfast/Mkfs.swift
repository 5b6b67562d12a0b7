import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastCommand
import HoldfastDevice
import HoldfastFormat
import HoldfastStore

struct Mkfs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a volume in a file or on a block device.",
    discussion: """
      A new file is created with all its blocks reserved; an existing file or device keeps its size unless --size \
      is given. Whatever another filesystem, partition table or disk image is recognised as is left alone without \
      --force; what is mounted or in use is left alone in any case.

      Examples:
        holdfast mkfs disk.img --size 10G
        holdfast mkfs /dev/sdx1 --label archive
      """)

  @Argument(help: "Image file, existing or not, or block device.", completion: .file())
  var image: String

  @Option(help: ArgumentHelp("Size of the volume; K M G T for powers of 1024.", valueName: "size"))
  var size: ByteSize?

  @Option(help: "Label: up to 64 bytes of UTF-8.")
  var label = ""

  @Option(help: ArgumentHelp("Size of the journal (default: a 64th of the volume, 4 to 32 MiB).", valueName: "size"))
  var journalSize: ByteSize?

  @Flag(help: "Destroy what is there, even a filesystem.")
  var force = false

  func validate() throws {
    guard label.utf8.count <= Superblock.labelBytes, !label.utf8.contains(0) else {
      throw ValidationError("--label takes up to \(Superblock.labelBytes) bytes of UTF-8")
    }
  }

  func run() throws {
    let target = try VolumeTarget(image, size: size?.bytes)
    let journalBlocks = try journalBlocks(totalBlocks: target.byteCount / UInt64(Block.size))
    if !force { try refuseToDestroy(target) }
    let device = try target.claim(notice: complain)
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let options = FormatOptions(
      label: label, journalBlocks: journalBlocks, id: .random(), hashSeed: .random(in: .min ... .max),
      now: Timestamp(seconds: Int64(now.tv_sec), nanoseconds: UInt32(now.tv_nsec)), uid: geteuid(), gid: getegid())
    let head: VolumeHead
    do throws(FSError) {
      try Store.format(device, options: options)
      head = try VolumeHead(reading: device)
    } catch {
      throw CommandError(image, "\(error)")
    }
    target.keep()
    let superblock = head.superblock
    print("\(image.printable): a volume of \(ByteSize(bytes: superblock.totalBlocks * UInt64(Block.size)))")
    print("uuid     \(superblock.id)")
    print("label    \(superblock.label.isEmpty ? "(none)" : superblock.label.printable)")
    print("journal  \(ByteSize(bytes: superblock.journalBlocks * UInt64(Block.size)))")
  }

  private func journalBlocks(totalBlocks: UInt64) throws(CommandError) -> UInt64? {
    guard let journalSize else { return nil }
    let blocks = journalSize.bytes / UInt64(Block.size)
    guard (Geometry.minimumJournalBlocks...Geometry.maximumJournalBlocks).contains(blocks), blocks <= totalBlocks / 2
    else {
      let minimum = ByteSize(bytes: Geometry.minimumJournalBlocks * UInt64(Block.size))
      let maximum = ByteSize(bytes: Geometry.maximumJournalBlocks * UInt64(Block.size))
      throw CommandError(
        "--journal-size", "takes \(minimum) to \(maximum), at most half of the volume", exitStatus: EX_USAGE)
    }
    return blocks
  }

  private func refuseToDestroy(_ target: VolumeTarget) throws(CommandError) {
    if let found = target.contents.first {
      throw CommandError(image, "holds \(found): --force destroys it")
    }
    if !target.isNew, let found = ForeignContents.byBlkid(image) {
      throw CommandError(image, "holds \(found) (says blkid): --force destroys it")
    }
  }
}
