/// An operation that waits for holders: what others may and may not do meanwhile, and how it ends (rules 7, 11, row 21).

import Glibc

extension StressRunner {
  /// `operation` waits. What comes first may end in a crash: then it is forgotten.
  func wait(_ operation: Operation, _ expectation: Expectation, _ patience: Patience) throws(StressFailure) {
    guard let id = model.subject(of: operation) else { return }
    counts.waits += 1
    counts.recalls += model.recall(expectation.recalled, of: id)
    model.awaited = id
    let crashes = counts.crashes
    try checkSealedMaps(operation)
    try tryToTake(on: id)
    if counts.crashes != crashes { return }
    if patience == .interrupted { return try interrupt(operation, expectation) }
    var left = expectation.recalled
    while !left.isEmpty, model.awaited != nil {
      if target.isCertainlyFree {
        throw StressFailure(.seal, "it goes on with \(left.count) requests in its way")
      }
      let seal = left.removeFirst()
      let release = patience == .released ? release(of: seal, on: id) : nil
      if release == nil { left = [] }
      // A process lets go of all it holds.
      if case .process = seal.holder { left.removeAll { $0.holder == seal.holder } }
      // Where it goes on by itself, what is its own ends with the last thing in its way.
      if left.isEmpty, !target.keepsItsTurn { endOwn(operation, expectation) }
      try perform(release ?? .fence)
    }
    if counts.crashes != crashes { return }
    guard target.isFree else { throw StressFailure(.seal, "nothing is in its way any more, and it was not woken") }
    if target.keepsItsTurn { try tryToTake(on: id) }
    if counts.crashes != crashes { return }
    try resume(operation)
  }

  private func resume(_ operation: Operation) throws(StressFailure) {
    guard let expectation = expect(operation) else {
      throw StressFailure(.environment, "what waited cannot be done any more")
    }
    // Nothing new came in between (row 21), so it waits once.
    guard expectation.recalled.isEmpty else {
      throw StressFailure(.seal, "it would wait again: \(expectation)")
    }
    fillBuffer(for: operation)
    let outcome = target.resume(operation, model)
    model.awaited = nil
    try settle(operation, expectation, outcome)
  }

  private func interrupt(_ operation: Operation, _ expectation: Expectation) throws(StressFailure) {
    counts.interruptions += 1
    let outcome = target.interrupt(operation)
    model.awaited = nil
    if outcome.errno == 0 { adoptEndOfOwn(operation, expectation) }
    var interrupted = expectation
    interrupted.refusal = [EINTR]
    try settle(operation, interrupted, outcome)
  }

  /// Where recalls end by the clock they are ended now: by their holders, or now and then by waiting for it.
  func endRecalls() throws(StressFailure) {
    let crashes = counts.crashes
    while let (id, seals) = model.seals.sorted(by: { $0.key < $1.key }).first(where: {
      $0.value.contains(where: \.isRecalled)
    }) {
      let seal = seals.first(where: \.isRecalled)!
      let isWaitedFor = seal.serial % 12 == 0
      try perform(isWaitedFor ? .fence : release(of: seal, on: id) ?? .fence)
      if counts.crashes != crashes { return }
    }
  }

  /// Row 21: a request while the recall is in flight.
  private func tryToTake(on id: NodeID) throws(StressFailure) {
    guard let slot = model.handles.firstIndex(where: { $0?.node == id }) else { return }
    try perform(.seal(handle: slot, name: 0, SealSpec(.asIs)))
  }

  /// What its holder does to let go; nil where nobody can reach it.
  private func release(of seal: ModelSeal, on id: NodeID) -> Operation? {
    let any = model.handles.firstIndex { $0?.node == id }
    switch seal.holder {
    case .process(let slot, _): return .endProcess(process: slot)
    case .handle(let serial):
      guard let slot = model.handles.firstIndex(where: { $0?.serial == serial }) else { return nil }
      guard let blocks = seal.blocks else { return .unseal(handle: slot, name: seal.name) }
      let start = Int(blocks.lowerBound * TruthTable.blockBytes)
      let end = Int(blocks.upperBound * TruthTable.blockBytes)
      return .unpin(handle: slot, name: seal.name, range: start..<end)
    case .user(let uid), .persistent(let uid):
      let user = (0..<3).first { Names.user($0) == uid } ?? 0
      return any.map { .unsealNamed(handle: $0, user: user, name: seal.name) }
    }
  }
}
