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
  private(set) var device: SimulatedDevice
  private(set) var store: Store
  private let options: StoreOptions
  /// Whether HoldfastCheck runs after every crash and remount.
  let checks: Bool
  private var handles: [Handle?] = Array(repeating: nil, count: ModelFilesystem.handleSlots)
  private var nextHandle: UInt64 = 1
  /// By name number; attributes' names by -1 - number.
  private var names: [Int: UnsafeRawBufferPointer] = [:]
  static let root = Credentials(uid: 0, gid: 0, pid: 1)

  /// Formats a device of its own, from the seed down to its UUID, and mounts it.
  init(
    imageBytes: UInt64, seed: UInt64, maximumFileBytes: Int, cacheBytes: Int, checks: Bool,
    faults: ((SimulatedDevice) -> Void)? = nil
  ) throws(StressFailure) {
    results = TargetResults(capacity: maximumFileBytes + 65536)
    self.checks = checks
    device = SimulatedDevice(byteCount: imageBytes)
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

  func cutPowerAfterDeviceError() -> Bool {
    guard device.counters.failures > 0 else { return false }
    device.cutPower()
    return true
  }

  // MARK: Operations

  func perform(_ operation: Operation, _ model: ModelFilesystem) -> Outcome {
    results.count = 0
    do throws(FSError) {
      return try attempt(operation, model)
    } catch {
      return .failed(error.errno)
    }
  }

  /// A full volume says so before anything changed; so does one whose free space cannot be had for metadata.
  func tolerates(_ operation: Operation, _ outcome: Outcome, _ model: ModelFilesystem) -> Bool {
    outcome.errno == ENOSPC && store.usage.freeBlocks < store.usage.totalBlocks / 16
  }

  private func attempt(_ operation: Operation, _ model: ModelFilesystem) throws(FSError) -> Outcome {
    switch operation {
    case .crash(let events, _):
      if events == 0 { device.cutPower() } else { device.cutPower(beforeEvent: events) }
      return .done()
    case .deviceError(let kind, let after, _):
      device.injectFaults { faults in
        switch kind {
        case 0: faults.reads = .nth(after)
        case 1: faults.writes = .nth(after)
        default: faults.barriers = .nth(after)
        }
      }
      return .done()
    case .housekeep: try store.housekeep()
    case .syncAll: try store.syncAll()
    case .syncDirectory(let slot): try store.sync(model.directory(slot) ?? 0, dataOnly: false)
    case .create, .makeDirectory, .removeDirectory, .unlink, .rename, .link, .symlink, .readSymlink, .list, .status,
      .truncateName:
      return try attemptName(operation, model)
    case .open(let at, let slot, let access):
      let found = try store.lookup(name(at), in: directory(at, model))
      if access.contains(.truncate) {
        _ = try store.setAttributes(Self.size(0), of: found.inode, handle: nil, by: Self.root)
      }
      open(slot, found.inode, writes: access.contains(.write))
    case .close(let slot): close(slot)
    case .setMode, .setXattr, .getXattr, .removeXattr, .listXattrs: return try attemptAttribute(operation)
    case .seal, .unseal, .sealNamed, .unsealNamed, .sealProcess, .sealTimed, .endProcess, .holderExit:
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
      throw StressFailure(.environment, "unmount: \(error)")
    }
    guard device.unsyncedWrites == 0 else {
      throw StressFailure(.recovery, "unmounted with \(device.unsyncedWrites) writes no barrier followed")
    }
    try check("after unmount", expectingClean: true)
    try mount("remount")
    // What is looked at now is looked at by the stress.
    keepDeviceSound()
  }

  private func mount(_ occasion: String) throws(StressFailure) {
    handles = Array(repeating: nil, count: ModelFilesystem.handleSlots)
    do throws(FSError) {
      store = try Store(mounting: device, options: options)
    } catch {
      if device.isPowerOff { return }
      throw StressFailure(.recovery, "\(occasion): \(error)")
    }
  }

  /// What survived is checked as it lies there, then mounted; now and then the power goes during recovery, too.
  func recover(seed: UInt64) throws(StressFailure) {
    var random = SeededRandom(seed: seed)
    device = device.crashImage(seed: random.next())
    try check("after a crash, seed \(seed)", expectingClean: false)
    for _ in 0..<3 where random.oneIn(4) {
      device.cutPower(beforeEvent: random.below(12))
      try mount("recovery")
      if !device.isPowerOff { device.keepPower() }
      device = device.crashImage(seed: random.next())
      try check("after a crash during recovery, seed \(seed)", expectingClean: false)
    }
    try mount("recovery, seed \(seed)")
  }

  func finalCheck() throws(StressFailure) {
    do throws(FSError) {
      try store.unmount()
    } catch {
      throw StressFailure(.environment, "unmount: \(error)")
    }
    try check("at the end", expectingClean: true)
  }
}
