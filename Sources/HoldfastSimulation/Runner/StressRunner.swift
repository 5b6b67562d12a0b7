/// Runs operations against a target and the model side by side: what each answers, what is read, the maps of
/// sealed files around every operation, and what a crash leaves.

import Glibc

final class StressRunner<Target: StressTarget> {
  let target: Target
  let model: ModelFilesystem
  var counts = StressCounts()
  /// What every standing request was granted, by its serial.
  var grants: [Int: Grant] = [:]
  /// The maps of sealed files as they were last seen.
  var seenMaps: [NodeID: ObservedMap] = [:]
  var crashSeed: UInt64 = 0
  var looks = 0
  /// Of the operation that is about to be performed.
  private var patience: Patience?
  /// What the target answered last.
  private(set) var lastOutcome = Outcome.done()

  init(target: Target, model: ModelFilesystem) {
    self.target = target
    self.model = model
  }

  /// Performs and checks one operation.
  func step(_ operation: Operation, index: Int) throws(StressFailure) {
    do {
      switch operation {
      case .remount: try remount()
      case .crash(_, let seed), .deviceError(_, _, let seed):
        crashSeed = UInt64(seed)
        _ = target.perform(operation, model, waits: false)
        if target.isPowerOff { try recover(inFlight: nil) }
      case .waiting(let operation, let patience):
        self.patience = patience
        try perform(operation)
      default: try perform(operation)
      }
      if target.hasRealClock { try endRecalls() }
    } catch {
      throw Self.located(error, operation, index)
    }
  }

  private static func located(_ failure: StressFailure, _ operation: Operation, _ index: Int) -> StressFailure {
    var failure = failure
    failure.operation = operation
    failure.index = index
    return failure
  }

  /// The maps of files with requests, as they were last seen.
  var sealedMaps: [NodeID: ObservedMap] { seenMaps.filter { model.seals[$0.key] != nil } }

  // MARK: One operation

  func perform(_ operation: Operation) throws(StressFailure) {
    let patience = target.patience(for: operation, asked: self.patience, model)
    self.patience = nil
    guard let expectation = expect(operation) else {
      counts.skipped += 1
      return
    }
    fillBuffer(for: operation)
    let waits = patience != nil && !expectation.recalled.isEmpty
    let outcome = target.perform(operation, model, waits: waits)
    // Sub-operations of a wait find the one that waits parked as it was.
    if waits, target.isParked, let patience { return try wait(operation, expectation, patience) }
    try settle(operation, expectation, outcome)
  }

  func expect(_ operation: Operation) -> Expectation? {
    model.expect(operation, map: { self.target.map(of: $0, self.model) ?? ObservedMap() })
  }

  /// Holds an operation's answer against what was expected, and takes over what it did.
  func settle(_ operation: Operation, _ expectation: Expectation, _ outcome: Outcome) throws(StressFailure) {
    lastOutcome = outcome
    counts.note(operation, outcome)
    if target.isPowerOff { return try recover(inFlight: (operation, expectation)) }
    if !expectation.accepts(outcome) {
      // What this target may answer whatever the model says; nothing was changed then.
      if target.tolerates(operation, outcome, model) { return adoptEndOfOwn(operation, expectation) }
      if target.meetsDamage(outcome) { throw StressFailure(.damage, "\(operation): \(errnoName(outcome.errno))") }
      // A volume that met a device error refuses this or a later operation: what it did until then must hold.
      if outcome.errno == EIO || outcome.errno == EROFS, target.hasMetDeviceError {
        counts.deviceErrors += 1
        // The lesson of fsyncgate: a sync that succeeds now must have written what an earlier one could not.
        if target.perform(.syncAll, model, waits: false).errno == 0 { model.allDurable() }
        target.cutPower()
        return try recover(inFlight: (operation, expectation), hasFailed: true)
      }
      throw StressFailure(.outcome, "expected \(expectation), got \(Self.told(outcome))\(sealStory(operation))")
    }
    if let failure = model.check(operation, outcome, target.results) { throw failure }
    let wasSealed = model.seals
    noteRequests(operation, expectation, outcome)
    model.commit(operation, outcome)
    model.endOperation()
    if case .fence = operation { noteFence(before: wasSealed) }
    try checkSealedMaps(operation)
    if operation.concernsSeals || !expectation.recalled.isEmpty || !expectation.endsOwn.isEmpty {
      try checkSeals(operation, outcome, before: wasSealed)
    }
  }

  static func told(_ outcome: Outcome) -> String {
    outcome.errno == 0 ? "success with \(outcome.value)" : errnoName(outcome.errno)
  }

  /// The bytes an operation writes, put where the target takes them from.
  func fillBuffer(for operation: Operation) {
    switch operation {
    case .write(_, let offset, let length, let tag), .mapWrite(_, let offset, let length, let tag):
      fill(length, tag, offset)
    case .append(let slot, let length, let tag):
      guard let handle = model.handle(slot), let node = model.node(handle.node) else { return }
      fill(length, tag, Int(node.size))
    default: break
    }
  }

  private func fill(_ length: Int, _ tag: Int, _ offset: Int) {
    Pattern.fill(
      UnsafeMutableRawBufferPointer(rebasing: target.results.buffer[..<length]),
      tag: PatternTag(job: model.job, number: tag), offset: UInt64(offset))
  }

  /// For reports: the file's seals and map.
  func sealStory(_ operation: Operation) -> String {
    guard let slot = operation.handleSlot, let handle = model.handle(slot) else { return "" }
    let standing = model.seals[handle.node] ?? []
    let size = model.node(handle.node)?.size ?? 0
    var story = "; inode \(handle.node), \(size) bytes, \(standing.count) requests"
    if let map = target.map(of: handle.node, model) { story += ", map \(map)" }
    return story
  }
}

extension UnsafeRawBufferPointer {
  /// Equality by memcmp.
  func elementsEqualQuickly(_ other: UnsafeRawBufferPointer) -> Bool {
    count == other.count && (count == 0 || memcmp(baseAddress!, other.baseAddress!, count) == 0)
  }
}
