/// FIBMAP: which files the kernel is told of, and the request that stands for what it was told.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("The kernel as a holder: block maps", .needsSwap, .deadline(seconds: 120), .serialized)
struct BlockMapTests {
  private let blocks = 16

  private func sealedFile(on volume: BlockVolume, name: String = "file") throws -> Path {
    let path = volume.root / name
    try path.create(pattern(blocks * 4096))
    try path.seal()
    return path
  }

  @Test func theMountSaysWhatItIs() throws {
    let volume = try mountedBlockVolume()
    defer { volume.remove() }
    let table = try Path("/proc/self/mounts").contentsOfStream()
    let line = try #require(table.split(separator: "\n").first { $0.contains(" \(volume.mountPoint) ") })
    let fields = line.split(separator: " ")
    #expect(fields[0] == volume.device)
    #expect(fields[2] == "fuseblk.holdfast")
    #expect(fields[3].contains("blksize=4096"))
    let score = try Path("/proc/\(volume.daemon)/oom_score_adj").contentsOfStream()
    #expect(score == (try mayProtectFromMemoryKiller() ? "-1000\n" : "0\n"))
    for arguments in [
      ["mount", volume.device, "/mnt"], ["mkfs", volume.device, "--force"], ["fsck", "-y", volume.device],
    ] {
      let result = try run([TestEnvironment.holdfast] + arguments)
      #expect(
        result.status != 0 && result.errors.contains("in use") || result.errors.contains("mounted"), "\(arguments)")
    }
    try volume.finish()
  }

  /// CAP_SYS_RESOURCE, which a container's root may lack.
  private func mayProtectFromMemoryKiller() throws -> Bool {
    let status = try Path("/proc/self/status").contentsOfStream()
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("CapEff:") })
    let capabilities = try #require(UInt64(line.dropFirst(7).trimmingPrefix { $0.isWhitespace }, radix: 16))
    return capabilities >> 24 & 1 == 1
  }

  @Test func onlyBlockDevicesAreMountedThatWay() throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    let result = try holdfast("mount", volume.image, volume.mountPoint, "-o", "blkdev")
    #expect(result.status == 1)
    #expect(result.errors.contains("not a block device"), "\(result.errors)")
  }

  @Test func onlyAHardSealOfTheWholeFileAnswers() throws {
    let volume = try mountedBlockVolume()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(blocks * 4096))
    let file = try path.open(O_RDWR)
    defer { file.close() }
    #expect(try file.deviceBlock(0) == 0)
    try path.seal("breakable=5")
    #expect(try file.deviceBlock(0) == 0)
    try path.seal("range=0+64K")
    #expect(try file.deviceBlock(0) == 0)
    #expect(try path.sealCount() == 1, "no question left a request")
    #expect(volume.log.contains("hard seal of the whole file"), "\(volume.log)")
    try path.seal("hard")
    let places = Extents(try path.extents()).blocks(in: 0..<blocks * 4096)
    #expect(places.count == blocks)
    for place in places {
      #expect(try file.deviceBlock(place.logical / 4096) == place.physical / 4096)
    }
    #expect(try file.deviceBlock(blocks) == 0, "behind the end")
    #expect(try path.sealCount() == 2)
    file.close()
    try path.unseal()
    try volume.finish()
  }

  @Test func holesOfASealedFileAreNowhere() throws {
    let volume = try mountedBlockVolume()
    defer { volume.remove() }
    let path = volume.root / "file"
    let file = try path.open(O_CREAT | O_RDWR)
    defer { file.close() }
    try file.allocate(at: 0, 2 * 4096)
    try file.write(pattern(4096), at: 0)
    try file.truncate(4 * 4096)
    try path.seal("as-is")
    #expect(try file.deviceBlock(0) > 0)
    #expect(try file.deviceBlock(1) == 0, "unwritten")
    #expect(try file.deviceBlock(2) == 0, "a hole")
    file.close()
    try path.unseal()
    try volume.finish()
  }

  @Test func theRequestLastsAsLongAsTheHandlesOfThen() throws {
    let volume = try mountedBlockVolume()
    defer { volume.remove() }
    let path = try sealedFile(on: volume)
    let bystander = try path.open()
    let asker = try path.open(O_RDWR)
    defer { for file in [bystander, asker] { file.close() } }
    #expect(try asker.deviceBlock(3) > 0)
    let later = try path.open(O_RDWR)
    defer { later.close() }
    let map = try path.extents()

    let listed = try holdfast("seals", path.text)
    #expect(listed.output.contains("the kernel (bmap), asked by process \(getpid())"), "\(listed.output)")
    #expect(try path.attributeText("holdfast.holders").contains("\"lifetime\":\"kernel\""))
    try path.unseal()
    #expect(try path.sealCount() == 1)
    #expect(try asker.deviceBlock(3) == 0, "no seal of somebody's")
    // Nobody's to release, and no way around.
    #expect(throws: Errno(EPERM)) { try path.unseal() }
    #expect(throws: Errno(ETXTBSY)) { try later.truncate(0) }
    #expect(throws: Errno(ETXTBSY)) { try later.allocate(hmt_punch_hole | hmt_keep_size, at: 0, 4096) }
    try later.write([9], at: 5)
    #expect(try path.extents() == map)

    asker.close()
    #expect(try path.sealCount() == 1, "the bystander was open then")
    #expect(throws: Errno(ETXTBSY)) { try later.truncate(0) }
    bystander.close()
    #expect(try eventually { try path.sealCount() == 0 })
    try later.truncate(0)
    later.close()
    try volume.finish()
  }

  @Test func aHandlesOwnSealMayEndFirst() throws {
    let volume = try mountedBlockVolume()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(blocks * 4096))
    let holder = try path.open()
    let asker = try path.open()
    defer { for file in [holder, asker] { file.close() } }
    try holder.seal()
    #expect(try asker.deviceBlock(0) > 0)
    holder.close()
    #expect(try eventually { try path.sealCount() == 1 })
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    // Without a name it stays, like any held file; its blocks come free with the last close.
    try path.unlink()
    let used = try volume.information().usage.freeBlocks
    asker.close()
    _ = try holdfast("sync", volume.mountPoint)
    #expect(try eventually { try volume.information().usage.freeBlocks > used })
    try volume.finish()
  }

  @Test func whatIsRevokedStaysInQuarantine() throws {
    let volume = try mountedBlockVolume()
    defer { volume.remove() }
    let path = try sealedFile(on: volume)
    let asker = try path.open(O_RDWR)
    defer { asker.close() }
    #expect(try asker.deviceBlock(0) > 0)
    let result = try holdfast("revoke", path.text)
    #expect(result.status == 0 && result.output.contains("2"), "\(result.output)\(result.errors)")
    try path.truncate(0)
    _ = try holdfast("sync", volume.mountPoint)
    let held = try volume.information().quarantine
    #expect(held == [.init(inode: try path.inode(), blocks: blocks, leased: false, pids: [])], "\(held)")
    asker.close()
    #expect(try eventually { try volume.information().usage.quarantinedBlocks == 0 })
    try volume.finish()
  }
}
