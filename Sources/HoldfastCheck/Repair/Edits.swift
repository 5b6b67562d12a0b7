/// What a repair changes among the old records: keys it leaves out and records it puts in. Counts and space are no
/// edits: they are made anew.

import HoldfastBase
import HoldfastFormat

struct Edits {
  struct Put {
    var key: Key
    /// Of `bytes`.
    var start: Int
    var count: Int
  }

  private(set) var dropped: [Key] = []
  private(set) var puts: [Put] = []
  private(set) var bytes: [UInt8] = []
  private var withdrawn: Set<Key> = []

  /// Leaves an old record out.
  mutating func drop(_ key: Key) { dropped.append(key) }

  /// Puts a record in; an old one of the same key gives way to it.
  mutating func put(_ key: Key, _ value: some Collection<UInt8>) {
    puts.append(Put(key: key, start: bytes.count, count: value.count))
    bytes.append(contentsOf: value)
  }

  mutating func put(_ key: Key, byteCount: Int, _ encode: (UnsafeMutableRawPointer) -> Void) {
    puts.append(Put(key: key, start: bytes.count, count: byteCount))
    let start = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: byteCount))
    bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { encode(base + start) } }
  }

  /// Takes back the puts made since there were `count` of them.
  mutating func forgetPuts(since count: Int) {
    puts.removeLast(puts.count - count)
    bytes.removeLast(bytes.count - (puts.last.map { $0.start + $0.count } ?? 0))
  }

  /// Takes back the put of a key that turned out not to stay.
  mutating func withdraw(_ key: Key) { withdrawn.insert(key) }

  /// In key order, from here on.
  mutating func settle() {
    dropped.sort()
    if !withdrawn.isEmpty { puts.removeAll { withdrawn.contains($0.key) } }
    puts.sort { ($0.key, $0.start) < ($1.key, $1.start) }
  }
}
