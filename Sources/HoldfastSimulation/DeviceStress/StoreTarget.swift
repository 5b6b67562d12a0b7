/// The store itself under stress, over a simulated device, without FUSE and without threads. What the FUSE layer
/// does around the store (references, handles) is done here.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

final class StoreTarget: StressTarget {
  struct Handle {
    var inode: InodeNumber
    var id: UInt64
    var writes: Bool
  }

  let results: TargetResults
  let device: SimulatedDevice
  private(set) var store: Store
  private let options: StoreOptions
  /// Metadata was damaged on purpose. What finds it is for `DeviceSession` to say: no check runs then.
  var isDamaged = false
  /// Whether HoldfastCheck runs after every crash and remount.
  let checks: Bool
  private var handles: [Handle?] = Array(repeating: nil, count: ModelFilesystem.handleSlots)
  private var nextHandle: UInt64 = 1
  /// By name number; attributes' names by -1 - number.
  private var names: [Int: UnsafeRawBufferPointer] = [:]
  static let root = Credentials(uid: 0, gid: 0, pid: 1)
  /// Whose operations are made, and whether they wait for holders.
  private(set) var caller = root
  private(set) var waits = false
  /// The operation that waits.
  var parked: ParkedBreaker?

  /// Formats a device of its own, from the seed down to its UUID, and mounts it.
  init(
    imageBytes: UInt64, seed: UInt64, maximumFileBytes: Int, cacheBytes: Int, checks: Bool,
    faults: ((SimulatedDevice) -> Void)? = nil
  ) throws(StressFailure) {
    results = TargetResults(capacity: maximumFileBytes + 65536)
    self.checks = checks
    device = SimulatedDevice(byteCount: imageBytes, room: 2 * imageBytes)
    faults?(device)
    var options = StoreOptions()
    options.backgroundThread = false
    options.cacheBytes = cacheBytes
    self.options = options
    let mixed = SeededRandom.mix(seed)
    let format = FormatOptions(
      label: "stress", id: FilesystemID(high: mixed, low: seed), hashSeed: mixed,
      now: Timestamp(seconds: 1, nanoseconds: 0))
    do throws(FSError) {
      try Store.format(device, options: format)
      store = try Store(mounting: device, options: options)
    } catch {
      throw StressFailure(.environment, "cannot format or mount: \(error)")
    }
  }

  /// Mounts what `device` holds.
  init(
    mounting device: SimulatedDevice, options: StoreOptions, results: TargetResults
  ) throws(StressFailure) {
    self.device = device
    self.options = options
    self.results = results
    checks = true
    do throws(FSError) {
      store = try Store(mounting: device, options: options)
    } catch {
      throw StressFailure(.recovery, "mount: \(error)")
    }
  }

  deinit { for name in names.values { name.deallocate() } }

  var isPowerOff: Bool { device.isPowerOff }

  func keepPower() {
    device.keepPower()
    keepDeviceSound()
  }

  /// Takes back device errors that have not happened yet.
  private func keepDeviceSound() {
    device.injectFaults {
      $0.reads = nil
      $0.writes = nil
      $0.barriers = nil
    }
  }

  var hasMetDeviceError: Bool { device.counters.failures > 0 }

  func cutPower() { device.cutPower() }

  func meetsDamage(_ outcome: Outcome) -> Bool { isDamaged && (outcome.errno == EIO || outcome.errno == EROFS) }

  /// What an error of the engine is: in a stretch of damage an honest one is as it should be.
  func failure(_ kind: StressFailure.Kind, _ doing: String, _ error: FSError) -> StressFailure {
    StressFailure(isDamaged && error.isAboutDamage ? .damage : kind, "\(doing): \(error)")
  }

  // MARK: Operations

  func perform(_ operation: Operation, _ model: ModelFilesystem, waits: Bool) -> Outcome {
    results.count = 0
    self.waits = waits
    caller = Self.process(model.actingProcess - 1)
    do throws(FSError) {
      return try attempt(operation, model)
    } catch {
      if case .mustWait(let breaker) = error { park(breaker) }
      return .failed(error.errno)
    }
  }

  /// A full volume says so before anything changed; so does one whose free space cannot be had for metadata.
  func tolerates(_ operation: Operation, _ outcome: Outcome, _ model: ModelFilesystem) -> Bool {
    guard outcome.errno == ENOSPC, let asked = operation.bytesTaken else { return false }
    let usage = store.usage
    return usage.freeBlocks < usage.totalBlocks / 16 + UInt64(asked / Block.size + 2)
  }

  private func attempt(_ operation: Operation, _ model: ModelFilesystem) throws(FSError) -> Outcome {
    switch operation {
    case .crash(let events, _):
      if events == 0 { device.cutPower() } else { device.cutPower(beforeEvent: events) }
      return .done()
    case .deviceError(let kind, let after, let seed):
      device.injectFaults { faults in
        faults.failedBarriersLose = seed % 2 == 1
        switch kind {
        case 0: faults.reads = .nth(after)
        case 1: faults.writes = .nth(after)
        default: faults.barriers = .nth(after)
        }
      }
      return .done()
    case .housekeep: try store.housekeep()
    case .resize(let mebibytes): try resize(to: UInt64(mebibytes) << 20)
    case .syncAll: try store.syncAll()
    case .syncDirectory(let slot): try store.sync(model.directory(slot) ?? 0, dataOnly: false)
    case .create, .makeDirectory, .removeDirectory, .unlink, .rename, .link, .symlink, .readSymlink, .list, .status,
      .truncateName:
      return try attemptName(operation, model)
    case .open(let at, let slot, let access):
      let found = try store.lookup(name(at), in: directory(at, model))
      if access.contains(.truncate) {
        _ = try store.setAttributes(
          Self.size(0), of: found.inode, handle: nil, by: caller, waits: waits)
      }
      open(slot, found.inode, writes: access.contains(.write))
    case .close(let slot): close(slot)
    case .setMode, .setXattr, .getXattr, .removeXattr, .listXattrs: return try attemptAttribute(operation)
    case .seal, .unseal, .unpin, .sealNamed, .unsealNamed, .sealProcess, .sealTimed, .endProcess, .holderExit, .fence,
      .revoke, .become:
      return try attemptSeal(operation, model)
    default: return try attemptContent(operation)
    }
    return .done()
  }

  static func size(_ bytes: Int) -> AttributeChanges {
    var changes = AttributeChanges()
    changes.size = UInt64(bytes)
    return changes
  }

  // MARK: Names and handles

  /// The bytes of a name; they live as long as this does.
  func name(_ place: Place) -> UnsafeRawBufferPointer {
    if let known = names[place.name] { return known }
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: Names.bytes(place.name).count, alignment: 1)
    copy.copyBytes(from: Names.bytes(place.name))
    names[place.name] = UnsafeRawBufferPointer(copy)
    return UnsafeRawBufferPointer(copy)
  }

  /// The bytes of an attribute's name, likewise.
  func xattrName(_ number: Int) -> UnsafeRawBufferPointer {
    if let known = names[-1 - number] { return known }
    let bytes = Names.xattr(number)
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    copy.copyBytes(from: bytes)
    names[-1 - number] = UnsafeRawBufferPointer(copy)
    return UnsafeRawBufferPointer(copy)
  }

  func directory(_ place: Place, _ model: ModelFilesystem) -> InodeNumber { model.directory(place.directory) ?? 0 }

  func handle(_ slot: Int) throws(FSError) -> Handle {
    guard let handle = handles[slot] else { throw .badHandle }
    return handle
  }

  func open(_ slot: Int, _ inode: InodeNumber, writes: Bool) {
    store.retain(inode)
    store.opened(inode, writing: writes)
    handles[slot] = Handle(inode: inode, id: nextHandle, writes: writes)
    nextHandle += 1
  }

  func close(_ slot: Int) {
    guard let handle = handles[slot] else { return }
    handles[slot] = nil
    store.closed(handle.inode, handle: handle.id, writing: handle.writes)
    store.release(handle.inode)
  }

  /// A handle that no slot holds, for a process of its own.
  func withStrangersHandle<Result>(
    of inode: InodeNumber, _ body: (UInt64) throws(FSError) -> Result
  ) throws(FSError) -> Result {
    let id = nextHandle
    nextHandle += 1
    store.retain(inode)
    store.opened(inode, writing: false)
    defer {
      store.closed(inode, handle: id, writing: false)
      store.release(inode)
    }
    return try body(id)
  }

  // MARK: Remount, crash

  func remount() throws(StressFailure) {
    do throws(FSError) {
      try store.unmount()
    } catch {
      if device.isPowerOff { return }
      throw failure(.environment, "unmount", error)
    }
    guard device.unsyncedWrites == 0 else {
      throw StressFailure(.recovery, "unmounted with \(device.unsyncedWrites) writes no barrier followed")
    }
    try check("after unmount", expectingClean: true)
    try mount("remount")
    if isDamaged { return }
    // What is looked at now is looked at by the stress.
    keepDeviceSound()
  }

  private func mount(_ occasion: String) throws(StressFailure) {
    handles = Array(repeating: nil, count: ModelFilesystem.handleSlots)
    parked = nil
    do throws(FSError) {
      store = try Store(mounting: device, options: options)
    } catch {
      if device.isPowerOff { return }
      throw failure(.recovery, occasion, error)
    }
  }

  /// Mounts what is on the device now; the volume as it was is forgotten, not unmounted.
  func restart(_ occasion: String) throws(StressFailure) { try mount(occasion) }

  /// What survived is checked as it lies there, then mounted; now and then the power goes during recovery, too.
  func recover(seed: UInt64) throws(StressFailure) {
    var random = SeededRandom(seed: seed)
    device.crash(seed: random.next())
    try check("after a crash, seed \(seed)", expectingClean: false)
    for _ in 0..<3 where random.oneIn(4) {
      device.cutPower(beforeEvent: random.below(12))
      try mount("recovery")
      if !device.isPowerOff { device.keepPower() }
      device.crash(seed: random.next())
      try check("after a crash during recovery, seed \(seed)", expectingClean: false)
    }
    try mount("recovery, seed \(seed)")
  }

  func finalCheck() throws(StressFailure) {
    do throws(FSError) {
      try store.unmount()
    } catch {
      throw failure(.environment, "unmount", error)
    }
    try check("at the end", expectingClean: true)
  }
}

extension Operation {
  /// Bytes of contents that an operation may want blocks for; nil for one that a full volume must not refuse: what gives
  /// blocks back always works.
  fileprivate var bytesTaken: Int? {
    switch self {
    case .create, .makeDirectory, .symlink, .link, .rename, .setXattr: 0
    case .write(_, _, let length, _), .append(_, let length, _), .copy(_, _, _, _, let length): length
    case .allocate(_, let mode, _, let length): mode & AllocationMode.punchHole == 0 ? length : nil
    // Two places for a moment; with none it leaves things where they are, but for want of metadata blocks.
    case .relocate(_, _, let length, _): length
    // Filling takes what the file has holes for.
    case .seal, .sealNamed, .sealProcess, .sealTimed, .holderExit: 1 << 30
    default: nil
    }
  }
}

extension FSError {
  /// What an engine says of damaged metadata, or of a volume that it stopped for it.
  fileprivate var isAboutDamage: Bool {
    switch self {
    case .corrupt, .readOnly, .shutDown, .notAnImage, .superblocksDisagree, .imageTruncated: true
    default: false
    }
  }
}
