/// After a power cut: whether what was recovered is something a crash may leave, and taking it as the truth.

extension ModelFilesystem {
  /// All handles are gone, as after a power cut; their files without names are judged as orphans.
  func loseHandles() {
    for slot in handles.indices { handles[slot] = nil }
  }

  /// Takes over the operation the power cut interrupted, as if it had been done. The number of an inode it made
  /// is taken from what was recovered.
  func commitInFlight(_ operation: Operation, _ expectation: Expectation, _ observed: ModelMetadata) {
    guard expectation.refusal.isEmpty else { return }
    var value = expectation.value ?? 0
    switch operation {
    case .create(let at, _, _), .makeDirectory(let at, _), .symlink(let at, _, _):
      let found = directory(at.directory).flatMap { observed.nodes[$0]?.entries[at.name] }
      value = found.flatMap { metadata.nodes[$0] == nil ? $0 : nil } ?? UInt64.max
    case .sync, .syncDirectory, .syncAll, .seal, .sealNamed, .sealProcess, .sealTimed, .unseal, .unpin, .unsealNamed,
      .endProcess, .holderExit, .fence, .revoke, .become:
      return
    case .open(_, _, let access) where !access.contains(.truncate): return
    default: break
    }
    commit(operation, .done(value))
    endOperation()
  }

  /// Judges recovered metadata: after how many changes since the last sync it is, the fewest where several fit.
  /// - Throws: when no crash may leave it.
  func judge(_ observed: ModelMetadata, lastIsInFlight: Bool) throws(StressFailure) -> Int {
    guard let history else { return 0 }
    switch history.judge(observed, lastIsInFlight: lastIsInFlight) {
    case .prefix(let changes): return changes
    case .impossible(let closest, let difference):
      throw StressFailure(
        .crashMetadata,
        "recovered metadata is no state since the last durable one; the closest is after \(closest) of \(history.operations) changes: \(difference)"
      )
    }
  }

  /// Judges the recovered bytes of one file beside metadata after `changes`; nil when a crash may leave them.
  func judge(_ id: NodeID, _ observed: UnsafeRawBufferPointer, after changes: Int) -> StressFailure? {
    guard let content = contents[id] else {
      return observed.isEmpty ? nil : StressFailure(.crashContents, "inode \(id) has bytes nobody wrote")
    }
    guard let at = content.firstImpossible(observed, at: 0, after: changes) else { return nil }
    let newest = at < content.count ? ByteReport.hex(content.bytes, around: at) : "beyond its newest end"
    return StressFailure(
      .crashContents,
      "inode \(id) at offset \(at) of \(observed.count): neither the newest bytes nor any a crash after \(changes) changes may leave\n"
        + "  newest \(newest)\(at < content.count ? ByteReport.owner(content.bytes, at, 0) : "")\n"
        + "  found  \(ByteReport.hex(observed, around: at))\(ByteReport.owner(observed, at, 0))")
  }

  /// What a crash left of a file is the truth from now on.
  func adopt(_ id: NodeID, _ observed: UnsafeRawBufferPointer) {
    let content = contents[id] ?? ModelContent(clock: clock)
    content.adopt(observed)
    contents[id] = content
  }

  /// The recovered metadata is the truth from now on. Contents were adopted before.
  func adopt(_ observed: ModelMetadata) {
    metadata = observed
    for id in Array(contents.keys) where observed.nodes[id]?.kind != .file { contents[id] = nil }
    for slot in directories.indices {
      if let id = directories[slot], observed.nodes[id]?.kind != .directory { directories[slot] = nil }
    }
    // A directory whose removal the crash took back is to be reached again.
    let lost = observed.nodes.filter { $0.value.kind == .directory && !directories.contains($0.key) }.keys.sorted()
    for id in lost {
      if let slot = directories.firstIndex(of: nil) { directories[slot] = id }
    }
    endTemporarySeals()
    doomedSeals = [:]
    doubtfulSeals = [:]
    for id in Array(seals.keys) where observed.nodes[id] == nil { seals[id] = nil }
    if history != nil { history = ModelHistory(durable: observed) }
    clock?.changes = 0
  }

  /// Takes over the persistent requests a crash left; those that stood before keep their serials.
  func adoptPersistent(_ found: [ModelSeal], of id: NodeID) {
    let standing = seals[id] ?? doomedSeals[id] ?? []
    let adopted = found.map { seal in
      var seal = seal
      if let same = standing.first(where: { $0.restored == seal.restored }) {
        seal.serial = same.serial
      } else {
        seal.serial = nextSealSerial
        nextSealSerial += 1
      }
      return seal
    }
    seals[id] = adopted.isEmpty ? nil : adopted
  }

  /// Holds the persistent requests a crash left against those that must and may be there; nil when it may leave them.
  func judgePersistent(_ found: [ModelSeal], of id: NodeID, inFlight: Operation?) -> StressFailure? {
    let found = found.map(\.restored)
    let standing = (seals[id] ?? doomedSeals[id] ?? []).filter(\.isPersistent)
    for seal in standing where !found.contains(seal.restored) && !ends(inFlight, seal, of: id) {
      return StressFailure(.seal, "inode \(id): the persistent request \(seal) did not survive")
    }
    let known = (standing + (doubtfulSeals[id] ?? [])).map(\.restored)
    for seal in found where !known.contains(seal) && !Self.takes(inFlight, seal) {
      return StressFailure(.seal, "inode \(id): the persistent request \(seal) came from nowhere")
    }
    return nil
  }

  private static func takes(_ operation: Operation?, _ seal: ModelSeal) -> Bool {
    guard case .sealNamed(_, let user, let name, let spec) = operation, spec.persistent else { return false }
    return seal.isOf(user: Names.user(user), name: name)
  }

  private func ends(_ operation: Operation?, _ seal: ModelSeal, of id: NodeID) -> Bool {
    switch operation {
    case .unsealNamed(_, let user, let name), .sealNamed(_, let user, let name, _):
      seal.isOf(user: Names.user(user), name: name)
    case .sealProcess(_, let name, _, _), .sealTimed(_, let name, _): seal.isOf(user: 0, name: name)
    case .fence: seal.isRecalled
    case .revoke: true
    default: false
    }
  }
}
