/// Our attributes in the kernel's terms, and how long it may keep them.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastStore

enum CacheTime {
  /// Attributes and names change only through this kernel, which sees each change it asked for; the few that
  /// happen behind its back (flags by ioctl, blocks filled by a seal or trimmed at last close) are announced by
  /// the `Notifier`. So the kernel may keep what it knows, some thirty years of it: a swap file must be found by its path
  /// when the daemon is no more (SwapGuard). In seconds.
  static let forever = 1e9
}

extension stat {
  init(_ attributes: Attributes) {
    self.init()
    let record = attributes.record
    st_ino = UInt(attributes.inode)
    st_mode = record.mode
    st_nlink = UInt(record.links)
    st_uid = record.uid
    st_gid = record.gid
    st_rdev = dev_t(record.device)
    st_size = off_t(record.size)
    st_blksize = Block.size
    st_blocks = blkcnt_t(record.blocks &* UInt64(Block.size / 512))
    st_atim = timespec(record.accessed)
    st_mtim = timespec(record.modified)
    st_ctim = timespec(record.changed)
  }
}

extension FileType {
  /// In `st_mode`.
  var mode: mode_t { mode_t(rawValue) << 12 }
}

extension timespec {
  init(_ time: Timestamp) { self.init(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds)) }
}

extension Timestamp {
  init(_ time: timespec) {
    self.init(seconds: Int64(time.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: time.tv_nsec))
  }
}

extension fuse_entry_param {
  init(_ attributes: Attributes) {
    self.init()
    ino = attributes.inode
    generation = UInt64(attributes.record.generation)
    attr = stat(attributes)
    attr_timeout = CacheTime.forever
    entry_timeout = CacheTime.forever
  }
}

extension UnsafeRawBufferPointer {
  /// A C string's bytes without the NUL.
  init(cString: UnsafePointer<CChar>?) {
    self.init(start: cString, count: cString.map { strlen($0) } ?? 0)
  }
}
