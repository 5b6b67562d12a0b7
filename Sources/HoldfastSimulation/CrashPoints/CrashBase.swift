/// The volume every workload starts from.

import HoldfastBase
import HoldfastFormat
import HoldfastStore

/// The initial tree: the image, and the model of it. Shared by all explorers, changed by none.
struct CrashBase: @unchecked Sendable {
  let device: SimulatedDevice
  let model: ModelFilesystem

  /// The smallest volume there is, so that a journal is read quickly.
  static let imageBytes: UInt64 = 16 << 20
  /// More than three actions can make of a file.
  static let maximumFileBytes = 128 << 10
  /// When everything happens: a clock that stands makes the same images of the same operations.
  static let time = Timestamp(seconds: 1_000_000_000, nanoseconds: 0)

  static var storeOptions: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    options.cacheBytes = 1 << 20
    // Looking at what was recovered is to change nothing.
    options.accessTime = .none
    return options
  }

  /// The bounds in `CrashWorkload` tell of this tree.
  private static let tree: [Operation] = [
    .makeDirectory(Place(0, 1), slot: 1), .makeDirectory(Place(0, 2), slot: 2),
    .create(CrashName.aFoo.place, handle: 0, mode: 0o644), .write(handle: 0, offset: 0, length: 10000, tag: 1),
    .setXattr(handle: 0, name: 0, length: 20, tag: 2, mode: 0),
    .create(CrashName.bFoo.place, handle: 1, mode: 0o600), .write(handle: 1, offset: 0, length: 5000, tag: 3),
    .truncate(handle: 1, size: 20000), .makeDirectory(CrashName.bBar.place, slot: 3), .remount,
  ]

  init() throws(StressFailure) {
    let model = ModelFilesystem(
      root: RootDirectory.inode, rootMode: 0o755, job: 0, maximumFileBytes: Self.maximumFileBytes,
      remembersHistory: true, hasUnprivilegedWrites: true)
    device = try SimulatedTime.run(from: Self.time) { () throws(StressFailure) in
      let target = try StoreTarget(
        imageBytes: Self.imageBytes, seed: 1, maximumFileBytes: Self.maximumFileBytes, cacheBytes: 1 << 20, checks: true
      )
      let runner = StressRunner(target: target, model: model)
      for (index, operation) in Self.tree.enumerated() { try runner.step(operation, index: index) }
      try target.finalCheck()
      return target.device.syncedCopy()
    }
    self.model = model
  }
}
