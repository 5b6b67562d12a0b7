/// Many threads sync at once and the device fails one barrier: no sync that begins after its data was written succeeds
/// without it ("fsyncgate": the next barrier succeeds, and the bytes the failed one lost are nowhere).

import Glibc
import HoldfastBase
import HoldfastStore
import Synchronization
import Testing

@Suite("Store: syncs at the same time") struct ConcurrentSyncTests {
  private static let threads = 8
  private static let rounds = 150

  @Test func oneFailedBarrierFailsThemAll() throws {
    for round in 0..<Self.rounds {
      let volume = try Volume(mebibytes: 16)
      let files = try (0..<Self.threads).map { try volume.create("file-\($0)") }
      try volume.store.syncAll()
      for file in files { try volume.write(file, pattern(100)) }
      // Nobody is quicker than the barrier that fails: the others wait for it, and then it is their turn.
      let failure = Countdown(round % 2)
      volume.device.fault = { request in
        guard request.operation == .barrier, failure.strikes() else { return nil }
        usleep(2000)
        return EIO
      }
      let successes = Atomic<Int>(0)
      runThreads(Self.threads) { index in
        if (try? volume.store.sync(files[index], dataOnly: false)) != nil {
          successes.add(1, ordering: .relaxed)
        }
      }
      #expect(successes.load(ordering: .relaxed) == 0, "round \(round)")
      #expect(throws: FSError.self) { try volume.store.syncAll() }
    }
  }
}

/// Runs `body` on so many threads and waits for all.
private func runThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  final class Work: Sendable {
    let index: Int
    let body: @Sendable (Int) -> Void
    init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
      self.index = index
      self.body = body
    }
  }
  var threads = [pthread_t](repeating: pthread_t(), count: count)
  for index in 0..<count {
    pthread_create(
      &threads[index], nil,
      { argument in
        let work = Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue()
        work.body(work.index)
        return nil
      }, Unmanaged.passRetained(Work(index, body)).toOpaque())
  }
  for thread in threads { pthread_join(thread, nil) }
}
