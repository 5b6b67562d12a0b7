/// Long-term pins of direct mappings, as a device takes them: io_uring's registered buffers.

import CMountedSupport
import CRegisteredBuffers
import Glibc
import HoldfastClient
import Testing

@Suite("Direct: pinning", .needsMount, .deadline(seconds: 120))
struct PinningTests {
  private static let size = 1 << 20

  /// What the ring stores lands in the file, and what it takes comes from there. `/dev/shm` is a tmpfs on every Linux.
  @Test func registeredBuffersAreTheFile() throws {
    let volume = try Volume(mebibytes: 64, in: "/dev/shm")
    defer { volume.remove() }
    try volume.mount("commit=1")
    let path = volume.root / "pinned"
    // In pieces: one buffer over several extents.
    try path.createFragmented([UInt8](repeating: 1, count: Self.size), pieces: 3)
    let other = Path(volume.folder + "/other")
    let bytes = (0..<65536).map { UInt8(truncatingIfNeeded: $0 / 256 &+ $0 &* 7) }
    try other.create(bytes)
    let source = try other.open(O_RDWR)
    defer { source.close() }

    let layout = try takeWriteLayout(path)
    let obstacle = layout.pinningObstacle
    #expect(obstacle == nil)
    let mapping = try layout.map(0..<UInt64(Self.size), .readWrite)
    let memory = mapping.bytes
    let start = try #require(memory.baseAddress)
    var code: Int32 = 0
    var isRefused: Int32 = 0
    let ring = try #require(
      hmt_ring_open(start, Self.size, &code, &isRefused), "io_uring: \(Errno(-code)), refused: \(isRefused)")
    do {
      defer { hmt_ring_close(ring) }
      // Over the border of two extents, and not on a page's border.
      let place = Self.size / 3 - 1000
      #expect(hmt_ring_read(ring, source.descriptor, 0, start + place, 65536) == 65536)
      #expect(try Array(path.contents()[place..<place + 65536]) == bytes)
      mapping.bytes[5000] = 0x77
      #expect(hmt_ring_write(ring, source.descriptor, 0, start + 4096, 8192) == 8192)
      let copied = try other.contents()
      #expect(
        copied[904] == 0x77 && copied[0..<904].allSatisfy { $0 == 1 } && copied[8192...].elementsEqual(bytes[8192...]))
    }
    mapping.unmap()
    _ = try layout.giveBack()
    volume.finish()
  }

  /// An image on ext4: the kernel refuses, and the library says why.
  @Test func onADiskItIsRefusedWithAReason() throws {
    let disk = try LoopDisk(mebibytes: 160)
    defer { disk.remove() }
    let volume = try Volume(mebibytes: 64, in: disk.mountPoint)
    defer { volume.remove() }
    try volume.mount("commit=1")
    let path = volume.root / "pinned"
    try path.create([UInt8](repeating: 1, count: Self.size))
    do {
      let layout = try takeWriteLayout(path)
      let found = layout.pinningObstacle
      let obstacle = try #require(found)
      #expect(obstacle == .storesAreTracked && "\(obstacle)".contains("tmpfs"))
      #expect("\(ClientError(pinning: obstacle, path: path.text))".contains("refuse long-term pins"))
      let mapping = try layout.map(0..<UInt64(Self.size), .readWrite)
      var code: Int32 = 0
      var isRefused: Int32 = 0
      let ring = hmt_ring_open(mapping.bytes.baseAddress, Self.size, &code, &isRefused)
      if let ring { hmt_ring_close(ring) }
      #expect(ring == nil && isRefused == 1 && code == -EFAULT)
      mapping.unmap()
      _ = try layout.giveBack()
    }
    volume.finish()
  }

  /// On tmpfs, too, a mapping for reading cannot be registered.
  @Test func aLayoutForReadingIsRefusedWithAReason() throws {
    let volume = try Volume(mebibytes: 64, in: "/dev/shm")
    defer { volume.remove() }
    try volume.mount("commit=1")
    let path = volume.root / "read"
    try path.create([UInt8](repeating: 1, count: Self.size))
    do {
      let layout = try takeLayout(path)
      let obstacle = layout.pinningObstacle
      #expect(obstacle == .readOnly)
      let mapping = try layout.map(0..<UInt64(Self.size))
      var code: Int32 = 0
      var isRefused: Int32 = 0
      let ring = hmt_ring_open(mapping.bytes.baseAddress, Self.size, &code, &isRefused)
      if let ring { hmt_ring_close(ring) }
      #expect(ring == nil && isRefused == 1 && code == -EFAULT)
    }
    volume.finish()
  }
}

/// An ext4 in a file, mounted by a loop device of its own, which goes with the mount.
private final class LoopDisk {
  let folder: String
  var mountPoint: String { folder + "/disk" }

  init(mebibytes: Int) throws {
    var template = Array("\(TestEnvironment.scratchFolder)/holdfast-disk-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno(errno) }
    folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    mkdir(mountPoint, 0o755)
    let file = folder + "/ext4"
    for command in [
      ["truncate", "--size", "\(mebibytes)M", file], ["mkfs.ext4", "-q", file],
      ["mount", "-o", "loop", file, mountPoint],
    ] {
      let result = try run(command)
      guard result.status == 0 else {
        remove()
        throw Trouble("\(command[0]): \(result.errorLine)")
      }
    }
  }

  func remove() {
    _ = hmt_umount(mountPoint, 0)
    if rmdir(mountPoint) != 0 { _ = hmt_umount(mountPoint, 1) }
    rmdir(mountPoint)
    unlink(folder + "/ext4")
    rmdir(folder)
  }
}
