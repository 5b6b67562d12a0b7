/// What is put under stress: the store in memory, or a mounted directory. A target performs one operation at a
/// time and leaves what it read in `results`.

import HoldfastDevice

/// What an operation brought back.
final class TargetResults {
  private let memory: AlignedBuffer
  /// Bytes of read, map-read, getxattr, listxattr, readlink.
  var count = 0
  /// Entries of list: name number to inode. Names that no operation makes go to `strangers`.
  var entries: [Int: NodeID] = [:]
  var strangers: [String] = []
  /// What stat told.
  var node: ModelNode?
  var inode: NodeID = 0

  init(capacity: Int) { memory = AlignedBuffer(byteCount: capacity) }

  /// Room for what is read, and for what is written; aligned for O_DIRECT.
  var buffer: UnsafeMutableRawBufferPointer { memory.bytes }
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory.bytes[..<count]) }
}

protocol StressTarget: AnyObject {
  var results: TargetResults { get }

  /// Performs `operation`. The model is in the state before it. One that waits for holders is *parked*, if it comes to
  /// that: it has no outcome yet, and other operations go on.
  func perform(_ operation: Operation, _ model: ModelFilesystem, waits: Bool) -> Outcome

  /// How this target would have `operation` wait; nil for not at all.
  func patience(for operation: Operation, asked: Patience?, _ model: ModelFilesystem) -> Patience?

  var isParked: Bool { get }

  /// Whether nothing is in the parked operation's way any more, as far as can be told.
  var isFree: Bool { get }

  /// Whether it is known that nothing is.
  var isCertainlyFree: Bool { get }

  /// The end of a parked operation that nothing is in the way of.
  func resume(_ operation: Operation, _ model: ModelFilesystem) -> Outcome

  /// A signal ends a parked operation.
  func interrupt(_ operation: Operation) -> Outcome

  /// Whether a parked operation that nothing is in the way of stays where it is until `resume`.
  var keepsItsTurn: Bool { get }

  /// Whether recalls end by themselves: then none is left under way.
  var hasRealClock: Bool { get }

  /// Whether this target may answer so whatever the model says; nothing was changed then.
  func tolerates(_ operation: Operation, _ outcome: Outcome, _ model: ModelFilesystem) -> Bool

  /// The extent map of a file; nil when the target cannot tell.
  func map(of node: NodeID, _ model: ModelFilesystem) -> ObservedMap?

  /// Standing requests of a file; nil when the target cannot tell. Where releases are asynchronous, it waits a
  /// while for the expected number.
  func sealCount(of node: NodeID, expecting expected: Int, _ model: ModelFilesystem) -> Int?

  /// Persistent requests of a file, as user and name number.
  func persistentSeals(of node: NodeID, _ model: ModelFilesystem) -> [ModelSeal]

  /// Whether the power went: everything since fails, and `recover` is due.
  var isPowerOff: Bool { get }

  /// Whether the device gave an error since it was last on.
  var hasMetDeviceError: Bool { get }
  func cutPower()

  /// Whether the outcome is an honest one about metadata that was damaged on purpose.
  func meetsDamage(_ outcome: Outcome) -> Bool

  /// Takes back a power cut or device error that is due later: the run ends.
  func keepPower()

  /// Unmounts and mounts; every handle is closed.
  func remount() throws(StressFailure)

  /// Power comes back: what survived by `seed` is mounted. Handles are gone.
  func recover(seed: UInt64) throws(StressFailure)

  /// All metadata there is, read anew.
  func observe(_ model: ModelFilesystem) throws(StressFailure) -> ModelMetadata

  /// All bytes of a file, into `results`.
  func readWhole(_ node: NodeID, size: Int, _ model: ModelFilesystem) throws(StressFailure)

  /// Whatever else can be checked at the end: leaks, fsck.
  func finalCheck() throws(StressFailure)
}
