/// Seals in the model: who holds what, what taking and releasing must answer (rules 2, 4, 10; rows 20, 21, 24–28).

import Glibc

extension ModelFilesystem {
  /// Ends the requests of a file that `condition` picks.
  func endSeals(of id: NodeID, where condition: (ModelSeal) -> Bool) {
    guard var standing = seals[id] else { return }
    standing.removeAll(where: condition)
    seals[id] = standing.isEmpty ? nil : standing
  }

  /// The same against their holders' will: their handles are stale from now on (row 28).
  func takeAway(of id: NodeID, where condition: (ModelSeal) -> Bool) {
    let taken = (seals[id] ?? []).filter(condition)
    guard !taken.isEmpty else { return }
    withdrawn.insert(id)
    for case .handle(let serial) in taken.map(\.holder) { staleHandles.insert(serial) }
    endSeals(of: id, where: condition)
  }

  /// Remount or crash: all go, save the persistent ones, which nobody has asked for yet (row 29).
  func endTemporarySeals() {
    staleHandles = []
    awaited = nil
    for id in Array(seals.keys) {
      endSeals(of: id) { !$0.isPersistent }
      seals[id] = seals[id]?.map {
        var seal = $0
        seal.isRecalled = false
        return seal
      }
    }
  }

  // MARK: Meeting requests

  /// What a change by `handle` (nil: by name) meets.
  func judge(_ id: NodeID, _ change: ModelChange, by handle: ModelHandle?) -> SealVerdict {
    TruthTable.judge(change, seals[id] ?? []) { isOwn($0, handle) }
  }

  /// Row 26: same handle, same process; a named request is never "own".
  private func isOwn(_ seal: ModelSeal, _ handle: ModelHandle?) -> Bool {
    switch seal.holder {
    case .handle(let serial): serial == handle?.serial
    case .process(let slot, _): slot + 1 == actingProcess
    case .user, .persistent: false
    }
  }

  /// `expectation` where the requests leave it at that.
  func under(_ verdict: SealVerdict, _ expectation: Expectation = .success) -> Expectation {
    var expectation = expectation
    if verdict.isRefused {
      expectation.refusal.insert(ETXTBSY)
    } else {
      if !verdict.recalled.isEmpty { expectation.refusal.insert(EAGAIN) }
      expectation.recalled = verdict.recalled
      expectation.endsOwn = verdict.endsOwn
    }
    return expectation
  }

  /// These are asked to let go. Returns how many were not asked before.
  @discardableResult
  func recall(_ asked: [ModelSeal], of id: NodeID) -> Int {
    guard var standing = seals[id] else { return 0 }
    var fresh = 0
    for index in standing.indices where asked.contains(where: { $0.serial == standing[index].serial }) {
      if !standing[index].isRecalled { fresh += 1 }
      standing[index].isRecalled = true
    }
    seals[id] = standing
    return fresh
  }

  /// Row 17: nobody waits, but the holders are asked.
  func recallAll(of id: NodeID) { recall((seals[id] ?? []).filter(\.isBreakable), of: id) }

  /// Row 21: no new request now.
  func isRecallInFlight(_ id: NodeID) -> Bool { awaited == id || (seals[id] ?? []).contains(where: \.isRecalled) }

  // MARK: Taking and releasing

  func expectSeal(_ operation: Operation, _ map: (NodeID) -> ObservedMap) -> Expectation? {
    switch operation {
    case .seal(let slot, let name, let spec):
      guard let handle = handle(slot), !spec.persistent else { return nil }
      if staleHandles.contains(handle.serial) { return .refused([ESTALE, EINVAL]) }
      return expectTaking(handle, spec, own: handle, map) {
        $0.isOf(handle: handle.serial, name: name, blocks: spec.blocks)
      }
    case .sealNamed(let slot, let user, let name, let spec):
      guard let handle = handle(slot) else { return nil }
      return expectTaking(handle, spec, own: nil, map) { $0.isOf(user: Names.user(user), name: name) }
    case .sealProcess(let slot, let name, let process, let spec):
      guard let handle = handle(slot), !spec.persistent, (0..<Self.processSlots).contains(process) else { return nil }
      return expectTaking(handle, spec, own: nil, map) { $0.isOf(user: 0, name: name) }
    case .sealTimed(let slot, let name, let spec):
      guard let handle = handle(slot), handle.access.contains(.write), !spec.persistent, !spec.createOnly,
        spec.preparation != .fill, !spec.breakable, spec.range == nil
      else { return nil }
      return expectTaking(handle, spec, own: nil, map) { $0.isOf(user: 0, name: name) }
    case .unseal(let slot, let name): return expectHandleRelease(slot, name, nil)
    case .unpin(let slot, let name, let range):
      guard !range.isEmpty else { return nil }
      return expectHandleRelease(slot, name, SealSpec(.strict, range: range).blocks)
    case .unsealNamed(let slot, let user, let name):
      guard let handle = handle(slot) else { return nil }
      return expectRelease(handle.node, name, nil) { $0.isOf(user: Names.user(user), name: name) }
    case .endProcess(let process): return (0..<Self.processSlots).contains(process) ? .success : nil
    case .holderExit(let at, let spec, _):
      guard case .found(let id) = lookup(at), let node = node(id), node.kind == .file, !spec.persistent,
        spec.preparation != .fill
      else { return nil }
      if isRecallInFlight(id) { return .refused(spec.preparation == .strict ? [EAGAIN, EINVAL] : [EAGAIN]) }
      return Expectation(tolerated: spec.preparation == .strict ? [EINVAL] : [])
    case .fence: return .success
    case .revoke(let slot): return handle(slot) == nil ? nil : .success
    case .become(let process): return (0...Self.processSlots).contains(process) ? .success : nil
    default: return nil
    }
  }

  /// What the map says of a strict request decides after the fact (`checkSeals`): taking it makes the map durable first.
  private func expectTaking(
    _ handle: ModelHandle, _ spec: SealSpec, own: ModelHandle?, _ map: (NodeID) -> ObservedMap,
    _ isSame: (ModelSeal) -> Bool
  ) -> Expectation? {
    guard let node = node(handle.node), node.kind == .file else { return nil }
    let standing = seals[handle.node] ?? []
    if isRecallInFlight(handle.node) {
      return .refused(spec.preparation == .asIs && !spec.createOnly ? [EAGAIN] : [EAGAIN, EINVAL, ETXTBSY, EEXIST])
    }
    if spec.createOnly && standing.contains(where: isSame) {
      return .refused([EEXIST, EINVAL, ETXTBSY])
    }
    switch spec.preparation {
    case .strict: return Expectation(tolerated: [EINVAL])
    case .asIs: return .success
    case .fill:
      // What lies behind the end is not filled, and would then be no plain block.
      if let blocks = spec.blocks, blocks.upperBound > TruthTable.blocks(0..<node.size).upperBound { return nil }
      return under(judge(handle.node, TruthTable.filling(map(handle.node), size: node.size, spec.blocks), by: own))
    }
  }

  private func expectHandleRelease(_ slot: Int, _ name: Int, _ blocks: Range<UInt64>?) -> Expectation? {
    guard let handle = handle(slot) else { return nil }
    return expectRelease(handle.node, name, handle) { $0.isOf(handle: handle.serial, name: name, blocks: blocks) }
  }

  /// `own`: by which handle, where one is bound to it.
  private func expectRelease(
    _ id: NodeID, _ name: Int, _ own: ModelHandle?, _ isMine: (ModelSeal) -> Bool
  ) -> Expectation {
    let standing = seals[id] ?? []
    if standing.contains(where: isMine) { return .success }
    if let own, staleHandles.contains(own.serial) { return .refused([ESTALE]) }
    // Row 24: nobody's. Row 25: somebody else's; whether one of another name, or another pin of the same handle, makes it
    // so, the table leaves open.
    if standing.isEmpty { return .refused([ENODATA]) }
    let isOthers = standing.contains { $0.name == name && $0.holder != own.map { .handle($0.serial) } }
    return .refused(isOthers ? [EPERM] : [ENODATA, EPERM])
  }

  func commitSeal(_ operation: Operation) {
    switch operation {
    case .seal(let slot, let name, let spec):
      guard let handle = handle(slot) else { return }
      take(.handle(handle.serial), name, spec, on: handle.node) {
        $0.isOf(handle: handle.serial, name: name, blocks: spec.blocks)
      }
    case .sealNamed(let slot, let user, let name, let spec):
      guard let handle = handle(slot) else { return }
      let uid = Names.user(user)
      take(spec.persistent ? .persistent(uid) : .user(uid), name, spec, on: handle.node) {
        $0.isOf(user: uid, name: name)
      }
    case .sealProcess(let slot, let name, let process, let spec):
      guard let handle = handle(slot) else { return }
      take(.process(process, user: 0), name, spec, on: handle.node) { $0.isOf(user: 0, name: name) }
    case .unseal(let slot, let name):
      guard let handle = handle(slot) else { return }
      endSeals(of: handle.node) { $0.isOf(handle: handle.serial, name: name, blocks: nil) }
    case .unpin(let slot, let name, let range):
      guard let handle = handle(slot) else { return }
      let blocks = SealSpec(.strict, range: range).blocks
      endSeals(of: handle.node) { $0.isOf(handle: handle.serial, name: name, blocks: blocks) }
    case .unsealNamed(let slot, let user, let name):
      guard let handle = handle(slot) else { return }
      endSeals(of: handle.node) { $0.isOf(user: Names.user(user), name: name) }
    case .endProcess(let process):
      for id in Array(seals.keys) {
        endSeals(of: id) { if case .process(process, _) = $0.holder { true } else { false } }
      }
    case .sealTimed(let slot, let name, _):
      guard let handle = handle(slot) else { return }
      // It took the place of what stood by its name, and went.
      endSeals(of: handle.node) { $0.isOf(user: 0, name: name) }
      withdrawn.insert(handle.node)
      allDurable()
    case .holderExit: allDurable()
    case .fence:
      for id in Array(seals.keys) { takeAway(of: id, where: \.isRecalled) }
    case .revoke(let slot):
      if let handle = handle(slot) { takeAway(of: handle.node) { _ in true } }
    case .become(let process): actingProcess = process
    default: break
    }
  }

  private func take(
    _ holder: ModelSeal.Holder, _ name: Int, _ spec: SealSpec, on id: NodeID, replacing isSame: (ModelSeal) -> Bool
  ) {
    // Everything is durable before a grant (rule 4).
    allDurable()
    var seal = ModelSeal(holder: holder, name: name, isBreakable: spec.breakable, blocks: spec.blocks)
    seal.serial = nextSealSerial
    nextSealSerial += 1
    seals[id, default: []].removeAll(where: isSame)
    seals[id, default: []].append(seal)
  }
}
