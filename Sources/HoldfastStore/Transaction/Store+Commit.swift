/// Group commit: one leader makes everything so far durable, followers wait for it.
///
/// A commit is: take the pending mutations, barrier (data written before is durable), append the journal record,
/// barrier. "Unwritten becomes written" is a mutation made after its data was written, so it can never reach the
/// journal ahead of the data. Nothing here holds the tree lock while it waits.

import HoldfastBase
import HoldfastFormat

/// Who leads, and what is durable.
final class CommitState: @unchecked Sendable {
  let lock = Lock()
  let changed = Condition()
  var leading = false
  var durableTicket: UInt64 = 0
  var durableData: UInt64 = 0
}

extension Store {
  /// Makes all transactions up to `target`, and all data written before the call, durable.
  func commit(upTo target: UInt64) throws(FSError) {
    let data = dataWrites.load(ordering: .acquiring)
    while true {
      guard takeLeadership(unless: target, data) else { return }
      let outcome = tryAppend(upTo: target)
      // Known before anybody else may lead: what was taken is lost, a record that was not written as well as a barrier.
      if case .failure(let error) = outcome { treeLock.withLock { fail(error) } }
      giveUpLeadership()
      switch outcome {
      case .success(true):
        // What was asked for is durable; blocks that could not be freed stay in quarantine.
        try? releaseDurableQuarantine()
      case .success(false):
        // Not by the journal: a checkpoint makes the same things durable and empties it.
        try checkpoint()
      case .failure(let error):
        throw error
      }
    }
  }

  /// Waits for leadership; false when what is asked for is durable already.
  private func takeLeadership(unless target: UInt64, _ data: UInt64) -> Bool {
    commitState.lock.lock()
    defer { commitState.lock.unlock() }
    while true {
      if commitState.durableTicket >= target, commitState.durableData >= data { return false }
      if !commitState.leading { break }
      commitState.changed.wait(commitState.lock)
    }
    commitState.leading = true
    return true
  }

  func takeLeadership() { _ = takeLeadership(unless: .max, .max) }

  func giveUpLeadership() {
    commitState.lock.withLock { commitState.leading = false }
    commitState.changed.broadcast()
  }

  func publishDurable(ticket: UInt64, data: UInt64) {
    commitState.lock.withLock {
      commitState.durableTicket = max(commitState.durableTicket, ticket)
      commitState.durableData = max(commitState.durableData, data)
    }
  }

  /// One commit, as leader: of everything pending, or of data alone when `target` is durable already. False when the
  /// journal has no room, or cannot hold it.
  private func tryAppend(upTo target: UInt64) -> Result<Bool, FSError> {
    let isDurable = commitState.lock.withLock { commitState.durableTicket >= target }
    let data = dataWrites.load(ordering: .acquiring)
    treeLock.lock()
    if let failure = writeFailure {
      treeLock.unlock()
      return .failure(failure)
    }
    if isDurable {
      treeLock.unlock()
      return appendBatch(([], 0), ticket: target, data: data)
    }
    guard pending.isEmpty || journal.hasRoom(payloadBytes: pending.payloadBytes) else {
      treeLock.unlock()
      return .success(false)
    }
    guard let batch = pending.take(if: Journal.mayHold) else {
      treeLock.unlock()
      return .success(false)
    }
    let batchTicket = ticket
    treeLock.unlock()
    return appendBatch(batch, ticket: batchTicket, data: data)
  }

  /// Everything written so far is durable. Linux tells of a lost write only once, to whichever fdatasync(2) comes next:
  /// so there is one at a time, and after one that failed, whoever's writes it lost, there is no other.
  func barrier() throws(FSError) {
    barrierLock.lock()
    defer { barrierLock.unlock() }
    if let failure = treeLock.withLock({ writeFailure }) { throw failure }
    do throws(FSError) {
      try device.barrier()
    } catch {
      treeLock.withLock { fail(error) }
      throw error
    }
  }

  /// Barrier, journal record, barrier; then what was taken is durable. As leader.
  func appendBatch(
    _ batch: (payload: [UInt8], count: Int), ticket batchTicket: UInt64, data: UInt64
  ) -> Result<Bool, FSError> {
    do throws(FSError) {
      let dataIsDurable = commitState.lock.withLock { commitState.durableData >= data }
      if !dataIsDurable || batch.count > 0 { try barrier() }
      if batch.count > 0 {
        try journal.append(batch.payload, count: batch.count)
        try barrier()
      }
    } catch {
      return .failure(error)
    }
    publishDurable(ticket: batchTicket, data: data)
    return .success(true)
  }
}
