import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastStore

/// Nanoseconds of CLOCK_MONOTONIC.
public func now() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Prints what each of `count` calls took, beside `unit` (nanoseconds), and returns it in nanoseconds.
@discardableResult
public func measure(
  _ what: String, _ count: Int, unit: Double? = nil, _ body: (Int) throws -> Void
) rethrows -> Double {
  let start = now()
  for index in 0..<count { try body(index) }
  let each = Double(now() - start) / Double(count)
  report(what, each, unit: unit ?? each)
  return each
}

/// One line: a name, nanoseconds, and their ratio to `unit`.
public func report(_ what: String, _ nanoseconds: Double, unit: Double) {
  let name = what + String(repeating: " ", count: max(1, 52 - what.count))
  print("\(name)\(Int(nanoseconds)) ns   \(Double(Int(nanoseconds / unit * 100)) / 100) x")
}

/// What single calls took, nanoseconds.
public struct Samples {
  private var nanoseconds: [UInt64] = []
  public init() {}

  public mutating func add(_ body: () throws -> Void) rethrows {
    let start = now()
    try body()
    nanoseconds.append(now() - start)
  }

  public mutating func add(_ value: UInt64) { nanoseconds.append(value) }

  /// So many of a hundred took no longer. nil of none.
  public func percentile(_ percent: Int) -> UInt64? {
    let sorted = nanoseconds.sorted()
    return sorted.isEmpty ? nil : sorted[min(sorted.count - 1, sorted.count * percent / 100)]
  }
}

/// Who the benchmarks are.
public let caller = Credentials(uid: 0, gid: 0, pid: 1)

public func named<Result>(_ index: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
  try Array("file-\(index)".utf8).withUnsafeBytes { try body($0) }
}

extension Store {
  /// An empty file in the root directory.
  public func makeFile(_ index: Int) throws -> InodeNumber {
    try named(index) { try make(NewInode(mode: 0o100644, umask: 0), $0, in: RootDirectory.inode, by: caller).inode }
  }

  public func append(_ bytes: UnsafeRawBufferPointer, to file: InodeNumber) throws {
    _ = try write(file, bytes, at: 0, append: true, dropPrivileges: false, handle: nil, by: caller)
  }

  public func overwrite(_ file: InodeNumber, _ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    _ = try write(file, bytes, at: offset, append: false, dropPrivileges: false, handle: nil, by: caller)
  }
}
