/// Many threads sync at once and the device fails one barrier: no sync that begins after its data was written succeeds
/// without it ("fsyncgate": the next barrier succeeds, and the bytes the failed one lost are nowhere).

import Glibc
import HoldfastBase
import HoldfastFormat
import Synchronization
import Testing

@testable import HoldfastStore

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

  /// As Linux has it: writes are lost behind everybody's back, and one fdatasync(2), whoever calls it, is told, once. The
  /// nodes of a checkpoint are lost and a sync hears of it: no superblock may name them.
  @Test func aCheckpointWhoseLossAnotherHeardOfIsNone() throws {
    for round in 0..<30 {
      let volume = try Volume(mebibytes: 16)
      let file = try volume.create("file")
      try volume.store.syncAll()
      let superblock = Array(volume.device.memory.bytes[..<Block.size])
      let chunk = volume.store.superblock.dataStart << UInt64(Block.shift)
      let loss = Loss()
      volume.device.fault = { request in
        switch request.operation {
        case .write:
          // The first node of the checkpoint: lost, and nobody knows yet.
          if request.bytes.lowerBound >= chunk, request.bytes.upperBound <= chunk + 1 << 20 { loss.happens() }
          return nil
        case .barrier: return loss.isTold() ? EIO : nil
        default: return nil
        }
      }
      try volume.write(file, pattern(100, seed: UInt8(round)))
      let synced = Atomic<Bool>(false)
      runThreads(2) { index in
        if index == 0 {
          try? volume.store.checkpoint()
        } else {
          loss.waitUntilItHappened()
          _ = try? volume.write(file, pattern(100), at: 10)
          if (try? volume.store.sync(file, dataOnly: false)) != nil { synced.store(true, ordering: .relaxed) }
        }
      }
      volume.device.fault = nil
      let hasSynced = synced.load(ordering: .relaxed)
      #expect(!hasSynced, "round \(round)")
      let now = Array(volume.device.memory.bytes[..<Block.size])
      #expect(now == superblock, "round \(round): a superblock names nodes that are lost")
    }
  }

  /// Writes that were lost; one barrier is told.
  private final class Loss: @unchecked Sendable {
    private let lock = Lock()
    private var hasHappened = false
    private var wasTold = false

    func happens() { lock.withLock { hasHappened = true } }

    func isTold() -> Bool {
      // The others get the time to come first.
      if lock.withLock({ hasHappened && !wasTold }) { usleep(.random(in: 0...3000)) }
      return lock.withLock {
        defer { if hasHappened { wasTold = true } }
        return hasHappened && !wasTold
      }
    }

    func waitUntilItHappened() { while !lock.withLock({ hasHappened }) { usleep(50) } }
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
