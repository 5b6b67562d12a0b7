/// Names for entries that get a new place: the wished one, or one like it, whose hash no entry of the directory has.

import HoldfastBase
import HoldfastFormat

struct FreshNames {
  private let sorted: [NameCheck.Name]
  private let seed: UInt64
  private var taken: Set<Key> = []
  /// Where the next suffix for a wish begins: many wishes of one name must not try the same ones again and again.
  private var suffixes: [[UInt8]: UInt64] = [:]

  /// `sorted`: the entries there are, by directory and offset.
  init(sorted: [NameCheck.Name], seed: UInt64) {
    self.sorted = sorted
    self.seed = seed
  }

  /// The name to use in place of `wish`, 1 to 255 possible bytes, and its entry's offset.
  mutating func take(_ wish: [UInt8], in directory: InodeNumber) -> (name: [UInt8], offset: UInt64) {
    var name = wish
    while true {
      let offset = name.withUnsafeBytes { NameHash.dirent($0, seed: seed) }
      if !isTaken(directory, offset), taken.insert(.file(directory, .dirent, offset)).inserted {
        return (name, offset)
      }
      let number = suffixes[wish, default: 0] + 1
      suffixes[wish] = number
      let suffix = Array("~\(number)".utf8)
      name = Self.shortened(wish, to: Limits.nameBytes - suffix.count) + suffix
    }
  }

  /// At most `count` bytes, not cut within a character.
  private static func shortened(_ name: [UInt8], to count: Int) -> [UInt8] {
    guard name.count > count else { return name }
    var end = count
    while end > 1, name[end] & 0xc0 == 0x80 { end -= 1 }
    return Array(name[..<end])
  }

  /// Whether an entry of `directory` has this hash, under any collision index.
  private func isTaken(_ directory: InodeNumber, _ offset: UInt64) -> Bool {
    let index = sorted.partitioningIndex { ($0.directory, $0.offset) >= (directory, offset) }
    return index < sorted.count && sorted[index].directory == directory
      && sorted[index].offset & EntryCheck.hashMask == offset
  }
}
