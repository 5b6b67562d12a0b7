/// Seals as calls of the store, and the maps they freeze.

import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore
import Synchronization

extension StoreTarget {
  /// Process ids of the stress: beyond what Linux gives out.
  private static func processID(_ slot: Int) -> Int32 { Int32(5_000_000 + slot) }

  /// Root's operations as that process makes them; slot -1: as one that holds nothing.
  static func process(_ slot: Int) -> Credentials {
    slot < 0 ? root : Credentials(uid: 0, gid: 0, pid: processID(slot))
  }

  /// Later than any recall ends that began in the run.
  private static let graceSeconds: UInt32 = 30
  private static var afterEveryRecall: Int64 {
    Clocks.monotonicNanoseconds() + Int64(graceSeconds + 1) * Clocks.nanosecondsPerSecond
  }

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
    case .unpin(let slot, let name, let range):
      let handle = try handle(slot)
      let pinned = SealScope.range(byteOffset: UInt64(range.lowerBound), byteCount: UInt64(range.count)).blocks
      try store.unseal(
        .handle(handle.id, name: Names.seal(name), pinned: pinned), of: handle.inode, by: Self.root)
    case .fence: store.seals.fenceOverdue(now: Self.afterEveryRecall)
    case .revoke(let slot): _ = try store.revoke(RevokeSelection(inode: try handle(slot).inode))
    case .become: break
    case .unsealNamed(let slot, let user, let name):
      let uid = Names.user(user)
      try store.unseal(
        .named(uid: uid, name: Names.seal(name)), of: try handle(slot).inode,
        by: Credentials(uid: uid, gid: uid, pid: 1))
    case .sealTimed(let slot, let name, let spec):
      let inode = try handle(slot).inode
      try seal(inode, name, spec, .name, user: 0, seconds: 1)
      store.seals.releaseExpired(now: Clocks.monotonicNanoseconds() + 2 * Clocks.nanosecondsPerSecond)
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
    _ inode: InodeNumber, _ name: Int, _ spec: SealSpec, _ lifetime: SealLifetime, user: UInt32,
    seconds: UInt32? = nil
  ) throws(FSError) {
    let preparation: SealPreparation =
      switch spec.preparation {
      case .strict: .verify
      case .fill: .fill
      case .asIs: .asIs
      }
    let request = SealRequest(
      kind: spec.breakable ? .breakable(graceSeconds: Self.graceSeconds) : .hard,
      scope: spec.range.map { .range(byteOffset: UInt64($0.lowerBound), byteCount: UInt64($0.count)) } ?? .wholeFile,
      lifetime: lifetime, name: Names.seal(name), taker: Credentials(uid: user, gid: user, pid: caller.pid),
      ttlSeconds: seconds, preparation: preparation, command: "stress")
    _ = try store.seal(request, createOnly: spec.createOnly, of: inode)
  }

  func sealCount(of node: NodeID, expecting expected: Int, _ model: ModelFilesystem) -> Int? { store.seals.count(node) }

  func persistentSeals(of node: NodeID, _ model: ModelFilesystem) -> [ModelSeal] {
    store.seals.requests(of: node).filter { $0.request.isPersistent }.map { info in
      let number = (0..<10).first { Names.seal($0) == info.request.name } ?? -1
      return ModelSeal(
        holder: .persistent(info.request.uid), name: number, isBreakable: info.request.isBreakable,
        blocks: info.request.scope.blocks.map { $0.start..<$0.end })
    }
  }

  // MARK: Waiting

  func patience(for operation: Operation, asked: Patience?, _ model: ModelFilesystem) -> Patience? { asked }

  var isParked: Bool { parked != nil }
  var isFree: Bool { isCertainlyFree }
  var isCertainlyFree: Bool { parked?.isWoken ?? false }

  func park(_ id: UInt64) {
    let breaker = ParkedBreaker(id: id)
    parked = breaker
    if store.seals.park(id, wake: { breaker.wake() }) == .over { breaker.wake() }
  }

  func resume(_ operation: Operation, _ model: ModelFilesystem) -> Outcome {
    guard let breaker = parked else { return .failed(ENXIO) }
    parked = nil
    let outcome = perform(operation, model, waits: false)
    store.seals.endTurn(breaker.id)
    return outcome
  }

  var keepsItsTurn: Bool { true }
  var hasRealClock: Bool { false }

  func interrupt(_ operation: Operation) -> Outcome {
    guard let breaker = parked else { return .failed(ENXIO) }
    parked = nil
    // Woken already: then whoever runs it again answers.
    return .failed(store.seals.giveUp(breaker.id) ? EINTR : EALREADY)
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

/// An operation that waits for holders.
final class ParkedBreaker: Sendable {
  let id: UInt64
  private let woken = Atomic<Bool>(false)

  init(id: UInt64) { self.id = id }

  var isWoken: Bool { woken.load(ordering: .acquiring) }
  func wake() { woken.store(true, ordering: .releasing) }
}
