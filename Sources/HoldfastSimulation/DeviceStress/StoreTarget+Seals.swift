/// Seals as calls of the store, and the maps they freeze.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

extension StoreTarget {
  /// Process ids of the stress: beyond what Linux gives out.
  private static func processID(_ slot: Int) -> Int32 { Int32(5_000_000 + slot) }

  func attemptSeal(_ operation: Operation, _ model: ModelFilesystem) throws(FSError) -> Outcome {
    switch operation {
    case .seal(let slot, let name, let spec):
      let handle = try handle(slot)
      try seal(handle.inode, name, spec, .handle(handle.id), user: 0)
    case .sealNamed(let slot, let user, let name, let spec):
      try seal(try handle(slot).inode, name, spec, spec.persistent ? .persistent : .name, user: Names.user(user))
    case .sealProcess(let slot, let name, let process, let spec):
      try seal(try handle(slot).inode, name, spec, .process(Self.processID(process)), user: 0)
    case .unseal(let slot, let name):
      let handle = try handle(slot)
      try store.unseal(.handle(handle.id, name: Names.seal(name)), of: handle.inode, by: Self.root)
    case .unsealNamed(let slot, let user, let name):
      let uid = Names.user(user)
      try store.unseal(
        .named(uid: uid, name: Names.seal(name)), of: try handle(slot).inode,
        by: Credentials(uid: uid, gid: uid, pid: 1))
    case .endProcess(let process): store.seals.processDied(Self.processID(process))
    case .holderExit(let at, let spec, _):
      let inode = try store.lookup(name(at), in: directory(at, model)).inode
      try withStrangersHandle(of: inode) { (id) throws(FSError) in
        try seal(inode, 0, spec, .handle(id), user: 0)
      }
    default: throw .unsupported
    }
    return .done()
  }

  private func seal(
    _ inode: InodeNumber, _ name: Int, _ spec: SealSpec, _ lifetime: SealLifetime, user: UInt32
  ) throws(FSError) {
    let preparation: SealPreparation =
      switch spec.preparation {
      case .strict: .verify
      case .fill: .fill
      case .asIs: .asIs
      }
    let request = SealRequest(
      lifetime: lifetime, name: Names.seal(name), taker: Credentials(uid: user, gid: user, pid: 1),
      preparation: preparation, command: "stress")
    _ = try store.seal(request, createOnly: spec.createOnly, of: inode)
  }

  func sealCount(of node: NodeID, expecting expected: Int, _ model: ModelFilesystem) -> Int? { store.seals.count(node) }

  func persistentSeals(of node: NodeID, _ model: ModelFilesystem) -> [ModelSeal] {
    store.seals.requests(of: node).filter { $0.request.isPersistent }.map { info in
      let number = (0..<10).first { Names.seal($0) == info.request.name } ?? -1
      return ModelSeal(holder: .persistent(info.request.uid), name: number)
    }
  }

  func map(of node: NodeID, _ model: ModelFilesystem) -> ObservedMap? {
    device.injectFaults { $0.areSuspended = true }
    defer { device.injectFaults { $0.areSuspended = false } }
    do throws(FSError) {
      let extents = try store.extents(of: node, from: 0, limit: 100_000)
      return ObservedMap(
        generation: try store.mapGeneration(of: node),
        extents: extents.map {
          MapExtent(logical: $0.logical, physical: $0.physical, length: $0.length, isPlain: $0.flags.isEmpty)
        })
    } catch {
      return nil
    }
  }
}
