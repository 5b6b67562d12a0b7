/// What a device was asked to do, in order, with the bytes: from it every image a crash could have left can be made.

import Glibc

final class DeviceRecording {
  enum Event {
    /// `start`: where the bytes lie in the recording.
    case write(offset: UInt64, count: Int, start: Int)
    case barrier
    /// The device has so many bytes, durably.
    case length(UInt64)
  }

  private(set) var events: [Event] = []
  private var bytes: [UInt8] = []

  func noteWrite(_ source: UnsafeRawBufferPointer, at offset: UInt64) {
    events.append(.write(offset: offset, count: source.count, start: bytes.count))
    bytes.append(contentsOf: source)
  }

  func noteBarrier() { events.append(.barrier) }

  func noteLength(_ byteCount: UInt64) { events.append(.length(byteCount)) }

  func removeAll() {
    events.removeAll(keepingCapacity: true)
    bytes.removeAll(keepingCapacity: true)
  }

  /// Calls `body` with the bytes of a write.
  func withBytes<Result>(_ start: Int, _ count: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) }
  }
}
