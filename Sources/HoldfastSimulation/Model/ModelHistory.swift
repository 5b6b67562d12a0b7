/// What the model must remember to judge a crash: the metadata that is certainly durable, and the effects of
/// every operation since, in order. The filesystem commits all its metadata together, so what it recovers must
/// be the durable metadata with some prefix of those operations.

struct ModelHistory {
  private(set) var durable: ModelMetadata
  private var effects: [ModelMetadata.Effect] = []
  /// Where each operation's effects end.
  private var ends: [Int] = []
  /// Nodes that went away since: their contents are kept, a crash may bring them back.
  private(set) var doomed: [NodeID] = []

  init(durable: ModelMetadata) { self.durable = durable }

  var operations: Int { ends.count }

  mutating func note(_ effect: ModelMetadata.Effect) {
    effects.append(effect)
    if case .drop(let id) = effect { doomed.append(id) }
  }

  /// The operation whose effects were noted is complete.
  mutating func endOperation() {
    if effects.count > (ends.last ?? 0) { ends.append(effects.count) }
  }

  /// Everything so far is durable. Returns the nodes that are gone for good.
  mutating func makeDurable() -> [NodeID] {
    for effect in effects { durable.apply(effect) }
    effects.removeAll(keepingCapacity: true)
    ends.removeAll(keepingCapacity: true)
    let gone = doomed
    doomed.removeAll(keepingCapacity: true)
    return gone
  }

  /// How a recovered filesystem relates to this history.
  enum Verdict: Equatable {
    /// It is the state after this many operations since the last durable one.
    case prefix(Int)
    /// It is no such state; the closest one lies after `operations` and differs so.
    case impossible(closest: Int, String)
  }

  /// Judges `observed`. The last `inFlight` operation may be half done as far as a file's size goes: a long
  /// write may have been cut between two of its commits.
  func judge(_ observed: ModelMetadata, lastIsInFlight: Bool) -> Verdict {
    var state = durable
    var wrong: Set<NodeID> = []
    for id in Set(state.nodes.keys).union(observed.nodes.keys) where !Self.agree(id, state, observed) {
      wrong.insert(id)
    }
    var best = (wrong: wrong.count, operations: 0)
    if wrong.isEmpty { return .prefix(0) }
    var start = 0
    for (index, end) in ends.enumerated() {
      let before = state
      for effect in effects[start..<end] {
        state.apply(effect)
        var changed = [effect.node]
        if case .enter(_, _, let node) = effect { changed.append(node) }
        for id in changed {
          if Self.agree(id, state, observed) { wrong.remove(id) } else { wrong.insert(id) }
        }
      }
      start = end
      if wrong.isEmpty { return .prefix(index + 1) }
      if wrong.count < best.wrong { best = (wrong.count, index + 1) }
      if lastIsInFlight, index == ends.count - 1, Self.liesBetween(before, state, observed, wrong) {
        // Not all of it: what came before is all that is certain.
        return .prefix(index)
      }
    }
    let closest = metadata(after: best.operations).withoutOrphans
    return .impossible(closest: best.operations, closest.difference(from: observed) ?? "an orphan is visible")
  }

  /// The metadata after `operations` of this history.
  func metadata(after operations: Int) -> ModelMetadata {
    var state = durable
    for effect in effects[..<(operations == 0 ? 0 : ends[operations - 1])] { state.apply(effect) }
    return state
  }

  private static func agree(_ id: NodeID, _ state: ModelMetadata, _ observed: ModelMetadata) -> Bool {
    var expected = state.nodes[id]
    if let node = expected, node.links == 0, id != state.root { expected = nil }
    return expected == observed.nodes[id]
  }

  private static func liesBetween(
    _ before: ModelMetadata, _ after: ModelMetadata, _ observed: ModelMetadata, _ wrong: Set<NodeID>
  ) -> Bool {
    guard wrong.count == 1, let id = wrong.first, let from = before.nodes[id], let to = after.nodes[id],
      let found = observed.nodes[id]
    else { return false }
    var expected = to
    expected.size = found.size
    return expected == found && found.size >= min(from.size, to.size) && found.size <= max(from.size, to.size)
  }
}
