/// Runs operations against a target and the model side by side: what each answers, what is read, the maps of
/// sealed files around every operation, and what a crash leaves.

import Glibc

final class StressRunner<Target: StressTarget> {
  let target: Target
  let model: ModelFilesystem
  private(set) var counts = StressCounts()
  /// The map of every sealed file as it was granted.
  private(set) var sealedMaps: [NodeID: ObservedMap] = [:]
  private var crashSeed: UInt64 = 0
  private var operationsDone = 0
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
        _ = target.perform(operation, model)
        if target.isPowerOff { try recover(inFlight: nil) }
      default: try perform(operation)
      }
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

  // MARK: One operation

  private func perform(_ operation: Operation) throws(StressFailure) {
    guard let expectation = model.expect(operation, map: { self.target.map(of: $0, self.model) ?? ObservedMap() })
    else {
      counts.skipped += 1
      return
    }
    fillBuffer(for: operation)
    let outcome = target.perform(operation, model)
    lastOutcome = outcome
    counts.note(operation, outcome)
    if target.isPowerOff { return try recover(inFlight: (operation, expectation)) }
    if !expectation.accepts(outcome) {
      // What this target may answer whatever the model says; nothing was changed then.
      if target.tolerates(operation, outcome, model) { return }
      if target.meetsDamage(outcome) { throw StressFailure(.damage, "\(operation): \(errnoName(outcome.errno))") }
      // A volume that met a device error refuses this or a later operation: what it did until then must hold.
      if outcome.errno == EIO || outcome.errno == EROFS, target.hasMetDeviceError {
        counts.deviceErrors += 1
        // The lesson of fsyncgate: a sync that succeeds now must have written what an earlier one could not.
        if target.perform(.syncAll, model).errno == 0 { model.allDurable() }
        target.cutPower()
        return try recover(inFlight: (operation, expectation), hasFailed: true)
      }
      throw StressFailure(.outcome, "expected \(expectation), got \(Self.told(outcome))\(sealStory(operation))")
    }
    if let failure = model.check(operation, outcome, target.results) { throw failure }
    let wasSealed = model.seals
    model.commit(operation, outcome)
    model.endOperation()
    try checkSealedMaps(operation, before: wasSealed)
    if operation.concernsSeals { try checkSeals(operation, outcome, before: wasSealed) }
  }

  private static func told(_ outcome: Outcome) -> String {
    outcome.errno == 0 ? "success with \(outcome.value)" : errnoName(outcome.errno)
  }

  /// The bytes an operation writes, put where the target takes them from.
  private func fillBuffer(for operation: Operation) {
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
  private func sealStory(_ operation: Operation) -> String {
    guard let slot = operation.handleSlot, let handle = model.handle(slot) else { return "" }
    let standing = model.seals[handle.node] ?? []
    let size = model.node(handle.node)?.size ?? 0
    var story = "; inode \(handle.node), \(size) bytes, \(standing.count) requests"
    if let map = target.map(of: handle.node, model) { story += ", map \(map)" }
    return story
  }

  // MARK: Seals

  /// Operations between looks at the maps of files that an operation is not about.
  private let otherMapsEvery = 4

  /// Rule: while a file is sealed its map does not change. Held for those sealed before and after.
  private func checkSealedMaps(
    _ operation: Operation, before: [NodeID: [ModelSeal]]
  ) throws(StressFailure) {
    if before.isEmpty && model.seals.isEmpty {
      if !sealedMaps.isEmpty { sealedMaps.removeAll() }
      return
    }
    operationsDone += 1
    let isAll = operationsDone % otherMapsEvery == 0 || operation.concernsSeals
    let own = operation.handleSlot.flatMap { model.handle($0)?.node }
    for id in model.seals.keys.sorted() where isAll || id == own || sealedMaps[id] == nil {
      guard let map = target.map(of: id, model) else { continue }
      if before[id] != nil, let granted = sealedMaps[id] {
        // A grant that is withdrawn moves the generation on, and only that.
        let isSame = operation.withdrawsGrants ? map.extents == granted.extents : map == granted
        guard isSame else { throw Self.mapChanged(id, granted, map) }
      }
      sealedMaps[id] = map
    }
    for id in before.keys where model.seals[id] == nil { sealedMaps[id] = nil }
  }

  private static func mapChanged(_ id: NodeID, _ granted: ObservedMap, _ now: ObservedMap) -> StressFailure {
    StressFailure(.sealedMap, "the map of sealed inode \(id) changed\n  from \(granted)\n  to   \(now)")
  }

  /// What taking a seal promises about the map (rule 4), and the number of standing requests.
  private func checkSeals(
    _ operation: Operation, _ outcome: Outcome, before: [NodeID: [ModelSeal]]
  ) throws(StressFailure) {
    if let (id, spec) = model.subject(ofSeal: operation), let node = model.node(id), let map = target.map(of: id, model)
    {
      let isPlain = TruthTable.isSealable(map, size: node.size)
      let story = "inode \(id) of \(node.size) bytes, map \(map)"
      switch outcome.errno {
      case 0:
        if spec.preparation != .asIs && !isPlain { throw StressFailure(.seal, "\(spec) granted over holes: \(story)") }
      case EINVAL:
        if isPlain && !spec.createOnly { throw StressFailure(.seal, "EINVAL for a plain map: \(story)") }
      case ETXTBSY:
        if isPlain && !spec.createOnly { throw StressFailure(.seal, "nothing to fill, yet refused: \(story)") }
      default: break
      }
    }
    var concerned = Set(model.seals.keys).union(before.keys)
    if let handle = operation.handleSlot.flatMap({ model.handle($0) }) { concerned.insert(handle.node) }
    for id in concerned where model.node(id) != nil { try checkCount(id) }
  }

  private func checkCount(_ id: NodeID) throws(StressFailure) {
    let expected = model.seals[id]?.count ?? 0
    if let found = target.sealCount(of: id, expecting: expected, model), found != expected {
      let standing = (model.seals[id] ?? []).map { "\($0.holder) name \($0.name)" }.joined(separator: ", ")
      throw StressFailure(.seal, "inode \(id) has \(found) requests, expected \(expected): \(standing)")
    }
  }

  // MARK: Remounts, crashes, the whole

  /// Closes every handle: what an unmount needs.
  func closeAll() throws(StressFailure) {
    for slot in model.handles.indices where model.handles[slot] != nil { try perform(.close(handle: slot)) }
    for slot in 0..<ModelFilesystem.processSlots { try perform(.endProcess(process: slot)) }
  }

  private func remount() throws(StressFailure) {
    try closeAll()
    do {
      try target.remount()
    } catch {
      guard target.hasMetDeviceError else { throw error }
      target.cutPower()
      counts.deviceErrors += 1
    }
    if target.isPowerOff { return try recover(inFlight: nil) }
    try afterRemount()
  }

  /// Row 29 and the contents, after the target was mounted again.
  func afterRemount() throws(StressFailure) {
    counts.remounts += 1
    model.allDurable()
    model.endTemporarySeals()
    try compareWhole()
    for (id, granted) in sealedMaps.sorted(by: { $0.key < $1.key }) {
      guard model.seals[id] != nil else {
        sealedMaps[id] = nil
        continue
      }
      if let map = target.map(of: id, model) {
        // Row 29: the request stands, the generation moves on.
        guard map.extents == granted.extents, map.generation > granted.generation else {
          throw Self.mapChanged(id, granted, map)
        }
        sealedMaps[id] = map
      }
      try checkCount(id)
    }
  }

  /// Compares everything with the model.
  func compareWhole() throws(StressFailure) {
    let observed = try target.observe(model)
    let expected = model.metadata.withoutOrphans
    if let difference = expected.difference(from: observed) { throw StressFailure(.metadata, difference) }
    for id in expected.nodes.keys.sorted() where expected.nodes[id]?.kind == .file {
      guard let content = model.contents[id] else { continue }
      try target.readWhole(id, size: content.count, model)
      if let failure = model.difference(id, content.bytes, target.results.bytes, 0) { throw failure }
    }
  }

  /// The power went between two operations.
  func recoverNow() throws(StressFailure) { try recover(inFlight: nil) }

  /// `hasFailed`: the operation was answered with an error of the device before the power went.
  private func recover(
    inFlight: (operation: Operation, expectation: Expectation)?, hasFailed: Bool = false
  ) throws(StressFailure) {
    try target.recover(seed: crashSeed)
    counts.crashes += 1
    let observed = try target.observe(model)
    let sealed = sealedMaps.filter { model.seals[$0.key] != nil }
    let completed = model.history?.operations ?? 0
    if let inFlight { model.commitInFlight(inFlight.operation, inFlight.expectation, observed) }
    model.loseHandles()
    let shown = try model.judge(observed, lastIsInFlight: inFlight != nil)
    // Of an operation that failed, a commit may have made the first part durable: a set-id bit that goes ahead of bytes
    // which could not be written, say.
    let changes = hasFailed ? min(shown, completed) : shown
    for (id, node) in observed.nodes.sorted(by: { $0.key < $1.key }) where node.kind == .file {
      try target.readWhole(id, size: Int(node.size), model)
      guard target.results.count == Int(node.size) else {
        throw StressFailure(.crashContents, "inode \(id): read \(target.results.count) of \(node.size) bytes")
      }
      if let failure = model.judge(id, target.results.bytes, after: changes) { throw failure }
      model.adopt(id, target.results.bytes)
    }
    for (id, node) in observed.nodes.sorted(by: { $0.key < $1.key }) where node.kind == .file {
      let found = target.persistentSeals(of: id, model)
      if let failure = model.judgePersistent(found, of: id, inFlight: inFlight?.operation) { throw failure }
      model.adoptPersistent(found, of: id)
      guard let granted = sealed[id], let map = target.map(of: id, model) else { continue }
      // Recovery may trim what nothing holds any more behind the end of the file.
      let limit = model.seals[id] == nil ? node.size : UInt64.max
      guard map.clipped(to: limit) == granted.clipped(to: limit) else { throw Self.mapChanged(id, granted, map) }
    }
    model.adopt(observed)
    sealedMaps = [:]
    for id in model.seals.keys.sorted() { sealedMaps[id] = target.map(of: id, model) }
  }

  /// Runs `body`, putting `index` into its failure unless a step did.
  func located(at index: Int, _ body: () throws(StressFailure) -> Void) throws(StressFailure) {
    do {
      try body()
    } catch {
      var failure = error
      if failure.operation == nil { failure.index = index }
      throw failure
    }
  }

  /// The end of a run: everything compared, once as it is and, where the target can, once after a remount; and
  /// the target's own checks.
  func finish(index: Int, remounting: Bool) throws(StressFailure) {
    try located(at: index) { () throws(StressFailure) in
      target.keepPower()
      try compareWhole()
      if remounting { try remount() }
      try target.finalCheck()
    }
  }
}

extension UnsafeRawBufferPointer {
  /// Equality by memcmp.
  func elementsEqualQuickly(_ other: UnsafeRawBufferPointer) -> Bool {
    count == other.count && (count == 0 || memcmp(baseAddress!, other.baseAddress!, count) == 0)
  }
}
