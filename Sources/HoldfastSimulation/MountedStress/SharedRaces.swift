/// All jobs at once in one directory: names come, go and change under everybody's hands. What an operation
/// answers cannot be known, but some answers are wrong whatever happened.

import CPlatform
import Glibc

struct SharedRaces {
  private static let names = 10
  private static let directories = 3
  /// What losing a race may look like.
  private static let fair: ErrnoSet = [
    ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR, EINVAL, EPERM, EMLINK, ENOTCONN, ECONNABORTED,
  ]

  let folder: String
  let isHoldfast: Bool
  private var random: SeededRandom
  private let job: Int
  private var tag = 1

  /// Makes the folder when it is not there yet.
  init(folder: String, isHoldfast: Bool, seed: UInt64, job: Int) {
    self.folder = folder
    self.isHoldfast = isHoldfast
    self.job = job
    random = SeededRandom(seed: seed ^ 0x5ade, part: job)
    mkdir(folder, 0o777)
  }

  /// A burst of operations.
  mutating func run() throws(StressFailure) {
    for _ in 0..<10 { try step() }
  }

  private mutating func path() -> String {
    let directory = random.below(Self.directories + 2)
    let name = "r\(random.below(Self.names))"
    return directory < Self.directories ? "\(folder)/d\(directory)/\(name)" : "\(folder)/\(name)"
  }

  private mutating func directoryPath() -> String { "\(folder)/d\(random.below(Self.directories))" }

  private mutating func step() throws(StressFailure) {
    let first = path()
    let second = path()
    switch random.below(12) {
    case 0, 1, 2: try writeAndReadBack(first)
    case 3: try judge("unlink \(first)", unlink(first))
    case 4, 5: try judge("rename \(first) \(second)", holdfast_rename(first, second, UInt32(random.below(3))))
    case 6: try judge("link \(first) \(second)", link(first, second))
    case 7: try judge("mkdir", mkdir(directoryPath(), 0o777))
    case 8: try judge("rmdir", rmdir(directoryPath()))
    case 9:
      let one = directoryPath()
      let other = directoryPath()
      try judge("rename \(one) \(other)", holdfast_rename(one, other, UInt32(random.below(3))))
    case 10: try list(random.oneIn(2) ? folder : directoryPath())
    default:
      var status = stat()
      try judge("stat \(first)", lstat(first, &status))
    }
  }

  private func judge(_ what: String, _ result: Int32) throws(StressFailure) {
    let code = errno
    guard result < 0, !Self.fair.contains(code) else { return }
    // A full disk is nobody's race.
    if code == ENOSPC { return }
    throw StressFailure(.outcome, "in the shared directory: \(what): \(errnoName(code))")
  }

  /// A file that is this job's while it holds it, whatever becomes of its name.
  private mutating func writeAndReadBack(_ path: String) throws(StressFailure) {
    let file = holdfast_open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
    if file < 0 { return try judge("create \(path)", file) }
    defer { close(file) }
    tag += 1
    var bytes = [UInt8](repeating: 0, count: 1 + random.below(9000))
    bytes.withUnsafeMutableBytes { Pattern.fill($0, tag: PatternTag(job: 62, number: job << 20 | tag), offset: 0) }
    guard write(file, bytes, bytes.count) == bytes.count else { return try judge("write \(path)", -1) }
    var again = [UInt8](repeating: 0, count: bytes.count)
    let count = pread(file, &again, again.count, 0)
    if count < 0 { return try judge("read \(path)", -1) }
    guard count == again.count, again == bytes else {
      throw StressFailure(.contents, "in the shared directory: \(path) does not read back")
    }
  }

  private func list(_ path: String) throws(StressFailure) {
    guard let directory = opendir(path) else { return try judge("opendir \(path)", -1) }
    defer { closedir(directory) }
    errno = 0
    while let entry = readdir(directory) {
      let isSane = withUnsafeBytes(of: &entry.pointee.d_name) { name in
        name[0] == UInt8(ascii: ".") || name[0] == UInt8(ascii: "d") || name[0] == UInt8(ascii: "r")
      }
      guard isSane else { throw StressFailure(.metadata, "in the shared directory: \(path) lists a name nobody made") }
      errno = 0
    }
    if errno != 0 { try judge("readdir \(path)", -1) }
  }
}
