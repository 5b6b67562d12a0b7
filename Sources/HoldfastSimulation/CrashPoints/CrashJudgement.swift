/// Whether a crash may leave a recovered volume.

/// What was promised at the moment of a crash.
struct CrashPromise {
  /// Before the operation in flight; with its effects, if it has any to leave half done.
  let model: ModelFilesystem
  /// Its last operation may be half done.
  let lastIsInFlight: Bool
  let operation: Operation?
  /// Maps of sealed files as they were granted.
  let sealedMaps: [NodeID: ObservedMap]

  /// Nothing was going on.
  init(standing model: ModelFilesystem, sealedMaps: [NodeID: ObservedMap]) {
    self.model = model
    self.sealedMaps = sealedMaps
    lastIsInFlight = false
    operation = nil
  }

  /// `operation` was going on; `outcome` is what it would have come to. `model` is the state before and taken over.
  init(
    during operation: Operation, _ outcome: Outcome, before model: ModelFilesystem,
    sealedMaps: [NodeID: ObservedMap]
  ) {
    self.model = model
    self.operation = operation
    self.sealedMaps = sealedMaps
    let before = model.history?.operations
    if operation.leavesEffects, outcome.errno == 0 {
      model.commit(operation, outcome)
      model.endOperation()
    }
    lastIsInFlight = model.history?.operations != before
  }

  /// - Throws: what a crash must not leave.
  func judge(_ volume: RecoveredVolume) throws(StressFailure) {
    let changes = try model.judge(volume.metadata, lastIsInFlight: lastIsInFlight)
    for (id, bytes) in volume.contents.sorted(by: { $0.key < $1.key }) {
      let failure = bytes.withUnsafeBytes { model.judge(id, $0, after: changes) }
      if let failure { throw failure }
      let seals = volume.persistentSeals[id] ?? []
      if let failure = model.judgePersistent(seals, of: id, inFlight: operation) { throw failure }
      if let count = volume.sealCounts[id], count != seals.count {
        throw StressFailure(
          .seal, "inode \(id) has \(count) requests after the crash, \(seals.count) of them persistent")
      }
      guard model.seals[id] != nil, let granted = sealedMaps[id], let map = volume.maps[id] else { continue }
      // What nothing holds any more behind the end of the file may go.
      let limit = seals.isEmpty ? volume.metadata.nodes[id]?.size ?? 0 : UInt64.max
      guard map.clipped(to: limit) == granted.clipped(to: limit) else {
        throw StressFailure(.sealedMap, "the map of sealed inode \(id) was \(granted), and is \(map) after the crash")
      }
    }
  }
}

extension Operation {
  /// Whether a crash in it may leave effects that the model takes over with `commit`: a sync only makes durable, and
  /// what becomes of requests is judged by itself.
  fileprivate var leavesEffects: Bool {
    switch self {
    case .sync, .syncDirectory, .syncAll, .seal, .sealNamed, .unseal, .unsealNamed, .remount, .housekeep,
      .resize:
      false
    default: true
    }
  }
}
