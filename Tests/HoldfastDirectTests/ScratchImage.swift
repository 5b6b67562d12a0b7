/// A plain file in place of an image, and a file's blocks scattered over it by hand.

import CPlatform
import Glibc
import HoldfastDirect
import Testing

final class ScratchImage {
  static let block = 4096

  let path: String
  let bytes: Int

  /// Of `blocks` blocks, none of them zero: block N is full of N + 1.
  init(blocks: Int, folder: String = "/dev/shm") throws {
    var template = Array("\(folder)/holdfast-direct-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    try #require(descriptor >= 0, "mkstemp: \(String(cString: strerror(errno)))")
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    bytes = blocks * Self.block
    for number in 0..<blocks {
      let content = [UInt8](repeating: UInt8(truncatingIfNeeded: number + 1), count: Self.block)
      #expect(pwrite(descriptor, content, content.count, number * Self.block) == content.count)
    }
    close(descriptor)
  }

  deinit { unlink(path) }

  func open(writable: Bool = true, direct: Bool = false) throws -> ImageFile {
    try ImageFile(path: path, writable: writable, direct: direct)
  }

  /// Extents in blocks: (logical, physical, length).
  func space(
    _ extents: [(Int, Int, Int, DirectExtent.State)], writable: Bool = true, direct: Bool = false,
    start: UInt64 = 0, end: UInt64 = .max
  ) throws -> DirectSpace {
    var table = ExtentTable()
    for (logical, physical, length, state) in extents {
      let extent = DirectExtent(
        logical: UInt64(logical * Self.block), physical: UInt64(physical * Self.block),
        length: UInt64(length * Self.block), state: state)
      let isSound = table.append(extent, imageBytes: UInt64(bytes))
      try #require(isSound)
    }
    return DirectSpace(
      image: try open(writable: writable, direct: direct), extents: table, start: start, end: end, writable: writable)
  }

  func contents() throws -> [UInt8] {
    let descriptor = holdfast_open(path, O_RDONLY, 0)
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: self.bytes)
    #expect(pread(descriptor, &bytes, bytes.count, 0) == bytes.count)
    return bytes
  }

  /// Whether anybody has the lease of this inode.
  func isLeased(_ inode: UInt64) throws -> Bool {
    let descriptor = holdfast_open(path, O_RDWR, 0)
    defer { close(descriptor) }
    var found = holdfast_lock()
    return holdfast_ofd_find_lock(descriptor, 1 << 62 + Int64(inode), 1, &found) == 1
  }
}

/// SplitMix64: the same numbers from the same seed, always.
struct TestRandom: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
