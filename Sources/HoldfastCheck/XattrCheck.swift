/// The attributes of one inode: names sound, unique and filed under their hash; values complete.

import HoldfastBase
import HoldfastFormat

struct XattrCheck {
  static let pieceMask: UInt64 = 1 << NameHash.xattrPieceBits - 1
  static let hashMask = ~(1 << (NameHash.xattrPieceBits + NameHash.xattrCollisionBits) - 1) as UInt64

  /// Offset of the attribute being collected, without its piece; nil when none is.
  private var base: UInt64?
  private var inode: InodeNumber = 0
  private var remaining = 0
  private var nextPiece: UInt64 = 0
  /// The first piece is malformed, or an issue has been reported: later pieces are of no interest.
  private var isGivenUp = false
  private var names = NameGroup()

  mutating func reset() {
    base = nil
    names.reset()
  }

  mutating func take(_ key: Key, _ value: UnsafeRawBufferPointer, _ seed: UInt64, _ log: IssueLog) {
    let piece = key.offset & Self.pieceMask
    let own = key.offset & ~Self.pieceMask
    guard piece == 0 else {
      takePiece(piece, own, key, value, log)
      return
    }
    finish(isWhole: true, log)
    inode = key.object
    base = own
    nextPiece = 1
    guard let (valueBytes, name, first) = XattrRecord.decode(value) else {
      isGivenUp = true
      log.report(.undecodable(key))
      return
    }
    isGivenUp = false
    remaining = valueBytes - first.count
    if name.holds(0) { log.report(.xattrName(inode: inode, offset: own)) }
    let hash = NameHash.xattr(name, seed: seed) & Key.maximumOffset
    if hash != own & Self.hashMask {
      log.report(.xattrHash(inode: inode, offset: own))
    } else if !names.insert(name, hash: hash) {
      log.report(.xattrDuplicate(inode: inode, offset: own))
    }
  }

  private mutating func takePiece(
    _ piece: UInt64, _ own: UInt64, _ key: Key, _ value: UnsafeRawBufferPointer, _ log: IssueLog
  ) {
    guard base == own else {
      log.report(.xattrStray(inode: key.object, offset: key.offset))
      return
    }
    if isGivenUp { return }
    guard remaining > 0 else {
      isGivenUp = true
      log.report(.xattrStray(inode: key.object, offset: key.offset))
      return
    }
    guard piece == nextPiece, value.count == min(remaining, Key.pieceBytes) else {
      isGivenUp = true
      log.report(.xattrIncomplete(inode: inode, offset: own))
      return
    }
    remaining -= value.count
    nextPiece += 1
  }

  /// Before the next attribute and after the last.
  mutating func finish(isWhole: Bool, _ log: IssueLog) {
    guard let own = base else { return }
    if isWhole && !isGivenUp && remaining > 0 { log.report(.xattrIncomplete(inode: inode, offset: own)) }
    base = nil
  }
}
