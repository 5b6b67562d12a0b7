import CHoldfast
import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import Testing

@testable import HoldfastFuse
@testable import HoldfastStore

/// What the kernel reads byte by byte, and what /proc says.
@Suite struct EncodingTests {
  private func entry(_ name: String, _ inode: InodeNumber, _ offset: UInt64, to body: (DirectoryEntry) -> Void) {
    Array(name.utf8).withUnsafeBytes {
      body(DirectoryEntry(inode: inode, type: .regular, name: $0, offset: offset))
    }
  }

  @Test func directoryPageHoldsWholeEntries() {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 8)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0xff)
    var page = DirectoryPage(memory, limit: 72)
    var accepted: [Bool] = []
    for name in ["abc", "12345678", "x"] { entry(name, 5, 9) { accepted.append(page.append($0)) } }
    // 24 + 3 rounds to 32, 24 + 8 is 32, and 8 bytes are left.
    #expect(accepted == [true, true, false])
    #expect(page.bytes.count == 64)
    #expect(page.bytes.load(as: UInt64.self) == 5 && page.bytes.load(fromByteOffset: 8, as: UInt64.self) == 9)
    #expect(page.bytes.load(fromByteOffset: 16, as: UInt32.self) == 3)
    #expect(page.bytes.load(fromByteOffset: 20, as: UInt32.self) == 8)
    #expect(Array(page.bytes[24..<32]) == Array("abc".utf8) + [0, 0, 0, 0, 0])
  }

  @Test func directoryBatchKeepsNamesAndKnowsDots() {
    var batch = DirectoryBatch(limit: 152 + 8 + 152 + 8 + 152 + 8)
    var accepted: [Bool] = []
    for name in [".", "..", "...", "next"] { entry(name, 5, 9) { accepted.append(batch.append($0)) } }
    #expect(accepted == [true, true, true, false])
    #expect(batch.entries.map { batch.withName(of: $0) { String(cString: $0) } } == [".", "..", "..."])
    #expect(batch.entries.map(\.isDots) == [true, true, false])
  }

  @Test func statxTellsTheBirthTime() {
    var record = InodeRecord(
      mode: 0o100644, uid: 3, gid: 4, links: 5, generation: 1, now: Timestamp(seconds: 100, nanoseconds: 1))
    record.born = Timestamp(seconds: 50, nanoseconds: 2)
    record.size = 77
    record.blocks = 2
    record.device = 0x12345_678
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: StatxRequest.answerBytes, alignment: 8)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0)
    StatxRequest.encode(Attributes(inode: 9, record: record), to: memory.baseAddress!)
    let statx = UnsafeRawBufferPointer(rebasing: memory[32...])
    #expect(statx.load(as: UInt32.self) == 0xfff)
    #expect(statx.load(fromByteOffset: 28, as: UInt16.self) == 0o100644)
    #expect(statx.load(fromByteOffset: 32, as: UInt64.self) == 9)
    #expect(statx.load(fromByteOffset: 40, as: UInt64.self) == 77)
    #expect(statx.load(fromByteOffset: 48, as: UInt64.self) == 16)
    #expect(statx.load(fromByteOffset: 80, as: Int64.self) == 50)
    #expect(statx.load(fromByteOffset: 88, as: UInt32.self) == 2)
    #expect(statx.load(fromByteOffset: 128, as: UInt32.self) == 0x456)
    #expect(statx.load(fromByteOffset: 132, as: UInt32.self) == 0x12378)
  }

  @Test func setattrNamesItsFields() {
    var values = stat()
    values.st_mode = 0o104755
    values.st_uid = 1
    values.st_size = 5
    values.st_mtim = timespec(tv_sec: 6, tv_nsec: 7)
    // mode, size, atime now, mtime, kill suid
    let changes = AttributeChanges(values, valid: 1 | 1 << 3 | 1 << 7 | 1 << 5 | 1 << 11)
    #expect(changes.mode == 0o4755 && changes.uid == nil && changes.gid == nil && changes.size == 5)
    guard case .now = changes.accessed, case .at(let modified) = changes.modified else {
      Issue.record("times")
      return
    }
    #expect(modified == Timestamp(seconds: 6, nanoseconds: 7))
    #expect(changes.dropPrivileges && changes.changed == nil)
  }

  @Test(arguments: [
    ("holdfast.seal", VirtualAttribute.seal(name: "")), ("holdfast.seal.a-B_9", .seal(name: "a-B_9")),
    ("holdfast.seal.", .unknown), ("holdfast.seal.a/b", .unknown), ("holdfast.sealed", .unknown),
    ("holdfast.iomap_immutable", .isMapImmutable), ("holdfast.seal_count", .sealCount),
    ("holdfast.holders", .holders), ("holdfast.generation", .generation), ("holdfast.extents", .extents),
    ("holdfast.seals", .allSeals), ("holdfast.stats", .statistics), ("holdfast.", .unknown),
  ])
  func virtualAttributeNames(name: String, attribute: VirtualAttribute) {
    #expect(Array(name.utf8).withUnsafeBytes { VirtualAttribute($0) } == attribute)
  }

  @Test(arguments: ["user.holdfast.seal", "holdfast", "security.capability", "trusted.x"])
  func otherAttributesAreStored(name: String) {
    #expect(Array(name.utf8).withUnsafeBytes { VirtualAttribute($0) } == nil)
  }

  @Test func mountTableFindsTheTopmostMount() {
    let table = """
      22 1 8:1 / / rw - ext4 /dev/sda1 rw
      40 22 0:51 / /mnt/a\\040b rw,relatime - fuse.holdfast /x.img rw
      41 40 0:52 / /mnt/a\\040b rw,relatime - fuse.holdfast /y.img rw
      """
    #expect(MountTable.device(mountedOn: "/mnt/a b", in: table) == MountTable.Device(major: 0, minor: 52))
    #expect(MountTable.device(mountedOn: "/mnt/a", in: table) == nil)
    #expect(MountTable.unescaped("a\\134b\\011") == "a\\b\t")
  }

  @Test func theHeaderNamesTheLeaseOffset() {
    #expect(UInt64(HOLDFAST_LEASE_OFFSET) == Lease.byteOffset)
    // The last inode's byte is still an offset.
    #expect(Lease.everyInode == 1...Key.maximumObject && Lease.byteOffset + Key.maximumObject < UInt64(Int64.max))
  }

  @Test func commasInPathsAreEscaped() {
    #expect(KernelMount.escaped("/a,b\\c d") == "/a\\,b\\\\c d")
  }
}
