/// The target of one symbolic link: pieces 0, 1, … of `Key.pieceBytes` each but the last, no NUL.

import HoldfastBase
import HoldfastFormat

struct SymlinkCheck {
  private var bytes: UInt64 = 0
  private var nextPiece: UInt64 = 0
  private var lastWasShort = false
  /// First piece that is missing or short, the target not ending there.
  private var broken: UInt64?
  private var hasNUL = false

  mutating func reset() { self = SymlinkCheck() }

  mutating func take(_ key: Key, _ value: UnsafeRawBufferPointer, _ log: IssueLog) {
    guard value.count >= 1, value.count <= Key.pieceBytes else {
      log.report(.undecodable(key))
      return
    }
    if broken == nil {
      if key.offset != nextPiece { broken = nextPiece } else if lastWasShort { broken = nextPiece - 1 }
    }
    nextPiece = key.offset + 1
    lastWasShort = value.count < Key.pieceBytes
    bytes &+= UInt64(value.count)
    if value.holds(0) { hasNUL = true }
  }

  /// Bytes of the whole target; nil when it cannot be one.
  var targetBytes: UInt64? {
    broken == nil && !hasNUL && bytes > 0 && bytes <= UInt64(Limits.symlinkBytes) ? bytes : nil
  }

  /// After the last piece; `size` is the inode's.
  func finish(_ inode: InodeNumber, _ size: UInt64, _ log: IssueLog) {
    if let broken {
      log.report(.symlinkIncomplete(inode: inode, piece: broken))
    } else if bytes != size {
      log.report(.symlinkLength(inode: inode, recorded: size, found: bytes))
    } else if targetBytes == nil {
      log.report(.symlinkTarget(inode: inode))
    }
  }
}
