/// A mounted volume as it is now: every file asked for its map by ioctl, the seals by theirs, and the regions
/// that are no file's read from the image beneath, where we may.

import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand
import HoldfastFormat

enum MountSurvey {
  private static let maximumFiles = 100_000
  private static let maximumExtents = 1_000_000

  static func survey(_ path: String) throws(CommandError) -> VolumeSurvey {
    let mountPoint = try Path.resolved(path)
    guard let mount = try MountTable.current().holdfast(at: mountPoint) else {
      throw CommandError(path, "not the mount point of a Holdfast volume")
    }
    var status = statvfs()
    guard statvfs(mountPoint, &status) == 0 else { throw CommandError(path, errno: errno) }
    var survey = VolumeSurvey(title: "\(mount.source) on \(mountPoint)", totalBlocks: UInt64(status.f_blocks))
    do throws(FSError) {
      let image = try UnlockedImage(mount.source)
      survey.totalBlocks = try VolumeHead(reading: image).superblock.totalBlocks
      survey.regions = try ImageSurvey.regions(image)
    } catch {
      survey.notes.append("Journal and metadata are not shown: \(mount.source): \(Info.text(error))")
    }
    try walk(mountPoint, try requests(path), &survey)
    return survey
  }

  /// Of the whole mount, by inode.
  private static func requests(_ path: String) throws(CommandError) -> [UInt64: HeldRanges] {
    let json = try asCommand { () throws(ClientError) in try OpenFile(path).seals() }
    return Dictionary(grouping: try SealReport.decode(json)) { $0.inode ?? 0 }.mapValues { HeldRanges($0) }
  }

  /// Every regular file below `root` once, other mounts left out.
  private static func walk(
    _ root: String, _ requests: [UInt64: HeldRanges], _ survey: inout VolumeSurvey
  ) throws(CommandError) {
    var status = stat()
    guard lstat(root, &status) == 0 else { throw CommandError(root, errno: errno) }
    let device = status.st_dev
    var directories = [root]
    var extentCount = 0
    var unread = 0
    var seen: Set<UInt64> = []
    while let directory = directories.popLast() {
      for name in Processes.names(in: directory).sorted() {
        let path = directory + "/" + name
        guard lstat(path, &status) == 0, status.st_dev == device else { continue }
        if status.st_mode & S_IFMT == S_IFDIR { directories.append(path) }
        guard status.st_mode & S_IFMT == S_IFREG, seen.insert(UInt64(status.st_ino)).inserted else { continue }
        guard survey.files.count < maximumFiles, extentCount < maximumExtents else {
          survey.notes.append("Cut after \(survey.files.count) files and \(extentCount) extents.")
          return
        }
        guard let map = try? map(of: path, limit: maximumExtents - extentCount) else {
          unread += 1
          continue
        }
        extentCount += map.extents.count
        survey.files.append(
          .init(
            name: String(path.dropFirst(root.count)), blocks: map.extents.map(\.imageBlocks),
            held: requests[UInt64(status.st_ino)]?.pieces(of: map.extents) ?? []))
      }
    }
    if unread > 0 { survey.notes.append("\(unread) files could not be opened.") }
  }

  private static func map(of path: String, limit: Int) throws(ClientError) -> FileMap {
    try OpenFile(path).map(limit: limit, attempts: 1)
  }
}
