/// Direct access for tests: layouts of paths, and files that lie in pieces.

import CMountedSupport
import Glibc
import HoldfastClient
import Testing

/// A handle of a file that was closed lives on for a moment (RELEASE is asynchronous), and is busy for so long.
func takeLayout(
  _ path: Path, _ change: (inout LayoutRequest) -> Void = { _ in }, image: String? = nil, uncached: Bool = false
) throws(ClientError) -> HoldfastClient.Layout {
  var request = LayoutRequest()
  change(&request)
  let end = now() + 5
  while true {
    do throws(ClientError) {
      let file = try OpenFile(path.text, access: request.isWrite ? .readWrite : .readOnly)
      return try HoldfastClient.Layout(file, request, image: image, uncached: uncached)
    } catch {
      guard error.errno == EBUSY, now() < end else { throw error }
      usleep(2000)
    }
  }
}

func takeWriteLayout(_ path: Path) throws(ClientError) -> HoldfastClient.Layout {
  try takeLayout(path) { $0.isWrite = true }
}

extension HoldfastClient.Layout {
  func bytes(_ count: Int, at offset: Int) throws(ClientError) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
    defer { buffer.deallocate() }
    let done = try read(into: buffer, at: UInt64(offset))
    return Array(buffer.prefix(done))
  }

  @discardableResult
  func write(bytes: [UInt8], at offset: Int) throws(ClientError) -> Int {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 4096)
    defer { buffer.deallocate() }
    buffer.copyBytes(from: bytes)
    return try write(UnsafeRawBufferPointer(buffer), at: UInt64(offset))
  }
}

extension Path {
  /// Made anew with these contents in at least so many pieces: other files' blocks lie between.
  func createFragmented(_ contents: [UInt8], pieces: Int) throws {
    let step = (contents.count / pieces + 4095) & ~4095
    let file = try open(O_CREAT | O_TRUNC | O_WRONLY)
    defer { file.close() }
    // From the end to the beginning: nothing is preallocated that the next piece could lie in.
    for offset in stride(from: 0, to: contents.count, by: step).reversed() {
      try file.writeAll(Array(contents[offset..<min(offset + step, contents.count)]), at: offset)
      try file.sync()
      try Path("\(text).between-\(offset)").create([1])
    }
    let lines = try extents().split(separator: "\n").count
    guard lines >= pieces else { throw Trouble("\(self) lies in \(lines) pieces") }
  }
}

/// Whether anybody holds a lease of this inode on a volume's image.
func isLeased(_ volume: Volume, _ inode: UInt64) throws -> Bool {
  let file = try Path(volume.image).open(O_RDWR)
  defer { file.close() }
  return try check(hmt_is_locked(file.descriptor, 1 << 62 + Int64(inode))) == 1
}
