/// What any filesystem does, by plain system calls in a folder: for comparing a mount with another.

import CPlatform
import Glibc

public struct PathBench {
  /// One kind of work: how often a second it was done.
  public struct Result: Equatable, Sendable {
    public var name: String
    public var perSecond: Double
  }

  let folder: String
  private static let fileBytes = 64 << 20
  private static let transfers = 10_000
  private static let files = 2_000

  /// A folder that is there, and empty.
  public init(folder: String) { self.folder = folder }

  public func run() throws -> [Result] {
    let path = "\(folder)/data"
    let descriptor = holdfast_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw BenchmarkTrouble(path) }
    defer {
      close(descriptor)
      unlink(path)
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    buffer.initializeMemory(as: UInt8.self, repeating: 7)
    defer { buffer.deallocate() }
    var results: [Result] = []
    func add(_ name: String, _ count: Int, _ body: (Int) -> Bool) throws {
      let taken = try Clock.time {
        for index in 0..<count where !body(index) { throw BenchmarkTrouble("\(name) in \(folder)") }
      }
      results.append(Result(name: name, perSecond: Double(count) * 1e9 / taken))
    }
    let large = Self.fileBytes >> 20
    var offsets = ScatteredOffsets(count: UInt64(Self.fileBytes / 4096), unit: 4096)
    try add("1 MiB writes, fsync", large) { index in
      pwrite(descriptor, buffer.baseAddress!, 1 << 20, off_t(index) << 20) == 1 << 20
        && (index + 1 < large || fsync(descriptor) == 0)
    }
    try add("1 MiB reads", large) { pread(descriptor, buffer.baseAddress!, 1 << 20, off_t($0) << 20) == 1 << 20 }
    try add("4 KiB random reads", Self.transfers) { _ in
      pread(descriptor, buffer.baseAddress!, 4096, off_t(offsets.next())) == 4096
    }
    try add("4 KiB random writes", Self.transfers) { _ in
      pwrite(descriptor, buffer.baseAddress!, 4096, off_t(offsets.next())) == 4096
    }
    try add("4 KiB writes with fdatasync", 200) { _ in
      pwrite(descriptor, buffer.baseAddress!, 4096, off_t(offsets.next())) == 4096 && fdatasync(descriptor) == 0
    }
    try add("create", Self.files) { index in
      let file = holdfast_open("\(folder)/f\(index)", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      return file >= 0 && close(file) == 0
    }
    try add("stat", Self.files) { index in
      var status = stat()
      return stat("\(folder)/f\(index)", &status) == 0
    }
    try add("unlink", Self.files) { index in unlink("\(folder)/f\(index)") == 0 }
    return results
  }
}
