/// The mutations since the last commit: the payload of the next journal record, one entry a key.
///
/// Guarded by the store's tree lock. A commit takes everything at once and is all or nothing, so only the last
/// value of a key matters: a value of the same length overwrites its predecessor in place, another one leaves the
/// predecessor dead (dropped when the record is built).

import Glibc
import HoldfastBase
import HoldfastFormat

struct PendingMutations {
  private(set) var bytes: [UInt8] = []
  private var positions: [Key: Int] = [:]
  /// Positions of superseded entries.
  private var dead: [Int] = []
  private var deadBytes = 0

  var isEmpty: Bool { positions.isEmpty }
  /// Bytes the record's payload will have.
  var payloadBytes: Int { bytes.count - deadBytes }
  var count: Int { positions.count }

  mutating func put(_ key: Key, _ value: UnsafeRawBufferPointer) { record(key, UInt16(value.count), value) }

  mutating func delete(_ key: Key) {
    record(key, JournalRecord.deletion, UnsafeRawBufferPointer(start: nil, count: 0))
  }

  private mutating func record(_ key: Key, _ length: UInt16, _ value: UnsafeRawBufferPointer) {
    if let at = positions[key] {
      let old = bytes.withUnsafeBytes { $0.baseAddress!.u16(at + 16) }
      if old == length {
        if !value.isEmpty {
          bytes.withUnsafeMutableBytes {
            _ = memcpy($0.baseAddress! + at + JournalRecord.mutationHeaderBytes, value.baseAddress!, value.count)
          }
        }
        return
      }
      dead.append(at)
      deadBytes += JournalRecord.mutationHeaderBytes + (old == JournalRecord.deletion ? 0 : Int(old))
    }
    let at = bytes.count
    positions[key] = at
    withUnsafeTemporaryAllocation(byteCount: JournalRecord.mutationHeaderBytes, alignment: 8) { header in
      let p = header.baseAddress!
      p.put(key.high, 0)
      p.put(key.low, 8)
      p.put(length, 16)
      bytes.append(contentsOf: header)
    }
    bytes.append(contentsOf: value)
  }

  /// The payload of the next journal record and its number of mutations, if `isAcceptable` says so of the payload: then
  /// nothing is pending any more. Else nothing changes.
  mutating func take(if isAcceptable: ([UInt8]) -> Bool) -> (payload: [UInt8], count: Int)? {
    let payload = self.payload
    return isAcceptable(payload) ? clear(having: payload) : nil
  }

  /// The same, whatever the payload is.
  mutating func take() -> (payload: [UInt8], count: Int) { clear(having: payload) }

  /// Without dead entries.
  private var payload: [UInt8] {
    if dead.isEmpty { return bytes }
    var payload: [UInt8] = []
    payload.reserveCapacity(bytes.count - deadBytes)
    var from = 0
    for at in dead.sorted() {
      payload.append(contentsOf: bytes[from..<at])
      let length = bytes.withUnsafeBytes { $0.baseAddress!.u16(at + 16) }
      from = at + JournalRecord.mutationHeaderBytes + (length == JournalRecord.deletion ? 0 : Int(length))
    }
    payload.append(contentsOf: bytes[from...])
    return payload
  }

  private mutating func clear(having payload: [UInt8]) -> (payload: [UInt8], count: Int) {
    let count = self.count
    bytes = []
    positions.removeAll(keepingCapacity: count < 4096)
    dead = []
    deadBytes = 0
    return (payload, count)
  }
}
