/// What a direct holder does with the image: lock, map, store.

import CHoldfast
import CMountedSupport
import Glibc
import Synchronization

/// Stores into mapped blocks without a pause, on a thread of its own.
final class Storing: @unchecked Sendable {
  /// Times that every range was stored into.
  let rounds = Atomic<Int>(0)
  private let isStopped = Atomic<Bool>(false)
  private var thread: pthread_t?
  private var ranges: [UnsafeMutableRawBufferPointer] = []
  private var byte: UInt8 = 0

  func start(_ ranges: [UnsafeMutableRawBufferPointer], _ byte: UInt8) {
    self.ranges = ranges
    self.byte = byte
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { storing in
        Unmanaged<Storing>.fromOpaque(storing!).takeRetainedValue().run()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    self.thread = thread
  }

  private func run() {
    while !isStopped.load(ordering: .acquiring) {
      for range in ranges { memset(range.baseAddress!, Int32(byte), range.count) }
      rounds.add(1, ordering: .relaxed)
    }
  }

  /// Nothing is stored any more when this returns.
  func stop() {
    isStopped.store(true, ordering: .releasing)
    if let thread { pthread_join(thread, nil) }
    thread = nil
  }
}

nonisolated(unsafe) var mapped: [UnsafeMutableRawBufferPointer] = []
let storing = Storing()

/// `lease IMAGE-FD INODE`, `map IMAGE-FD OFFSET LENGTH`, `store BYTE` (into all that is mapped, from then on), `rounds`
/// (times it was stored so far), `stop`.
func leases(_ request: Request) -> Outcome? {
  switch request.name {
  case "lease":
    let byte = HOLDFAST_LEASE_OFFSET + request.number(2)
    return Outcome(hmt_record_lock(request.number(1), 1, Int16(F_RDLCK), Int64(byte), 1))
  case "map":
    let length: Int = request.number(3)
    let start = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, request.number(1), request.number(2))
    guard let start, start != MAP_FAILED else { return Outcome(-1) }
    mapped.append(UnsafeMutableRawBufferPointer(start: start, count: length))
    return Outcome(0)
  case "store":
    storing.start(mapped, request.number(1))
    return Outcome(0)
  case "rounds": return Outcome(storing.rounds.load(ordering: .relaxed))
  case "stop":
    storing.stop()
    return Outcome(0)
  default: return nil
  }
}
