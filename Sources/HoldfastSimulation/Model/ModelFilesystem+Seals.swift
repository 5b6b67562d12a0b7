/// Seals in the model: who holds what, what taking and releasing must answer (rules 2, 4, 10; rows 20, 24–27).

import Glibc

extension ModelFilesystem {
  /// Ends the requests of a file that `condition` picks.
  func endSeals(of id: NodeID, where condition: (ModelSeal) -> Bool) {
    guard var standing = seals[id] else { return }
    standing.removeAll(where: condition)
    seals[id] = standing.isEmpty ? nil : standing
  }

  /// Remount or crash: all go, save the persistent ones.
  func endTemporarySeals() {
    for id in Array(seals.keys) {
      endSeals(of: id) { if case .persistent = $0.holder { false } else { true } }
    }
  }

  func expectSeal(_ operation: Operation, _ map: (NodeID) -> ObservedMap) -> Expectation? {
    switch operation {
    case .seal(let slot, let name, let spec):
      guard let handle = handle(slot), !spec.persistent else { return nil }
      return expectTaking(handle, spec) { $0.name == name && $0.holder == .handle(handle.serial) }
    case .sealNamed(let slot, let user, let name, let spec):
      guard let handle = handle(slot) else { return nil }
      return expectTaking(handle, spec) { $0.isOf(user: Names.user(user), name: name) }
    case .sealProcess(let slot, let name, let process, let spec):
      guard let handle = handle(slot), !spec.persistent, (0..<Self.processSlots).contains(process) else { return nil }
      return expectTaking(handle, spec) { $0.isOf(user: 0, name: name) }
    case .sealTimed(let slot, let name, let spec):
      guard let handle = handle(slot), handle.access.contains(.write), !spec.persistent, !spec.createOnly,
        spec.preparation != .fill
      else { return nil }
      return expectTaking(handle, spec) { $0.isOf(user: 0, name: name) }
    case .unseal(let slot, let name):
      guard let handle = handle(slot) else { return nil }
      return expectRelease(handle.node, name) { $0.name == name && $0.holder == .handle(handle.serial) }
    case .unsealNamed(let slot, let user, let name):
      guard let handle = handle(slot) else { return nil }
      return expectRelease(handle.node, name) { $0.isOf(user: Names.user(user), name: name) }
    case .endProcess(let process): return (0..<Self.processSlots).contains(process) ? .success : nil
    case .holderExit(let at, let spec, _):
      guard case .found(let id) = lookup(at), let node = node(id), node.kind == .file, !spec.persistent,
        spec.preparation != .fill
      else { return nil }
      return Expectation(tolerated: spec.preparation == .strict ? [EINVAL] : [])
    default: return nil
    }
  }

  /// What the map says decides after the fact (`checkSeal`): taking a seal may itself make the map durable and plain.
  private func expectTaking(
    _ handle: ModelHandle, _ spec: SealSpec, _ isSame: (ModelSeal) -> Bool
  ) -> Expectation? {
    guard node(handle.node)?.kind == .file else { return nil }
    let standing = seals[handle.node] ?? []
    if spec.createOnly && standing.contains(where: isSame) {
      return .refused([EEXIST, EINVAL, ETXTBSY])
    }
    switch spec.preparation {
    case .strict: return Expectation(tolerated: [EINVAL])
    case .fill: return Expectation(tolerated: standing.isEmpty ? [] : [ETXTBSY])
    case .asIs: return .success
    }
  }

  private func expectRelease(_ id: NodeID, _ name: Int, _ isMine: (ModelSeal) -> Bool) -> Expectation {
    let standing = seals[id] ?? []
    if standing.contains(where: isMine) { return .success }
    // Row 24: nobody's. Row 25: somebody else's; whether one of another name makes it so, the table leaves open.
    if standing.isEmpty { return .refused([ENODATA]) }
    return .refused(standing.contains { $0.name == name } ? [EPERM] : [ENODATA, EPERM])
  }

  func commitSeal(_ operation: Operation) {
    switch operation {
    case .seal(let slot, let name, _):
      guard let handle = handle(slot) else { return }
      take(ModelSeal(holder: .handle(handle.serial), name: name), on: handle.node) {
        $0.name == name && $0.holder == .handle(handle.serial)
      }
    case .sealNamed(let slot, let user, let name, let spec):
      guard let handle = handle(slot) else { return }
      let uid = Names.user(user)
      take(ModelSeal(holder: spec.persistent ? .persistent(uid) : .user(uid), name: name), on: handle.node) {
        $0.isOf(user: uid, name: name)
      }
    case .sealProcess(let slot, let name, let process, _):
      guard let handle = handle(slot) else { return }
      take(ModelSeal(holder: .process(process, user: 0), name: name), on: handle.node) {
        $0.isOf(user: 0, name: name)
      }
    case .unseal(let slot, let name):
      guard let handle = handle(slot) else { return }
      endSeals(of: handle.node) { $0.name == name && $0.holder == .handle(handle.serial) }
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
      allDurable()
    case .holderExit: allDurable()
    default: break
    }
  }

  private func take(_ seal: ModelSeal, on id: NodeID, replacing isSame: (ModelSeal) -> Bool) {
    // Everything is durable before a grant (rule 4).
    allDurable()
    seals[id, default: []].removeAll(where: isSame)
    seals[id, default: []].append(seal)
  }
}
