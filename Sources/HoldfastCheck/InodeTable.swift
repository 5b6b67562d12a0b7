/// What the check remembers of every inode: flat entries in order of their numbers (the stream brings them
/// so), found again through buckets of equal width over the numbers in use.

import HoldfastBase
import HoldfastFormat

struct InodeTable {
  struct Entry {
    var number: InodeNumber
    var links: UInt32
    /// Directory entries that name it.
    var names: UInt32 = 0
    /// Index among `directories`, -1 for anything else.
    var directory: Int = -1
    /// nil: records exist, but no inode record that can be read.
    var type: FileType?
    var isOrphan = false
    /// Repair leaves the inode and all its records out.
    var isDropped = false
    /// A clone or a hole changed the file's map.
    var hasNewMap = false
    /// Bytes; of a directory: entries. Kept by repair only.
    var size: UInt64 = 0
    /// Sum of the extents. Kept by repair only.
    var blocks: UInt64 = 0
  }

  struct Directory {
    var entry: Int
    var parent: InodeNumber
    /// The directory with the entry that names it, 0 when none was met.
    var namedIn: InodeNumber = 0
    var subdirectories: UInt32 = 0
    /// Index of the name that counts, -1 for none. Kept by repair only.
    var name = -1
    var reach = Reach.unknown
  }

  enum Reach: UInt8 { case unknown, underway, settled }

  var entries: [Entry] = []
  var directories: [Directory] = []

  private var buckets: [Int] = []
  private var shift: UInt64 = 0

  /// Appends the next inode; numbers ascend.
  mutating func append(_ number: InodeNumber, _ record: InodeRecord?) {
    var entry = Entry(number: number, links: record?.links ?? 0, type: record?.fileType)
    if let record, record.isDirectory {
      entry.directory = directories.count
      directories.append(Directory(entry: entries.count, parent: record.parent))
    }
    entries.append(entry)
  }

  /// Puts an entry in front of all others.
  mutating func insertFirst(_ number: InodeNumber, _ record: InodeRecord) {
    var rest = InodeTable()
    rest.append(number, record)
    for index in directories.indices { directories[index].entry += 1 }
    directories += rest.directories
    rest.entries[0].directory = record.isDirectory ? directories.count - 1 : -1
    entries.insert(rest.entries[0], at: 0)
    settle()
  }

  /// Builds the buckets; `index(of:)` works from here on.
  mutating func settle() {
    guard let last = entries.last else { return }
    shift = 0
    while last.number >> shift > UInt64(entries.count) { shift += 1 }
    buckets = Array(repeating: entries.count, count: Int(last.number >> shift) + 2)
    for index in stride(from: entries.count - 1, through: 0, by: -1) {
      buckets[Int(entries[index].number >> shift)] = index
    }
    // A bucket without inodes begins where the next one does.
    for bucket in stride(from: buckets.count - 2, through: 0, by: -1) {
      buckets[bucket] = min(buckets[bucket], buckets[bucket + 1])
    }
  }

  /// Index of the inode's entry, nil when there is none.
  func index(of number: InodeNumber) -> Int? {
    guard let last = entries.last, number <= last.number else { return nil }
    let bucket = Int(number >> shift)
    let index = entries[buckets[bucket]..<buckets[bucket + 1]].partitioningIndex { $0.number >= number }
    return index < entries.count && entries[index].number == number ? index : nil
  }
}
