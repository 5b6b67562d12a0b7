/// The reference model: what a correct filesystem contains after a sequence of operations. Pure Swift, no I/O.
///
/// `expect` says what an operation must answer, `commit` takes over what it did. The two never look at the
/// filesystem, but for the maps of sealed files, which `expect` is given: whether a block is mapped is not the
/// model's to know.

import Glibc

/// An open handle of the model.
struct ModelHandle {
  var node: NodeID
  var access: Access
  /// Unlike its slot, never used twice.
  var serial: Int
}

/// What an operation did: 0 or an error number, and a value (inode number, bytes moved, offset found).
public struct Outcome: Equatable, Sendable {
  public var errno: Int32
  public var value: UInt64
  public static func done(_ value: UInt64 = 0) -> Outcome { Outcome(errno: 0, value: value) }
  public static func failed(_ errno: Int32) -> Outcome { Outcome(errno: errno, value: 0) }
}

/// What an operation must answer.
struct Expectation {
  /// Not empty: it must fail with one of these.
  var refusal: ErrnoSet = []
  /// It may fail with one of these as well as succeed.
  var tolerated: ErrnoSet = []
  /// The value of success, where the model knows it.
  var value: UInt64?
  /// Success may move fewer bytes than `value`, but at least 1.
  var mayBeShort = false
  /// Instead of the refusal, this many bytes or fewer (1 at least) may be done: the part before the first byte that cannot.
  var partBeforeRefusal: UInt64 = 0
  /// Breakable requests in the way: EAGAIN, or it waits, and they are asked to let go.
  var recalled: [ModelSeal] = []
  /// Row 26: breakable requests of the actor's own, which end with the operation.
  var endsOwn: [ModelSeal] = []

  static let success = Expectation()
  static func success(_ value: UInt64) -> Expectation { Expectation(value: value) }
  static func refused(_ codes: ErrnoSet) -> Expectation { Expectation(refusal: codes) }
  /// Refused when there is a cause, done otherwise.
  static func unless(_ causes: ErrnoSet) -> Expectation { Expectation(refusal: causes) }

  func accepts(_ outcome: Outcome) -> Bool {
    if outcome.errno != 0 { return refusal.contains(outcome.errno) || tolerated.contains(outcome.errno) }
    guard refusal.isEmpty else { return outcome.value >= 1 && outcome.value <= partBeforeRefusal }
    guard let value else { return true }
    return outcome.value == value || (mayBeShort && outcome.value >= 1 && outcome.value < value)
  }
}

extension Expectation: CustomStringConvertible {
  var description: String {
    if !refusal.isEmpty {
      return refusal.description + (partBeforeRefusal > 0 ? " or at most \(partBeforeRefusal) bytes done" : "")
    }
    return (value.map { "success with \($0)" } ?? "success") + (tolerated.isEmpty ? "" : " (or \(tolerated))")
  }
}

public final class ModelFilesystem {
  public static let handleSlots = 12
  public static let directorySlots = 8
  public static let processSlots = 4

  /// Whose patterns the writes carry.
  let job: Int
  /// Every third write is one of a user without CAP_FSETID; not where all are root's.
  let hasUnprivilegedWrites: Bool
  /// Bytes a file may grow to; operations beyond are skipped.
  let maximumFileBytes: Int
  var metadata: ModelMetadata
  var contents: [NodeID: ModelContent] = [:]
  var handles: [ModelHandle?] = Array(repeating: nil, count: handleSlots)
  var directories: [NodeID?] = Array(repeating: nil, count: directorySlots)
  var seals: [NodeID: [ModelSeal]] = [:]
  /// Handles that lost a request to a fence or revoke (row 28), by serial.
  var staleHandles: Set<Int> = []
  /// Files whose requests were taken away by the last operation: their generation moves on.
  var withdrawn: Set<NodeID> = []
  /// Who makes operations: the process in this slot less 1; 0 nobody that holds anything.
  var actingProcess = 0
  /// Files that an operation waits for holders of, or waited and has its turn.
  var awaited: NodeID?
  /// Persistent requests of files that went away since the last durable point: a crash may bring them back.
  var doomedSeals: [NodeID: [ModelSeal]] = [:]
  /// Persistent requests that were fenced while the device failed: their records may still be there.
  var doubtfulSeals: [NodeID: [ModelSeal]] = [:]
  /// Nil when no crash can come.
  var history: ModelHistory?
  /// For the contents; goes with `history`.
  let clock: ModelClock?
  private var nextSerial = 1
  var nextSealSerial = 1

  init(
    root: NodeID, rootMode: UInt32, job: Int, maximumFileBytes: Int, remembersHistory: Bool,
    hasUnprivilegedWrites: Bool = false
  ) {
    self.job = job
    self.hasUnprivilegedWrites = hasUnprivilegedWrites
    self.maximumFileBytes = maximumFileBytes
    metadata = ModelMetadata(root: root, mode: rootMode)
    directories[0] = root
    clock = remembersHistory ? ModelClock() : nil
    if remembersHistory { history = ModelHistory(durable: metadata) }
  }

  /// A model of its own in the same state.
  init(copying other: ModelFilesystem) {
    job = other.job
    hasUnprivilegedWrites = other.hasUnprivilegedWrites
    maximumFileBytes = other.maximumFileBytes
    metadata = other.metadata
    handles = other.handles
    directories = other.directories
    seals = other.seals
    doomedSeals = other.doomedSeals
    staleHandles = other.staleHandles
    actingProcess = other.actingProcess
    nextSealSerial = other.nextSealSerial
    history = other.history
    nextSerial = other.nextSerial
    let clock = other.clock.map { _ in ModelClock() }
    clock?.changes = other.clock?.changes ?? 0
    self.clock = clock
    contents = other.contents.mapValues { ModelContent(copying: $0, clock: clock) }
  }

  // MARK: Finding things

  enum Lookup: Equatable {
    /// The directory's slot is empty: whoever names it is skipped.
    case void
    case missing
    case found(NodeID)
  }

  func directory(_ slot: Int) -> NodeID? {
    directories.indices.contains(slot) ? directories[slot] : nil
  }

  func handle(_ slot: Int) -> ModelHandle? {
    handles.indices.contains(slot) ? handles[slot] : nil
  }

  func lookup(_ place: Place) -> Lookup {
    guard let directory = directory(place.directory) else { return .void }
    return metadata.nodes[directory]?.entries[place.name].map { .found($0) } ?? .missing
  }

  func node(_ id: NodeID) -> ModelNode? { metadata.nodes[id] }

  /// A name of a file, in a directory that has a slot.
  func place(of id: NodeID) -> Place? {
    for (slot, directory) in directories.enumerated() {
      guard let directory, let entries = metadata.nodes[directory]?.entries else { continue }
      let names = entries.filter { $0.value == id }.keys
      if let name = names.min() { return Place(slot, name) }
    }
    return nil
  }

  /// Names from the root down to a directory; nil for one that is no longer there.
  func path(ofDirectory id: NodeID) -> [[UInt8]]? {
    var components: [[UInt8]] = []
    var at = id
    while at != metadata.root {
      guard let parent = metadata.nodes[at]?.parent, let entries = metadata.nodes[parent]?.entries,
        let name = entries.first(where: { $0.value == at })?.key
      else { return nil }
      components.append(Names.bytes(name))
      at = parent
    }
    return components.reversed()
  }

  /// Whether `id` is `ancestor` or lies below it.
  func isWithin(_ id: NodeID, _ ancestor: NodeID) -> Bool {
    var at = id
    while at != ancestor {
      guard at != metadata.root, let parent = metadata.nodes[at]?.parent else { return false }
      at = parent
    }
    return true
  }

  // MARK: Changing things

  func apply(_ effect: ModelMetadata.Effect) {
    metadata.apply(effect)
    history?.note(effect)
    if history == nil, case .drop(let id) = effect { contents[id] = nil }
  }

  func openHandle(_ slot: Int, node: NodeID, access: Access) {
    handles[slot] = ModelHandle(node: node, access: access, serial: nextSerial)
    nextSerial += 1
  }

  /// The handle goes, with its seals; a file without names goes with its last handle.
  func closeHandle(_ slot: Int) {
    guard let handle = handle(slot) else { return }
    handles[slot] = nil
    endSeals(of: handle.node) { $0.holder == .handle(handle.serial) }
    staleHandles.remove(handle.serial)
    dropIfUnused(handle.node)
  }

  /// Forgets a file without names and handles.
  func dropIfUnused(_ id: NodeID) {
    guard let node = metadata.nodes[id], node.links == 0, node.kind != .directory,
      !handles.contains(where: { $0?.node == id })
    else { return }
    if history != nil { doomedSeals[id] = seals[id] }
    seals[id] = nil
    apply(.drop(id))
  }

  /// Everything so far survives a crash: commits are for the whole volume.
  func allDurable() {
    guard let gone = history?.makeDurable() else { return }
    for id in gone { contents[id] = nil }
    for content in contents.values { content.synced() }
    clock?.changes = 0
    doomedSeals.removeAll(keepingCapacity: true)
    doubtfulSeals.removeAll(keepingCapacity: true)
  }

  func endOperation() {
    history?.endOperation()
    clock?.changes = history?.operations ?? 0
  }
}
