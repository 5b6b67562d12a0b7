/// Taking and releasing requests of every kind, scope and lifetime, drawn.

extension OperationGenerator {
  /// Sealed files, and requests on one of them, at a time: more would leave little that can be changed.
  private static let sealedFiles = 5
  private static let requestsOfAFile = 9

  mutating func makeSeal(_ kind: Kind, _ model: ModelFilesystem) -> Operation {
    if model.seals.count >= Self.sealedFiles || model.seals.values.contains(where: { $0.count >= Self.requestsOfAFile })
    {
      return makeRelease(model) ?? .close(handle: openHandle(model))
    }
    // New requests gather where some stand: that is where they overlap.
    let slot = (random.oneIn(2) ? sealedHandle(model) : nil) ?? openHandle(model)
    let name = random.below(3)
    let user = profile.users > 1 && random.oneIn(4) ? random.below(profile.users) : 0
    switch kind {
    case .seal: return .seal(handle: slot, name: name, spec(slot, model))
    case .unseal: return makeHandleRelease(model) ?? .unseal(handle: sealedHandle(model) ?? slot, name: name)
    case .sealNamed:
      var spec = spec(slot, model)
      spec.persistent = random.oneIn(4)
      return .sealNamed(handle: slot, user: user, name: name, spec)
    case .unsealNamed:
      if !random.oneIn(5), let release = model.seals.isEmpty ? nil : makeRelease(model) { return release }
      return .unsealNamed(handle: slot, user: user, name: name)
    case .sealProcess:
      let process = random.below(ModelFilesystem.processSlots)
      return .sealProcess(handle: slot, name: name, process: process, spec(slot, model))
    case .endProcess: return .endProcess(process: random.below(ModelFilesystem.processSlots))
    case .fence: return .fence
    case .revoke: return .revoke(handle: sealedHandle(model) ?? slot)
    case .become: return .become(process: random.oneIn(2) ? 0 : random.between(1, ModelFilesystem.processSlots))
    case .sealTimed:
      // Weights are whole numbers, and this one is to be rare where the clock is real.
      guard !profile.isMounted || random.oneIn(5) else { return .endProcess(process: 0) }
      return .sealTimed(handle: slot, name: name, SealSpec(random.oneIn(2) ? .strict : .asIs))
    default:
      let at = file(model)
      var spec = spec(slot, model)
      if spec.preparation == .fill { spec.preparation = .asIs }
      spec.createOnly = false
      return .holderExit(at, spec, killed: random.oneIn(2))
    }
  }

  /// Hard or breakable, of the whole file or a range of it.
  private mutating func spec(_ slot: Int, _ model: ModelFilesystem) -> SealSpec {
    var spec = SealSpec(
      random.pick([SealSpec.Preparation.strict, .fill, .asIs, .asIs]), createOnly: random.oneIn(8),
      breakable: profile.takesBreakables && random.oneIn(2))
    guard random.oneIn(2) else { return spec }
    let size = model.handle(slot).flatMap { model.node($0.node) }.map { Int($0.size) } ?? 0
    // Sometimes behind the end, where there is nothing yet.
    let (offset, length) = random.oneIn(6) ? range(near: size, direct: false) : range(within: size, direct: false)
    if length > 0 { spec.range = offset..<offset + length }
    return spec
  }

  /// What releases a request of some sealed file, or brings a handle to do it with.
  private mutating func makeRelease(_ model: ModelFilesystem) -> Operation? {
    let id = random.pick(model.seals.keys.sorted())
    guard let seal = model.seals[id].map({ random.pick($0) }) else { return nil }
    switch seal.holder {
    case .process(let slot, _): return .endProcess(process: slot)
    case .handle(let serial):
      guard let slot = handleWhere(model, { $0.serial == serial }) else { return nil }
      return random.oneIn(4) ? .close(handle: slot) : Self.release(seal, slot)
    case .user(let uid), .persistent(let uid):
      if let slot = handleWhere(model, { $0.node == id }) {
        return .unsealNamed(handle: slot, user: (0..<3).first { Names.user($0) == uid } ?? 0, name: seal.name)
      }
      return model.place(of: id).map { .open($0, handle: freeHandle(model), .write) }
    }
  }

  /// One of the requests that handles hold.
  private mutating func makeHandleRelease(_ model: ModelFilesystem) -> Operation? {
    var held: [Operation] = []
    for (slot, handle) in model.handles.enumerated() {
      guard let handle else { continue }
      for seal in model.seals[handle.node] ?? [] where seal.holder == .handle(handle.serial) {
        held.append(Self.release(seal, slot))
      }
    }
    return held.isEmpty ? nil : random.pick(held)
  }

  private static func release(_ seal: ModelSeal, _ slot: Int) -> Operation {
    guard let blocks = seal.blocks else { return .unseal(handle: slot, name: seal.name) }
    let bytes = Int(TruthTable.blockBytes)
    // As it was asked for or as it is held: the blocks are the same.
    return .unpin(
      handle: slot, name: seal.name, range: Int(blocks.lowerBound) * bytes + 1..<Int(blocks.upperBound) * bytes)
  }
}
