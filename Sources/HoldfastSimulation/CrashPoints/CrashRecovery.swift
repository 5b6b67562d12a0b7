/// What a crash image becomes: checked as it lies there, mounted, read whole, unmounted, checked again. Nothing of it
/// depends on the workload, so images that come up again are not recovered again.

import HoldfastBase
import HoldfastStore

/// Everything a recovered volume tells.
struct RecoveredVolume {
  var metadata: ModelMetadata
  var contents: [NodeID: [UInt8]] = [:]
  var persistentSeals: [NodeID: [ModelSeal]] = [:]
  /// Requests of any kind, by file.
  var sealCounts: [NodeID: Int] = [:]
  var maps: [NodeID: ObservedMap] = [:]
}

struct CrashRecovery {
  /// Recovered volumes kept at a time; each is some 30 KiB.
  private static let keptVolumes = 2000

  private let device: SimulatedDevice
  private let results = TargetResults(capacity: CrashBase.maximumFileBytes + 65536)
  /// The model that names are looked up in; only its root matters.
  private let model: ModelFilesystem
  /// For crashes in the middle of a recovery; nil when none are tried.
  private let second: SimulatedDevice?
  private let faults: ((inout DeviceFaults) -> Void)?
  private var known: [UInt64: Result<RecoveredVolume, StressFailure>] = [:]
  private(set) var recoveries = 0
  private(set) var crashes = 0

  /// Recovers what is on `device`.
  init(base: CrashBase, device: SimulatedDevice, options: CrashPointOptions) {
    self.device = device
    model = base.model
    second = options.recoveryCrashes ? SimulatedDevice(rewindingTo: base.device) : nil
    faults = options.recoveryFaults
  }

  /// What the image on the device becomes; `fingerprint` is the image's.
  mutating func recover(fingerprint: UInt64) throws(StressFailure) -> RecoveredVolume {
    if let known = known[fingerprint] { return try known.get() }
    if known.count >= Self.keptVolumes { known.removeAll(keepingCapacity: true) }
    recoveries += 1
    var result: Result<RecoveredVolume, StressFailure>
    do throws(StressFailure) {
      if let second {
        result = .success(try recoverTryingCrashes(second))
      } else {
        result = .success(try recover(device))
      }
    } catch {
      result = .failure(error)
    }
    known[fingerprint] = result
    return try result.get()
  }

  private func recover(_ device: SimulatedDevice) throws(StressFailure) -> RecoveredVolume {
    try StoreTarget.check(device, "the crash image", expectingClean: false)
    let target = try StoreTarget(mounting: device, options: CrashBase.storeOptions, results: results)
    var volume = RecoveredVolume(metadata: try target.observe(model))
    for (id, node) in volume.metadata.nodes.sorted(by: { $0.key < $1.key }) where node.kind == .file {
      try target.readWhole(id, size: Int(node.size), model)
      guard results.count == Int(node.size) else {
        throw StressFailure(.crashContents, "inode \(id): read \(results.count) of \(node.size) bytes")
      }
      volume.contents[id] = Array(results.bytes)
      volume.persistentSeals[id] = target.persistentSeals(of: id, model)
      volume.sealCounts[id] = target.sealCount(of: id, expecting: 0, model)
      volume.maps[id] = target.map(of: id, model)
    }
    // Unmounts, and checks that nothing is left to be done.
    try target.finalCheck()
    return volume
  }

  // MARK: Crashes in the middle

  /// Recovers, and then again from every crash in the recovery: what is seen must be the same.
  private mutating func recoverTryingCrashes(_ second: SimulatedDevice) throws(StressFailure) -> RecoveredVolume {
    let ground = device.changes()
    let recording = DeviceRecording()
    device.recording = recording
    if let faults { device.injectFaults(faults) }
    let volume = try recover(device)
    device.recording = nil
    var image = CrashImage(recording, on: second, ground: ground)
    var seen: Set<UInt64> = []
    // No number of writes in flight is beyond the exhaustive one but by chance; any seed will do.
    var random = SeededRandom(seed: UInt64(recording.events.count))
    while image.position < recording.events.count {
      let wrote = image.advance()
      for fates in CrashStates.fates(image.inFlight.count, newest: wrote && image.position > 1, &random) {
        image.make(fates)
        guard seen.insert(second.fingerprint()).inserted else { continue }
        crashes += 1
        let again: RecoveredVolume
        do throws(StressFailure) {
          again = try recover(second)
        } catch {
          throw StressFailure(error.kind, "a crash in recovery, \(image.describe(fates)): \(error.message)")
        }
        if let difference = volume.difference(from: again) {
          throw StressFailure(
            .recovery, "recovered otherwise after a crash in recovery, \(image.describe(fates)): \(difference)")
        }
      }
    }
    return volume
  }
}

extension RecoveredVolume {
  /// The first thing that is not the same, in words. Maps count up to the end of the file: what is preallocated behind
  /// it may go when the volume is closed.
  fileprivate func difference(from other: RecoveredVolume) -> String? {
    if let difference = metadata.difference(from: other.metadata) { return difference }
    for (id, bytes) in contents.sorted(by: { $0.key < $1.key }) {
      if other.contents[id] != bytes { return "inode \(id) has other bytes" }
      if other.persistentSeals[id] != persistentSeals[id] { return "inode \(id) has other persistent seals" }
      let size = metadata.nodes[id]?.size ?? 0
      if other.maps[id]?.clipped(to: size) != maps[id]?.clipped(to: size) {
        return
          "inode \(id) has another map: \(maps[id].map(String.init(describing:)) ?? "none") and \(other.maps[id].map(String.init(describing:)) ?? "none")"
      }
    }
    return nil
  }
}
