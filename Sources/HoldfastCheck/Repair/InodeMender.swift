/// Inode records a repair writes: mended where a field is impossible, made up where the record is lost.

import HoldfastBase
import HoldfastFormat

enum InodeMender {
  /// Of inodes whose own times are lost: the epoch, so that no one takes them for true.
  private static let unknownTime = Timestamp(seconds: 0, nanoseconds: 0)
  private static let nanoseconds: UInt32 = 1_000_000_000
  private static let modeBits: UInt32 = 0xffff

  /// The first field with a value no operation writes.
  static func field(of record: InodeRecord) -> CheckIssue.InodeField? {
    if record.mode & ~modeBits != 0 { return .mode }
    let times = [record.accessed, record.modified, record.changed, record.born]
    return times.contains { $0.nanoseconds >= nanoseconds } ? .time : nil
  }

  static func mend(_ record: inout InodeRecord) {
    record.mode &= modeBits
    for time in [\InodeRecord.accessed, \.modified, \.changed, \.born]
    where record[keyPath: time].nanoseconds >= nanoseconds {
      record[keyPath: time].nanoseconds = 0
    }
  }

  /// Root's, and for nobody else: who might read it is lost.
  static func fresh(_ type: FileType, isRoot: Bool = false) -> InodeRecord {
    let permissions: UInt32 =
      switch type {
      case .directory: isRoot ? 0o755 : 0o700
      case .symlink: 0o777
      default: 0o600
      }
    return InodeRecord(
      mode: UInt32(type.rawValue) << 12 | permissions, uid: 0, gid: 0, links: 0, generation: 1, now: unknownTime)
  }
}
