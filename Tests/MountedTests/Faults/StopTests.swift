/// What cannot be made durable, or is damaged, stops the volume: errors=remount-ro or errors=shutdown, said once, loudly,
/// and remembered by the image.

import CMountedSupport
import Glibc
import Testing

@Suite("Faults: what stops the volume", .needsMount, .deadline())
struct StopTests {
  enum Moment: CaseIterable {
    case journalWrite, journalFull, dataBarrier, journalBarrier, nodeWrite, nodeBarrier, superblockWrite

    /// The call that is to fail, once: the device is well again at once, which must not help.
    func arm(_ faults: Faults, _ layout: ImageLayout) {
      switch self {
      case .journalWrite: faults.fail(.write, layout.journal, times: 1)
      case .journalFull: faults.fail(.write, layout.journal, error: ENOSPC, times: 1)
      case .dataBarrier: faults.fail(.sync, times: 1)
      case .journalBarrier: faults.fail(.sync, skip: 1, times: 1)
      case .nodeWrite: faults.fail(.write, layout.nodes, times: 1)
      case .nodeBarrier: faults.fail(.sync, skip: 101, times: 1)
      case .superblockWrite: faults.fail(.write, ImageLayout.superblocks[1], times: 1)
      }
    }
  }

  @Test(arguments: Moment.allCases, ["remount-ro", "shutdown"])
  func aSyncThatFailsIsTheLast(_ moment: Moment, _ action: String) throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    let layout = try ImageLayout(volume)
    let faults = try Faults(volume)
    // No commit but those asked for.
    try volume.mount("commit=3600,errors=\(action)", faults: faults)
    let kept = volume.root / "kept"
    try kept.create(pattern(30_000))
    try volume.sync()
    let file = try (volume.root / "log").open(O_CREAT | O_RDWR)
    defer { file.close() }
    let other = try kept.open()
    defer { other.close() }
    moment.arm(faults, layout)
    // A checkpoint comes when the journal is half full: each sync takes a block or two of its 1024.
    var synced = 0
    var failure: Errno?
    while failure == nil, synced < 3000 {
      do throws(Errno) {
        try file.write(pattern(8), at: 8 * synced)
        try file.sync()
        synced += 1
      } catch { failure = error }
    }
    #expect(faults.failures == 1, "\(synced) syncs\n\(volume.log)")
    // The checkpoint may be the background's: then a write meets the volume as it has become.
    #expect([Errno(EIO), Errno(EROFS)].contains(failure) || moment == .journalFull && failure == Errno(ENOSPC))
    for _ in 0..<3 {
      #expect(throws: Errno.self) { try file.sync() }
      #expect(throws: Errno.self) { try other.syncData() }
    }
    #expect(try holdfast("sync", volume.mountPoint).status == 1)
    try expectStopped(volume, action)
    // The image knows before anybody unmounts.
    #expect(try eventually { try volume.imageInformation().errorsSeen })
    #expect(try !volume.imageInformation().clean)
    file.close()
    other.close()
    let result = try volume.tryUnmount()
    #expect(result.status == 1 && result.errors.contains("not cleanly"), "\(result.errors)")
    #expect(try !volume.imageInformation().clean)
    let check = try volume.fsck()
    #expect(check.status == 0, "\(check.output)\(check.errors)")
    try volume.mount()
    #expect(try kept.contents() == pattern(30_000))
    // With not one sync its very name need not be there.
    let bytes = synced == 0 ? [] : try (volume.root / "log").contents()
    #expect(bytes.count >= 8 * synced)
    #expect(bytes.prefix(8 * synced).elementsEqual((0..<synced).flatMap { _ in pattern(8) }))
    #expect(volume.log.contains("met an error in an earlier mount"))
    try kept.create(pattern(10))
    volume.finish()
  }

  /// Changes are refused; reads go on or not; the daemon says so once, and whoever asks is told.
  private func expectStopped(_ volume: Volume, _ action: String) throws {
    let kept = volume.root / "kept"
    let refusal = Errno(action == "shutdown" ? EIO : EROFS)
    let state = action == "shutdown" ? "shut-down" : "read-only"
    #expect(eventually { volume.log.contains("critical") })
    #expect(volume.log.split(separator: "\n").filter { $0.contains("critical") }.count == 1, "\(volume.log)")
    #expect(volume.log.contains("errors=\(action)"))
    let information = try volume.information()
    #expect(information.state == state && information.failure != "" && information.readOnly && information.errorsSeen)
    if action == "remount-ro" {
      #expect(try volume.root.attributeText("holdfast.stats").contains("\"state\":\"read-only\""))
    }
    #expect(throws: refusal) { try (volume.root / "new").open(O_CREAT | O_WRONLY) }
    #expect(throws: refusal) { try (volume.root / "folder").makeDirectory() }
    #expect(throws: refusal) { try kept.truncate(5) }
    #expect(throws: refusal) { try kept.open(O_WRONLY | O_TRUNC) }
    #expect(throws: refusal) { try kept.rename(to: volume.root / "other") }
    #expect(throws: refusal) { try kept.unlink() }
    #expect(throws: refusal) { try kept.changeMode(0o600) }
    #expect(throws: refusal) { try kept.setAttribute("user.a", "v") }
    if action == "shutdown" {
      // What the kernel had in its caches it has been told to forget.
      #expect(eventually { (try? kept.contents()) == nil })
      #expect(throws: Errno(EIO)) { try kept.contents() }
      #expect(throws: Errno(EIO)) { try kept.status() }
      #expect(throws: Errno(EIO)) { try volume.root.attribute("user.none") }
    } else {
      #expect(try kept.contents() == pattern(30_000))
      #expect(try kept.storedContents() == pattern(30_000))
      #expect(try volume.root.names().contains("kept"))
    }
    #expect(try volume.root.statistics().f_bsize == 4096)
  }

  /// The last checkpoint, at unmount: never called clean, and nothing is lost.
  @Test func anUnmountThatFails() throws {
    for index in 0..<2 {
      let volume = try Volume(mebibytes: 32)
      defer { volume.remove() }
      let faults = try Faults(volume)
      try volume.mount(faults: faults)
      try (volume.root / "file").create(pattern(30_000))
      faults.fail(.write, ImageLayout.superblocks[index])
      let result = try volume.tryUnmount()
      #expect(result.status == 1 && result.errors.contains("not cleanly"), "\(result.errors)")
      #expect(faults.failures > 0)
      #expect(volume.log.contains("unmount: device write"), "\(volume.log)")
      #expect(try volume.fsck().status == 0)
      try volume.mount()
      #expect(try (volume.root / "file").contents() == pattern(30_000))
      volume.finish()
    }
  }

  // MARK: Metadata

  /// A volume with a folder of many files, unmounted.
  private func volumeWithManyNames() throws -> Volume {
    let volume = try Volume(mebibytes: 32)
    try volume.mount()
    let folder = volume.root / "many"
    try folder.makeDirectory()
    for index in 0..<1500 { try (folder / "file-\(index)").open(O_CREAT | O_WRONLY).close() }
    try (volume.root / "kept").create(pattern(30_000))
    try volume.unmount()
    return volume
  }

  private func failuresOfLookups(_ volume: Volume) -> [Errno] {
    (0..<1500).compactMap { index in
      do throws(Errno) {
        _ = try (volume.root / "many" / "file-\(index)").status()
        return nil
      } catch { return error }
    }
  }

  /// EIO now is not damage: the operation fails, and succeeds when the device does.
  @Test func aNodeThatCannotBeReadNow() throws {
    let volume = try volumeWithManyNames()
    defer { volume.remove() }
    let layout = try ImageLayout(volume)
    let faults = try Faults(volume)
    try volume.mount(faults: faults)
    faults.fail(.read, layout.nodes)
    let failures = failuresOfLookups(volume)
    #expect(!failures.isEmpty && failures.allSatisfy { $0 == Errno(EIO) })
    #expect(try volume.information().state == "sound")
    faults.stop()
    #expect(failuresOfLookups(volume).isEmpty)
    try (volume.root / "new").create(pattern(10))
    volume.finish()
  }

  @Test(arguments: ["remount-ro", "shutdown"]) func damageMetWhileMounted(_ action: String) throws {
    let volume = try volumeWithManyNames()
    defer { volume.remove() }
    try volume.mount("errors=\(action)")
    let layout = try ImageLayout(volume)
    #expect(try (volume.root / "kept").contents() == pattern(30_000))
    try volume.unmount()
    try damageALeafOfNames(volume, layout)
    try volume.mount("errors=\(action)")
    #expect(try (volume.root / "kept").contents() == pattern(30_000))
    let failures = failuresOfLookups(volume)
    #expect(!failures.isEmpty && failures.allSatisfy { $0 == Errno(EIO) })
    try expectStopped(volume, action)
    #expect(volume.log.contains("damaged treeNode at block"), "\(volume.log)")
    let result = try volume.tryUnmount()
    #expect(result.status == 1, "\(result.errors)")
    #expect(try volume.imageInformation().errorsSeen)
    #expect(try volume.fsck().status == 4)
  }

  /// One byte of a leaf that holds directory entries and nothing a mount looks at.
  private func damageALeafOfNames(_ volume: Volume, _ layout: ImageLayout) throws {
    let image = try Path(volume.image).open(O_RDWR)
    defer { image.close() }
    for offset in stride(from: Int(layout.nodes.lowerBound), to: Int(layout.nodes.upperBound), by: 4096) {
      let block = try image.read(4096, at: offset)
      let isLeaf = Array(block[4..<8]) == [0x48, 0x46, 0x53, 0x54] && block[8] == 2 && block[10] == 0
      let count = Int(block[12]) | Int(block[13]) << 8
      guard isLeaf, count > 20 else { continue }
      // Keys' high halves: space 0 and an inode; the low half's top bits: type 3, a directory entry.
      let keys = (0..<count).map { Array(block[64 + 20 * $0..<64 + 20 * $0 + 16]) }
      guard keys.allSatisfy({ $0[7] == 0 && $0[15] >> 4 == 3 && $0[0] != 1 }) else { continue }
      try image.write([block[200] ^ 0x10], at: offset + 200)
    }
  }
}
