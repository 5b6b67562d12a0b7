/// The ways to stand a hard request on a file, and a file of known shape with one on it.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

/// A column of the truth table: `unsealed`, or a sort of hard request.
enum Sealing: String, CaseIterable, CustomTestStringConvertible {
  case unsealed, named, handle, process, persistent, ttl

  static let sealed: [Sealing] = [.named, .handle, .process, .persistent, .ttl]
  var isSealed: Bool { self != .unsealed }
  var testDescription: String { rawValue }

  /// What setfattr would set; nil for what only an ioctl takes.
  fileprivate var words: String? {
    switch self {
    case .unsealed, .handle: nil
    case .named: "hard"
    case .process: "pid=\(getpid())"
    case .persistent: "persistent"
    case .ttl: "ttl=3600"
    }
  }
}

/// How a subject's blocks lie. `B` bytes are a block.
enum Layout {
  static let block = 4096
  /// Five whole blocks and 100 bytes of a sixth, all written.
  case written
  /// Blocks 0–1 written, 2–3 a hole, 4–5 preallocated and unwritten, 6 written, 100 bytes of 7 written.
  case mixed
  /// No bytes at all.
  case empty

  var size: Int {
    switch self {
    case .written: 5 * Self.block + 100
    case .mixed: 7 * Self.block + 100
    case .empty: 0
    }
  }
}

/// A file with, or without, a request on it.
final class Subject {
  let path: Path
  let sealing: Sealing
  private let layout: Layout
  /// Its holder, when the request is bound to a handle; opened for reading and writing.
  private(set) var holder: File?

  init(in folder: Path, _ sealing: Sealing, _ layout: Layout = .written, name: String = "subject") throws {
    path = folder / name
    self.sealing = sealing
    self.layout = layout
    try Self.make(path, layout)
    try seal()
  }

  private static func make(_ path: Path, _ layout: Layout) throws {
    let file = try path.open(O_CREAT | O_TRUNC | O_RDWR)
    defer { file.close() }
    switch layout {
    case .empty: break
    case .written: try file.writeAll(pattern(layout.size))
    case .mixed:
      let block = Layout.block
      try file.writeAll(pattern(2 * block))
      try file.allocate(at: 4 * block, 2 * block)
      try file.writeAll(pattern(block + 100, seed: 9), at: 6 * block)
    }
    try file.sync()
  }

  /// Stands the request (again).
  func seal() throws {
    let isPartial = layout == .mixed
    switch sealing {
    case .unsealed: break
    case .handle:
      let holder = try path.open(O_RDWR)
      try holder.seal(isPartial ? HOLDFAST_SEAL_AS_IS : 0)
      self.holder = holder
    default: try path.seal(sealing.words! + (isPartial ? ",as-is" : ""), name: "row")
    }
  }

  func release() throws {
    switch sealing {
    case .unsealed: break
    case .handle:
      try holder?.unseal()
      holder?.close()
    default: try path.unseal(name: "row")
    }
  }

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

/// What the table says under "hard seal".
enum Verdict {
  case allowed
  /// ETXTBSY, and nothing of the file has changed.
  case refused
}

/// One cell of the table: `operation` on a file under `sealing`. An allowed one must succeed and `happened` hold; a
/// refused one must leave no trace, and succeed as soon as the request is released: that it was the request is shown.
func expectCell(
  _ sealing: Sealing, _ layout: Layout = .written, underSeal verdict: Verdict, _ what: String,
  sourceLocation: SourceLocation = #_sourceLocation, operation: (Subject) throws -> Void,
  happened: (Subject, _ before: Subject.State, _ after: Subject.State) throws -> Bool
) throws {
  let folder = try sharedVolume().freshFolder()
  let subject = try Subject(in: folder, sealing, layout)
  defer { try? subject.release() }
  let before = try subject.state()
  if sealing.isSealed {
    #expect(before.sealCount == 1, sourceLocation: sourceLocation)
    if verdict == .refused {
      #expect(throws: Errno(ETXTBSY), "\(what) while sealed", sourceLocation: sourceLocation) {
        try operation(subject)
      }
      let after = try subject.state()
      #expect(after == before, "\(what): a refused operation left a trace", sourceLocation: sourceLocation)
      let isFresh = try eventually { try subject.path.contents() == before.contents }
      #expect(isFresh, "\(what): the kernel's pages keep refused bytes", sourceLocation: sourceLocation)
      try subject.release()
      #expect(try subject.path.sealCount() == 0, sourceLocation: sourceLocation)
    }
  }
  try operation(subject)
  let after = try subject.state()
  #expect(
    try happened(subject, before, after), "\(what): \(before) became \(after)", sourceLocation: sourceLocation)
  if sealing.isSealed && verdict == .allowed {
    #expect(after.extents == before.extents, "\(what): the sealed map moved", sourceLocation: sourceLocation)
    #expect(after.size == before.size, sourceLocation: sourceLocation)
    #expect(after.sealCount == before.sealCount, sourceLocation: sourceLocation)
  }
}
