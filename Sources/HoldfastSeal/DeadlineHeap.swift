/// Deadlines of requests, of ttls or of recalls, nearest first. Part of SealTable's state.
///
/// Entries of requests that ended early stay until their time or until they outnumber the live ones
/// (`compact`), so ending a request need not search here.

struct DeadlineHeap {
  struct Entry: Equatable {
    /// CLOCK_MONOTONIC, nanoseconds.
    var deadline: Int64
    var slot: Int
    var id: UInt64
  }

  /// A binary heap: each entry no later than its children at 2i + 1 and 2i + 2.
  private var entries: [Entry] = []

  var first: Entry? { entries.first }
  var count: Int { entries.count }

  /// Fewer entries than this are not worth compacting.
  private static let smallCount = 64

  /// Adds an entry; true when it is now the nearest. With far more entries than the `liveCount` there can be, those
  /// `isLive` denies are dropped first.
  mutating func insert(_ entry: Entry, liveCount: Int, isLive: (Entry) -> Bool) -> Bool {
    if count > Self.smallCount, count > 2 * liveCount { compact(keeping: isLive) }
    let isNearest = first.map { entry.deadline < $0.deadline } ?? true
    insert(entry)
    return isNearest
  }

  mutating func insert(_ entry: Entry) {
    entries.append(entry)
    siftUp(entries.count - 1)
  }

  /// Takes out the entries due at `now` and returns the slots of those `isLive` confirms. What is left first is live.
  mutating func takeDue(_ now: Int64, isLive: (Entry) -> Bool) -> [Int] {
    var due: [Int] = []
    while let entry = first {
      let stands = isLive(entry)
      if stands, entry.deadline > now { break }
      removeFirst()
      if stands { due.append(entry.slot) }
    }
    return due
  }

  mutating func removeFirst() {
    entries.swapAt(0, entries.count - 1)
    entries.removeLast()
    siftDown(0)
  }

  /// Keeps only what `isLive` says.
  mutating func compact(keeping isLive: (Entry) -> Bool) {
    entries.removeAll { !isLive($0) }
    for index in stride(from: entries.count / 2 - 1, through: 0, by: -1) { siftDown(index) }
  }

  private mutating func siftUp(_ start: Int) {
    var index = start
    while index > 0, entries[index].deadline < entries[(index - 1) / 2].deadline {
      entries.swapAt(index, (index - 1) / 2)
      index = (index - 1) / 2
    }
  }

  private mutating func siftDown(_ start: Int) {
    var index = start
    while true {
      var least = index
      for child in [2 * index + 1, 2 * index + 2]
      where child < entries.count && entries[child].deadline < entries[least].deadline { least = child }
      if least == index { return }
      entries.swapAt(index, least)
      index = least
    }
  }
}
