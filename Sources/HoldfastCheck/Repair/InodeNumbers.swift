/// Numbers for inodes a repair makes or moves: behind all that were ever used.

import HoldfastBase
import HoldfastFormat

struct InodeNumbers {
  /// Numbers from here on are damage: no volume lives to use so many, and new ones must fit behind them.
  static let limit: InodeNumber = Key.maximumObject - 0xffff_ffff

  private(set) var next: InodeNumber

  /// `greatest` is the greatest number in use below `limit`.
  init(_ superblock: Superblock, greatest: InodeNumber) {
    let recorded = superblock.nextInode <= Self.limit ? superblock.nextInode : RootDirectory.firstOrdinaryInode
    next = max(recorded, greatest + 1)
  }

  mutating func take() -> InodeNumber {
    defer { next += 1 }
    return next
  }
}
