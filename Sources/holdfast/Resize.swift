/// `holdfast grow` and `holdfast shrink`: of a mount by its daemon, of an image that is not mounted by this process.

import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand

struct Grow: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a volume larger, mounted or not.",
    discussion: """
      An image file is made longer, all its new blocks reserved; a block device has to be long enough already. Seals \
      are not in the way of it. Without SIZE: to all that the file or device has.

      Examples:
        holdfast grow /mnt 20G
        holdfast grow disk.img 20G
        losetup -c /dev/loop0 && holdfast grow /mnt
      """)

  @Argument(help: "Mount point, image file or block device.", completion: .file())
  var volume: String

  @Argument(help: ArgumentHelp("The volume's new size; K M G T for powers of 1024.", valueName: "size"))
  var size: ByteSize?

  func run() throws { try ResizeTarget(volume).perform(.grow(to: size?.bytes)) }
}

struct Shrink: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a volume smaller, mounted or not.",
    discussion: """
      What lies behind the new end is moved, files in use too. Holders of breakable requests there are asked to let go. \
      Hard ones, and blocks that somebody may store into directly, stay: they are named, nothing is changed, and the \
      smallest size possible is told. An image file is cut; the rest of a block device is left unused. A signal ends \
      it: then the size is what it was.

      Examples:
        holdfast shrink /mnt 8G
        holdfast shrink disk.img 8G
      """)

  @Argument(help: "Mount point, image file or block device.", completion: .file())
  var volume: String

  @Argument(help: ArgumentHelp("The volume's new size; K M G T for powers of 1024.", valueName: "size"))
  var size: ByteSize

  func run() throws { try ResizeTarget(volume).perform(.shrink(to: size.bytes)) }
}

/// Where a volume to be resized is.
enum ResizeTarget {
  case mount(String)
  case image(String)

  init(_ path: String) throws {
    var status = stat()
    guard stat(path, &status) == 0 else { throw CommandError(path, errno: errno) }
    if status.st_mode & S_IFMT == S_IFDIR {
      self = .mount(path)
    } else if let mount = try MountTable.current().holdfast(ofImage: Path.resolved(path)).last {
      self = .mount(mount.mountPoint)
    } else {
      self = .image(path)
    }
  }

  private var path: String {
    switch self {
    case .mount(let path), .image(let path): path
    }
  }

  func perform(_ request: VolumeResize.Request) throws {
    switch self {
    case .mount(let mountPoint):
      let result = try asCommand { () throws(ClientError) in
        let root = try OpenFile(mountPoint)
        return try ResizeProgress.showing({ try? OpenFile(mountPoint).resizeProgress() }) { () throws(ClientError) in
          try root.resizeMount(request)
        }
      }
      try tell(result) { MountedPaths.find($0, below: mountPoint) }
    case .image(let image):
      let volume = try OfflineVolume(image)
      let result = try volume.resize(request)
      try tell(result) { volume.paths(of: $0) }
    }
  }

  /// - Throws: exit status 1 when the volume has not the size that was asked for.
  private func tell(_ result: VolumeResize, paths: (Set<UInt64>) -> [UInt64: String]) throws {
    switch result.outcome {
    case .done:
      let sizes =
        result.size == result.previousSize
        ? "\(ByteSize(bytes: result.size)), as it was"
        : "\(ByteSize(bytes: result.size)) (was \(ByteSize(bytes: result.previousSize)))"
      let moved =
        result.movedBlocks > 0 ? ", \(ByteSize(bytes: result.movedBlocks * UInt64(Block.size))) moved" : ""
      print("\(path.printable): \(sizes)\(moved)")
      if result.cutErrno != 0 {
        complain(
          "\(path): the image could not be cut and is longer than that: \(String(cString: strerror(result.cutErrno)))")
      }
      return
    case .obstructed:
      let names = paths(Set(result.obstacles.map(\.inode)))
      for obstacle in result.obstacles { complain(obstacle.line(path: names[obstacle.inode])) }
      let more = result.obstacleCount - result.obstacles.count
      if more > 0 { complain("… and \(more) more") }
      complain("\(path): not shrunk: these cannot be moved")
    case .noRoom: complain("\(path): not shrunk: what is used does not fit")
    case .tooSmall: complain("\(path): not shrunk: no volume with this journal is that small")
    }
    complain("\(path): the smallest size possible now is \(VolumeResize.exact(result.smallestSize))")
    throw ExitCode.failure
  }
}
