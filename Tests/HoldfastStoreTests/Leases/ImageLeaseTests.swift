/// Leases as the kernel keeps them: locks of open file descriptions on a real file.

import CPlatform
import Glibc
import HoldfastBase
import HoldfastDevice
import Testing

@Suite("Device: leases on an image") struct ImageLeaseTests {
  /// An image file and what opens it.
  private final class Image {
    let path: String

    init() throws {
      var template = Array("/tmp/holdfast-lease-XXXXXX".utf8CString)
      let file = mkstemp(&template)
      try #require(file >= 0 && ftruncate(file, 1 << 20) == 0)
      close(file)
      path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit { unlink(path) }

    /// Another open file description.
    func open() throws -> Int32 {
      let file = holdfast_open(path, O_RDONLY | O_CLOEXEC, 0)
      try #require(file >= 0)
      return file
    }

    func lease(_ file: Int32, _ inodes: ClosedRange<InodeNumber>, _ type: Int32 = F_RDLCK) throws {
      let start = Int64(Lease.byteOffset + inodes.lowerBound)
      try #require(holdfast_ofd_lock(file, Int16(type), start, Int64(inodes.count)) == 0)
    }
  }

  @Test(arguments: [ImageFile.Mode.readOnly, .readWrite]) func theDaemonFindsThem(mode: ImageFile.Mode) throws {
    let image = try Image()
    let device = try ImageFile(path: image.path, mode: mode)
    #expect(try device.leases() == [])
    let first = try image.open()
    let second = try image.open()
    defer { close(second) }
    try image.lease(first, 12...12)
    try image.lease(second, 12...12)
    try image.lease(first, 500...502)
    try image.lease(second, 1...1)
    try image.lease(second, Lease.everyInode.upperBound...Lease.everyInode.upperBound)
    let inodes = try device.leases().map(\.inodes)
    #expect(
      inodes == [1...1, 12...12, 500...502, Lease.everyInode.upperBound...Lease.everyInode.upperBound])
    #expect(try device.leases().allSatisfy { $0.pid == 0 })
    #expect(try device.lease(within: 501...600)?.inodes == 501...502)
    #expect(try device.isLeased(12) && device.isLeased(501) && !device.isLeased(13))
    #expect(try !device.isLeased(0) && !device.isLeased(.max))
    // Every descriptor of it must be closed, and every mapping gone.
    let mapping = mmap(nil, 4096, PROT_READ, MAP_SHARED, first, 0)
    try #require(mapping != MAP_FAILED)
    close(first)
    #expect(try device.isLeased(500))
    munmap(mapping, 4096)
    #expect(try !device.isLeased(500) && device.isLeased(12))
  }

  /// A lock over everything, up to the end of all offsets, leases everything.
  @Test func oneLockMayLeaseEverything() throws {
    let image = try Image()
    let device = try ImageFile(path: image.path, mode: .readWrite)
    let file = try image.open()
    defer { close(file) }
    try #require(holdfast_ofd_lock(file, Int16(F_RDLCK), 0, 0) == 0)
    #expect(try device.leases().map(\.inodes) == [Lease.everyInode])
    #expect(try device.lease(within: 7...9)?.inodes == 7...9)
  }

  /// Our own locks are in nobody's way, those of before our bytes are no leases.
  @Test func locksOnTheBytesBelowAreNone() throws {
    let image = try Image()
    let device = try ImageFile(path: image.path, mode: .readWrite)
    let file = try image.open()
    defer { close(file) }
    try #require(holdfast_ofd_lock(file, Int16(F_RDLCK), 0, 1 << 62) == 0)
    try image.lease(device.descriptor, 3...3)
    #expect(try device.leases() == [])
  }
}
