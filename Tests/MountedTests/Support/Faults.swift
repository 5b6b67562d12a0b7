/// Calls of the daemon on its image that fail, from outside: the rules of Tests/CFaultControl in a file the shim maps.

import CFaultControl
import CMountedSupport
import Glibc

final class Faults {
  enum Call: UInt32 {
    case read = 1
    case write = 2
    case sync = 3
  }

  private let path: String
  private let control: UnsafeMutablePointer<holdfast_fault_control>
  private var rules = 0

  /// For the mount to come of `volume`, whose image must not be exchanged before.
  init(_ volume: Volume) throws {
    guard access(TestEnvironment.faultShim, R_OK) == 0 else { throw Trouble("no \(TestEnvironment.faultShim)") }
    path = volume.folder + "/faults"
    let bytes = MemoryLayout<holdfast_fault_control>.size
    let file = try Path(path).open(O_CREAT | O_TRUNC | O_RDWR)
    defer { file.close() }
    try file.truncate(bytes)
    guard let start = hmt_map(file.descriptor, bytes, 1) else { throw Errno(errno) }
    control = start.assumingMemoryBound(to: holdfast_fault_control.self)
    let status = try Path(volume.image).status()
    control.pointee.device = UInt64(status.st_dev)
    control.pointee.inode = UInt64(status.st_ino)
  }

  deinit { munmap(control, MemoryLayout<holdfast_fault_control>.size) }

  var environment: [String] { ["LD_PRELOAD=\(TestEnvironment.faultShim)", "HOLDFAST_FAULTS=\(path)"] }

  /// From now on calls on these bytes fail with `error`: after `skip` that go through, so many.
  func fail(
    _ call: Call, _ bytes: Range<UInt64> = 0..<UInt64.max, error: Int32 = EIO, skip: UInt64 = 0,
    times: UInt64 = .max
  ) {
    let rule = rule(rules)
    rules += 1
    precondition(rules <= Int(HOLDFAST_FAULT_RULES))
    rule.pointee = holdfast_fault_rule(
      operation: 0, error: error, start: bytes.lowerBound, end: bytes.upperBound, skip: skip, count: times, seen: 0,
      failed: 0)
    holdfast_fault_switch(rule, call.rawValue)
  }

  /// Calls that have failed since `fail`.
  var failures: Int { (0..<rules).reduce(0) { $0 + Int(holdfast_fault_failed(rule($1))) } }

  /// Everything works again.
  func stop() {
    for index in 0..<rules { holdfast_fault_switch(rule(index), UInt32(HOLDFAST_FAULT_OFF)) }
    rules = 0
  }

  private func rule(_ index: Int) -> UnsafeMutablePointer<holdfast_fault_rule> {
    withUnsafeMutablePointer(to: &control.pointee.rules) { rules in
      UnsafeMutableRawPointer(rules).assumingMemoryBound(to: holdfast_fault_rule.self) + index
    }
  }
}

/// Where things lie in a small image that was just made (docs/FORMAT.md).
struct ImageLayout {
  static let superblocks: [Range<UInt64>] = [0..<4096, 256 << 12..<257 << 12]
  let journal: Range<UInt64>
  /// The first metadata chunk: all nodes, while there are few.
  let nodes: Range<UInt64>

  init(_ volume: Volume) throws {
    journal = 257 << 12..<257 << 12 + (try volume.imageInformation().journalBytes)
    nodes = journal.upperBound..<journal.upperBound + 256 << 12
  }
}

extension Path {
  /// The bytes of the image that hold the file's first extent.
  func placeInImage() throws -> Range<UInt64> {
    let fields = try extents().split(separator: "\n")[0].split(separator: " ")
    guard fields.count >= 3, let start = UInt64(fields[1]), let count = UInt64(fields[2]) else {
      throw Trouble("extents: \(fields)")
    }
    return start..<start + count
  }
}
