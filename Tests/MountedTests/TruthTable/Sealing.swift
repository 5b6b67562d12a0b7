/// The ways to stand a hard request on a file, and a file of known shape with one on it.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

/// A column of the truth table and a lifetime: one way to stand a request on a file, or none.
enum Sealing: String, CaseIterable, CustomTestStringConvertible {
  case unsealed
  case named, handle, process, persistent, ttl
  case pinNamed, pinHandle, pinProcess, pinPersistent
  case breakableNamed, breakableHandle, breakableProcess, breakablePersistent, breakablePin

  enum Column { case unsealed, hard, pin, breakable }
  enum Lifetime { case handle, named, process, persistent }

  static let sealed = allCases.filter { $0.isSealed }
  static let hard = allCases.filter { $0.column == .hard }
  static let breakable = allCases.filter { $0.column == .breakable }
  var isSealed: Bool { self != .unsealed }
  var testDescription: String { rawValue }

  var column: Column {
    switch self {
    case .unsealed: .unsealed
    case .named, .handle, .process, .persistent, .ttl: .hard
    case .pinNamed, .pinHandle, .pinProcess, .pinPersistent: .pin
    case .breakableNamed, .breakableHandle, .breakableProcess, .breakablePersistent, .breakablePin: .breakable
    }
  }

  var lifetime: Lifetime {
    switch self {
    case .unsealed, .named, .ttl, .pinNamed, .breakableNamed: .named
    case .handle, .pinHandle, .breakableHandle, .breakablePin: .handle
    case .process, .pinProcess, .breakableProcess: .process
    case .persistent, .pinPersistent, .breakablePersistent: .persistent
    }
  }

  /// What a conflicting operation by an O_NONBLOCK handle gets; nil without a request.
  var refusal: Errno? {
    switch column {
    case .unsealed: nil
    case .hard, .pin: Errno(ETXTBSY)
    case .breakable: Errno(EAGAIN)
    }
  }

  /// Of a range, hard or breakable.
  var isPin: Bool { column == .pin || self == .breakablePin }
  var isWhole: Bool { isSealed && !isPin }
}

/// How a subject's blocks lie. `B` bytes are a block.
enum Layout {
  static let block = 4096
  /// Five whole blocks and 100 bytes of a sixth, all written.
  case written
  /// Blocks 0–1 written, 2–3 a hole, 4–5 preallocated and unwritten, 6 written, 100 bytes of 7 written.
  case mixed
  /// As `written`, every block somewhere else on the image.
  case splintered
  /// No bytes at all.
  case empty

  /// R of the table: the bytes that pins cover.
  var pinned: Range<Int> {
    switch self {
    case .written, .splintered: Self.block..<3 * Self.block
    case .mixed: 2 * Self.block..<6 * Self.block
    case .empty: 0..<Self.block
    }
  }

  var size: Int {
    switch self {
    case .written, .splintered: 5 * Self.block + 100
    case .mixed: 7 * Self.block + 100
    case .empty: 0
    }
  }
}

/// A file with, or without, a request on it.
final class Subject {
  /// So long that no test waits for it: a holder that does not let go is tested for itself.
  static let graceSeconds = 300

  let path: Path
  let sealing: Sealing
  let layout: Layout
  /// Its holder, when the request is bound to a handle; opened for reading and writing.
  private(set) var holder: File?
  /// Its holder, when the request is bound to a process: not the one that tests, whose operations would be the holder's own.
  private(set) var process: Agent?

  init(in folder: Path, _ sealing: Sealing, _ layout: Layout = .written, name: String = "subject") throws {
    path = folder / name
    self.sealing = sealing
    self.layout = layout
    try Self.make(path, layout)
    try seal()
  }

  /// Of a file that is there, all written.
  init(of path: Path, _ sealing: Sealing) throws {
    self.path = path
    self.sealing = sealing
    layout = .written
    try seal()
  }

  private static func make(_ path: Path, _ layout: Layout) throws {
    let file = try path.open(O_CREAT | O_TRUNC | O_RDWR)
    defer { file.close() }
    switch layout {
    case .empty: break
    case .written: try file.writeAll(pattern(layout.size))
    case .splintered: try writeSplintered(pattern(layout.size), to: file, path)
    case .mixed:
      let block = Layout.block
      try file.writeAll(pattern(2 * block))
      try file.allocate(at: 4 * block, 2 * block)
      try file.writeAll(pattern(block + 100, seed: 9), at: 6 * block)
    }
    try file.sync()
  }

  /// Block by block, in turn with another file: each block's neighbour on the image is that one's. Other tests give back
  /// blocks meanwhile, which may close a gap: then once more, with the first try's blocks out of the way.
  private static func writeSplintered(_ bytes: [UInt8], to file: File, _ path: Path) throws {
    for attempt in 0..<20 {
      let other = try Path(path.text + "-other\(attempt)").open(O_CREAT | O_TRUNC | O_RDWR)
      defer { other.close() }
      for offset in stride(from: 0, to: bytes.count, by: Layout.block) {
        for file in [file, other] {
          try file.writeAll(Array(bytes[offset..<min(offset + Layout.block, bytes.count)]), at: offset)
        }
      }
      if try path.extents().split(separator: "\n").count == (bytes.count - 1) / Layout.block + 1 { return }
      try file.truncate(0)
    }
    throw Trouble("\(path): its blocks will not lie apart")
  }

  /// Stands the request (again).
  func seal() throws {
    switch sealing.lifetime {
    case _ where !sealing.isSealed: break
    case .handle:
      let holder = try path.open(O_RDWR)
      var argument = requested
      try holder.control(UInt(sealing.isPin ? holdfast_ioc_pin : holdfast_ioc_seal), &argument)
      self.holder = holder
    case .process:
      let process = try Agent()
      self.process = process
      try path.seal(words + ",pid=\(process.pid)", name: "row")
    case .persistent: try path.seal(words + ",persistent", name: "row")
    case .named: try path.seal(words + (sealing == .ttl ? ",ttl=3600" : ""), name: "row")
    }
  }

  /// What setfattr would set, without the lifetime.
  private var words: String {
    var words = sealing.column == .breakable ? "breakable=\(Self.graceSeconds)" : "hard"
    if sealing.isPin { words += ",range=\(layout.pinned.lowerBound)+\(layout.pinned.count)" }
    return layout == .written ? words : words + ",as-is"
  }

  /// The same for SEAL or PIN.
  private var requested: holdfast_seal {
    var argument = scoped
    if layout != .written { argument.flags |= HOLDFAST_SEAL_AS_IS }
    if sealing.column == .breakable {
      argument.flags |= HOLDFAST_SEAL_BREAKABLE
      argument.grace_seconds = UInt32(Self.graceSeconds)
    }
    return argument
  }

  private var scoped: holdfast_seal {
    var argument = holdfast_seal(flags: 0)
    if sealing.isPin {
      argument.offset = UInt64(layout.pinned.lowerBound)
      argument.length = UInt64(layout.pinned.count)
    }
    return argument
  }

  /// By ioctl, which waits for nobody: removexattr(2) would wait for whoever waits for this.
  func release() throws {
    switch sealing.lifetime {
    case _ where !sealing.isSealed: break
    case .handle:
      var argument = scoped
      try holder?.control(UInt(sealing.isPin ? holdfast_ioc_unpin : holdfast_ioc_unseal), &argument)
      holder?.close()
    default:
      let file = try path.open(O_RDONLY | O_NONBLOCK)
      defer { file.close() }
      try file.unseal(HOLDFAST_SEAL_NAMED, name: "row")
    }
  }

  /// Somebody waits for its holder.
  func isRecalled() throws -> Bool { try path.holders().contains { $0.recallMs != nil } }

  /// Everything a refused operation must leave as it was.
  struct State: Equatable {
    var size: Int
    var blocks: Int
    var mode: mode_t
    var modified: [Int]
    var changed: [Int]
    var contents: [UInt8]
    var extents: String
    var generation: UInt64
    var sealCount: Int
  }

  func state() throws -> State {
    let status = try path.status()
    return State(
      size: Int(status.st_size), blocks: Int(status.st_blocks), mode: status.st_mode,
      modified: [status.st_mtim.tv_sec, status.st_mtim.tv_nsec],
      changed: [status.st_ctim.tv_sec, status.st_ctim.tv_nsec],
      contents: try path.storedContents(), extents: try path.extents(), generation: try path.generation(),
      sealCount: try path.sealCount())
  }
}

/// What an operation does to the map, as the table's columns see it.
enum Effect {
  /// No row's business: allowed in every column.
  case none
  /// Refused under a hard seal and a pin; recalls breakable requests.
  case withinPin
  /// The same, but none of R changes: pins allow it.
  case outsidePin

  enum Verdict {
    case allowed
    /// ETXTBSY, and nothing of the file has changed.
    case refused
    /// Waits until the holder has let go.
    case recalled
  }

  func verdict(under sealing: Sealing) -> Verdict {
    if self == .none || self == .outsidePin && sealing.isPin { return .allowed }
    switch sealing.column {
    case .unsealed: return .allowed
    case .hard, .pin: return .refused
    case .breakable: return .recalled
    }
  }
}

/// One cell of the table: `operation` on a file under `sealing`. An allowed one must succeed and `happened` hold; a
/// refused one must leave no trace, and succeed as soon as the request is released: that it was the request is shown. A
/// recalled one must wait without a trace, the holder hear of it, and `happened` hold once the holder has let go.
func expectCell(
  _ sealing: Sealing, _ layout: Layout = .written, effect: Effect, _ what: String,
  sourceLocation: SourceLocation = #_sourceLocation, operation: (Subject) throws -> Void,
  happened: (Subject, _ before: Subject.State, _ after: Subject.State) throws -> Bool
) throws {
  let folder = try sharedVolume().freshFolder()
  let subject = try Subject(in: folder, sealing, layout)
  defer { try? subject.release() }
  let before = try subject.state()
  #expect(before.sealCount == (sealing.isSealed ? 1 : 0), sourceLocation: sourceLocation)
  let verdict = effect.verdict(under: sealing)
  switch verdict {
  case .allowed: try operation(subject)
  case .refused:
    #expect(throws: Errno(ETXTBSY), "\(what) while sealed", sourceLocation: sourceLocation) {
      try operation(subject)
    }
    let after = try subject.state()
    #expect(after == before, "\(what): a refused operation left a trace", sourceLocation: sourceLocation)
    let isFresh = try eventually { try subject.path.contents() == before.contents }
    #expect(isFresh, "\(what): the kernel's pages keep refused bytes", sourceLocation: sourceLocation)
    try subject.release()
    #expect(try subject.path.sealCount() == 0, sourceLocation: sourceLocation)
    try operation(subject)
  case .recalled: try expectWait(subject, before, what, sourceLocation, operation: operation)
  }
  let after = try subject.state()
  #expect(
    try happened(subject, before, after), "\(what): \(before) became \(after)", sourceLocation: sourceLocation)
  guard sealing.isSealed, verdict == .allowed else { return }
  #expect(after.sealCount == 1, sourceLocation: sourceLocation)
  #expect(try !subject.isRecalled(), "\(what): recalled for nothing", sourceLocation: sourceLocation)
  let scope = sealing.isPin ? layout.pinned : 0..<Int.max
  let (old, new) = (Extents(before.extents), Extents(after.extents))
  #expect(
    new.blocks(in: scope) == old.blocks(in: scope), "\(what): the sealed map moved", sourceLocation: sourceLocation)
  if !sealing.isPin { #expect(after.size == before.size, sourceLocation: sourceLocation) }
}

/// The column "breakable" of a row that recalls.
private func expectWait(
  _ subject: Subject, _ before: Subject.State, _ what: String, _ sourceLocation: SourceLocation,
  operation: (Subject) throws -> Void
) throws {
  try withoutActuallyEscaping(operation) { operation in
    nonisolated(unsafe) let (operation, held) = (operation, subject)
    let waiting = Background { try operation(held) }
    let isRecalled = try eventually { try subject.isRecalled() }
    #expect(isRecalled, "\(what): the holder is not asked", sourceLocation: sourceLocation)
    if let holder = subject.holder {
      #expect(try holder.poll(Int16(POLLPRI)) == Int16(POLLPRI), sourceLocation: sourceLocation)
      #expect(try holder.recallMilliseconds() != nil, sourceLocation: sourceLocation)
    }
    // Rows 1 and 21 meanwhile: everybody reads, nobody new comes in.
    let other = try subject.path.open(O_RDONLY | O_NONBLOCK)
    defer { other.close() }
    #expect(throws: Errno(EAGAIN), sourceLocation: sourceLocation) {
      try other.seal(HOLDFAST_SEAL_AS_IS, name: "late")
    }
    #expect(!waiting.isDone, "\(what): did not wait", sourceLocation: sourceLocation)
    #expect(try subject.path.extents() == before.extents, sourceLocation: sourceLocation)
    #expect(try subject.path.generation() == before.generation, sourceLocation: sourceLocation)
    #expect(try Int(subject.path.status().st_size) == before.size, sourceLocation: sourceLocation)
    try subject.release()
    try waiting.finish()
    #expect(try subject.path.sealCount() == 0, sourceLocation: sourceLocation)
  }
}
