/// What is in quarantine, in memory: ranges that wait for a commit, in the order of their freeing, and beside them, by
/// inode, those that wait for a holder. Guarded by the tree lock.
///
/// Invariants: `blocks` are the blocks in the order, `heldBlocks` those beside it; an inode in `held` has ranges.

import HoldfastBase

struct ReleaseQueue {
  struct Entry {
    /// The transaction that must be durable before the range may be freed.
    var ticket: UInt64
    var range: BlockRange
    /// Where the blocks came from; 0 for a metadata chunk.
    var inode: InodeNumber
  }

  private var entries: [Entry] = []
  private var first = 0
  private var held: [InodeNumber: [Entry]] = [:]
  /// Blocks that a commit is enough to free.
  private(set) var blocks: UInt64 = 0
  /// Blocks that somebody may still reach.
  private(set) var heldBlocks: UInt64 = 0

  /// Nothing waits for a commit alone.
  var isEmpty: Bool { first == entries.count }

  var hasHeld: Bool { !held.isEmpty }

  /// Inodes whose holders something waits for.
  var heldInodes: [InodeNumber] { Array(held.keys) }

  /// What somebody may still reach, by inode and block.
  var heldRanges: [Entry] {
    held.values.flatMap { $0 }.sorted { ($0.inode, $0.range.start) < ($1.inode, $1.range.start) }
  }

  /// How many blocks of each inode somebody may still reach.
  var heldCounts: [InodeNumber: UInt64] { held.mapValues { $0.reduce(0) { $0 + $1.range.count } } }

  /// Behind everything; beside it when others of its inode are held.
  mutating func append(_ range: BlockRange, of inode: InodeNumber, ticket: UInt64) {
    let entry = Entry(ticket: ticket, range: range, inode: inode)
    if held[inode] != nil { hold(entry) } else { append(entry) }
  }

  private mutating func append(_ entry: Entry) {
    entries.append(entry)
    blocks += entry.range.count
  }

  private mutating func hold(_ entry: Entry) {
    held[entry.inode, default: []].append(entry)
    heldBlocks += entry.range.count
  }

  /// The oldest entry whose ticket is at most `durable`.
  func next(durable: UInt64) -> Entry? {
    first < entries.count && entries[first].ticket <= durable ? entries[first] : nil
  }

  /// The inodes of the oldest `limit` entries whose tickets are at most `durable`.
  func nextInodes(durable: UInt64, limit: Int) -> [InodeNumber] {
    entries[first..<min(first + limit, entries.count)].prefix { $0.ticket <= durable }.map(\.inode)
  }

  mutating func removeFirst() {
    blocks -= entries[first].range.count
    first += 1
    if first == entries.count {
      entries.removeAll(keepingCapacity: first < 4096)
      first = 0
    } else if first > 65536 {
      entries.removeFirst(first)
      first = 0
    }
  }

  /// The oldest entry waits for a holder from now on.
  mutating func holdFirst() {
    let entry = entries[first]
    removeFirst()
    hold(entry)
  }

  /// Nobody holds this inode any more: its entries go behind everything.
  mutating func letGo(_ inode: InodeNumber) {
    for entry in held.removeValue(forKey: inode) ?? [] {
      heldBlocks -= entry.range.count
      append(entry)
    }
  }
}
