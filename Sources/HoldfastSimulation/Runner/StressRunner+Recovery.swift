/// Remounts and crashes, and the comparison of everything.

import Glibc

extension StressRunner {
  /// Closes every handle: what an unmount needs.
  func closeAll() throws(StressFailure) {
    for slot in model.handles.indices where model.handles[slot] != nil { try perform(.close(handle: slot)) }
    for slot in 0..<ModelFilesystem.processSlots { try perform(.endProcess(process: slot)) }
  }

  func remount() throws(StressFailure) {
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
    grants = grants.filter { grant in model.seals.values.contains { $0.contains { $0.serial == grant.key } } }
    for id in model.seals.keys.sorted() {
      if let map = target.map(of: id, model) { try compareGrants(of: id, map, isNewMount: true) }
      try checkCount(id)
    }
    seenMaps = seenMaps.filter { model.seals[$0.key] != nil }
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
  func recover(
    inFlight: (operation: Operation, expectation: Expectation)?, hasFailed: Bool = false
  ) throws(StressFailure) {
    try target.recover(seed: crashSeed)
    counts.crashes += 1
    let observed = try target.observe(model)
    let completed = model.history?.operations ?? 0
    if let inFlight {
      if inFlight.expectation.refusal.isEmpty { endOwn(inFlight.operation, inFlight.expectation) }
      model.commitInFlight(inFlight.operation, inFlight.expectation, observed)
    }
    let sealed = model.seals
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
      guard let seals = sealed[id], let map = target.map(of: id, model) else { continue }
      for seal in seals {
        guard let granted = grants[seal.serial] else { continue }
        // Recovery may trim what nothing holds any more behind the end of the file.
        let limit = model.seals[id]?.contains { $0.serial == seal.serial } == true ? UInt64.max : node.size
        let now = ObservedMap(generation: map.generation, extents: map.within(seal.blocks))
        guard now.clipped(to: limit) == granted.map.clipped(to: limit), map.generation > granted.map.generation else {
          throw mapChanged(id, seal, granted.map, map)
        }
      }
    }
    model.adopt(observed)
    grants = [:]
    seenMaps = [:]
    for id in model.seals.keys.sorted() {
      if let map = target.map(of: id, model) { try compareGrants(of: id, map, isNewMount: true) }
    }
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
