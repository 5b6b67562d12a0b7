/// Requests and the maps they hold, around every operation.

import Glibc

/// What a request was granted.
struct Grant {
  /// Of its scope.
  var map: ObservedMap
}

extension StressRunner {
  /// Operations between looks at the maps of files that an operation is not about.
  private var otherMapsEvery: Int { 4 }

  /// While a request stands nothing of its scope changes: compared with what was granted.
  func checkSealedMaps(_ operation: Operation) throws(StressFailure) {
    if model.seals.isEmpty {
      grants = [:]
      seenMaps = [:]
      model.withdrawn = []
      return
    }
    looks += 1
    let isAll = looks % otherMapsEvery == 0 || operation.concernsSeals
    let own = model.subject(of: operation)
    for id in model.seals.keys.sorted()
    where isAll || id == own || model.seals[id]!.contains(where: { grants[$0.serial] == nil }) {
      if let map = target.map(of: id, model) { try compareGrants(of: id, map, isNewMount: false) }
    }
    if looks % 256 == 0 {
      let standing = Set(model.seals.values.joined().map(\.serial))
      grants = grants.filter { standing.contains($0.key) }
      seenMaps = seenMaps.filter { model.seals[$0.key] != nil }
      model.withdrawn.formIntersection(model.seals.keys)
    }
  }

  /// `isNewMount`: the generation must have moved on (row 29).
  func compareGrants(of id: NodeID, _ map: ObservedMap, isNewMount: Bool) throws(StressFailure) {
    if let seen = seenMaps[id] {
      let mustMove = isNewMount || seen.extents != map.extents
      guard mustMove ? map.generation > seen.generation : map.generation >= seen.generation else {
        throw StressFailure(
          .sealedMap, "the generation of inode \(id) did not move on\n  from \(seen)\n  to   \(map)")
      }
    }
    seenMaps[id] = map
    // A grant that is withdrawn moves the generation on, and only that.
    let isWithdrawn = model.withdrawn.remove(id) != nil
    for seal in model.seals[id] ?? [] {
      let now = ObservedMap(generation: map.generation, extents: map.within(seal.blocks))
      if let granted = grants[seal.serial] {
        counts.mapChecks += 1
        let keepsGeneration = seal.blocks == nil && !isWithdrawn && !isNewMount
        guard now.extents == granted.map.extents, !keepsGeneration || now.generation == granted.map.generation else {
          throw mapChanged(id, seal, granted.map, map)
        }
      }
      grants[seal.serial] = Grant(map: now)
    }
  }

  func mapChanged(_ id: NodeID, _ seal: ModelSeal, _ granted: ObservedMap, _ now: ObservedMap) -> StressFailure {
    StressFailure(.sealedMap, "the map of inode \(id) changed under \(seal)\n  from \(granted)\n  to   \(now)")
  }

  // MARK: Requests

  /// What an operation did to the requests in its way.
  func noteRequests(_ operation: Operation, _ expectation: Expectation, _ outcome: Outcome) {
    // Less than asked for was done: then the next request of it met them.
    if outcome.errno == EAGAIN || (outcome.errno == 0 && !expectation.refusal.isEmpty) {
      if let id = model.subject(of: operation) { counts.recalls += model.recall(expectation.recalled, of: id) }
      // The first request of it may have met nothing but what is its own, and ended that.
      if outcome.errno == 0 { adoptEndOfOwn(operation, expectation) }
    } else if outcome.errno == 0 {
      endOwn(operation, expectation)
    } else {
      adoptEndOfOwn(operation, expectation)
    }
  }

  /// Row 26.
  func endOwn(_ operation: Operation, _ expectation: Expectation) {
    guard !expectation.endsOwn.isEmpty, let id = model.subject(of: operation) else { return }
    let own = expectation.endsOwn.map(\.serial)
    model.endSeals(of: id) { own.contains($0.serial) }
  }

  /// The operation failed for a reason of its own: its holder's lease may have ended before that, or not.
  func adoptEndOfOwn(_ operation: Operation, _ expectation: Expectation) {
    guard !expectation.endsOwn.isEmpty, let id = model.subject(of: operation) else { return }
    let left = (model.seals[id]?.count ?? 0) - expectation.endsOwn.count
    if target.sealCount(of: id, expecting: left, model) == left { endOwn(operation, expectation) }
  }

  func noteFence(before: [NodeID: [ModelSeal]]) {
    let fenced = before.values.joined().filter(\.isRecalled)
    counts.fences += fenced.count
    // A persistent one's record goes before anything that may change the map; until the next commit a crash may show it again.
    for (id, seals) in before where seals.contains(where: { $0.isRecalled && $0.isPersistent }) {
      model.doubtfulSeals[id] = seals
    }
  }

  /// What taking a request promises about the map (rule 4), and the number of standing requests.
  func checkSeals(
    _ operation: Operation, _ outcome: Outcome, before: [NodeID: [ModelSeal]]
  ) throws(StressFailure) {
    if let (id, spec) = model.subject(ofSeal: operation), let node = model.node(id), let map = target.map(of: id, model)
    {
      let isPlain = TruthTable.isSealable(map, size: node.size, spec.blocks)
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
    if let id = model.subject(of: operation) { concerned.insert(id) }
    for id in concerned where model.node(id) != nil { try checkCount(id) }
  }

  func checkCount(_ id: NodeID) throws(StressFailure) {
    let expected = model.seals[id]?.count ?? 0
    if let found = target.sealCount(of: id, expecting: expected, model), found != expected {
      let standing = (model.seals[id] ?? []).map { "\($0)" }.joined(separator: ", ")
      throw StressFailure(.seal, "inode \(id) has \(found) requests, expected \(expected): \(standing)")
    }
  }
}
