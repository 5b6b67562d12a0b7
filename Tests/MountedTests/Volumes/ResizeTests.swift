/// grow and shrink: of mounts in use, of images, of a device that became longer; what is in the way is named.

import CHoldfast
import CMountedSupport
import Glibc
import Synchronization
import Testing

@Suite("Volumes: growing and shrinking", .needsMount, .deadline(seconds: 180))
struct ResizeTests {
  private static let megabyte = 1 << 20

  /// What a file holds: its number, and in each block that block's.
  private static func contents(_ number: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: UInt8(number), count: megabyte)
    for block in 0..<megabyte >> 12 { bytes[block << 12] = UInt8(truncatingIfNeeded: block) }
    return bytes
  }

  /// Files all over a mounted volume of 64 MiB, every other one removed again.
  private func agedVolume(_ options: String = "commit=1") throws -> (volume: Volume, files: [Path]) {
    let volume = try Volume(mebibytes: 64)
    try volume.mount(options)
    var files: [Path] = []
    for index in 0..<44 {
      let path = volume.root / "file-\(index)"
      try path.create(Self.contents(index))
      files.append(path)
    }
    try volume.sync()
    for index in stride(from: 0, to: 44, by: 2) { try files[index].unlink() }
    try volume.sync()
    return (volume, (0..<44).filter { $0 % 2 == 1 }.map { files[$0] })
  }

  private func expectContents(of files: [Path], sourceLocation: SourceLocation = #_sourceLocation) throws {
    for path in files {
      let index = try #require(Int(path.text.split(separator: "-").last.map(String.init) ?? ""))
      let isRight = try path.contents() == Self.contents(index)
      #expect(isRight, "\(path)", sourceLocation: sourceLocation)
    }
  }

  /// The file whose blocks lie nearest to the end.
  private func last(of files: [Path]) throws -> Path {
    func end(_ file: Path) throws -> UInt64 { Extents(try file.extents()).physical.map(\.upperBound).max() ?? 0 }
    return try #require(try files.max { try end($0) < end($1) })
  }

  private func expect(
    _ result: CommandResult, says word: String, status: Int32 = 1, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(result.status == status, "\(result.errors)", sourceLocation: sourceLocation)
    #expect((result.output + result.errors).contains(word), "\(result.errors)", sourceLocation: sourceLocation)
  }

  @Test func onlineUnderAWriter() throws {
    let (volume, files) = try agedVolume()
    defer { volume.remove() }
    let isOver = Mutex(false)
    let path = volume.root / "written"
    try path.create()
    let writer = Background {
      let file = try path.open(O_RDWR)
      defer { file.close() }
      var round = 0
      while !isOver.withLock({ $0 }) {
        // Grows to 4 MiB and is cut again: extents appear and go while others move.
        let offset = round % 64 * 65536
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: 65536)
        try file.write(bytes, at: offset)
        guard try file.read(65536, at: offset) == bytes else { throw Trouble("round \(round) reads otherwise") }
        if round % 64 == 63 {
          try file.sync()
          try file.truncate(0)
        }
        round += 1
      }
    }
    for size in ["48M", "80M", "52M", "96M", "50M"] {
      let current = try volume.information().usage.totalBlocks
      let target = (Int(size.dropLast()) ?? 0) << 8
      let result = try holdfast(target > current ? "grow" : "shrink", volume.mountPoint, size)
      expect(result, says: "(was", status: 0)
      #expect(try volume.information().usage.totalBlocks == target)
      #expect(try volume.root.statistics().f_blocks == target)
      #expect(try Path(volume.image).size() == target << 12)
      try expectContents(of: files)
    }
    isOver.withLock { $0 = true }
    try writer.finish()
    volume.finish()
    try volume.mount()
    try expectContents(of: files)
    volume.finish()
  }

  @Test func obstaclesAreNamed() throws {
    let (volume, files) = try agedVolume()
    defer { volume.remove() }
    let sealed = try last(of: files)
    let inode = try sealed.inode()
    #expect(try holdfast("seal", "--name", "keep", sealed.text).status == 0)
    let places = try sealed.extents()
    let result = try holdfast("shrink", volume.mountPoint, "40M")
    expect(result, says: "\(sealed.text) (inode \(inode)), bytes ")
    expect(result, says: "sealed by request 'keep', process ")
    #expect(try volume.information().usage.totalBlocks == 64 << 8)
    #expect(try sealed.extents() == places)
    // The size it offers is one it can do, and the sealed map has not moved.
    let words = result.errors.split(separator: " ").map(String.init)
    let offered = try #require(words.firstIndex(of: "now").map { words[$0 + 2] }, "\(result.errors)")
    #expect(try holdfast("shrink", volume.mountPoint, offered).status == 0)
    #expect(try sealed.extents() == places)
    expect(try holdfast("shrink", volume.mountPoint, "40M"), says: "keep")
    expect(try holdfast("shrink", volume.mountPoint, "8M"), says: "smallest size possible")
    expect(try holdfast("shrink", volume.mountPoint, "64M"), says: "shrink none above it")
    // Growing touches no map: seals are not in its way.
    #expect(try holdfast("grow", volume.mountPoint, "64M").status == 0)
    #expect(try sealed.extents() == places)
    try expectContents(of: files)
    volume.finish()
    // The named seal has ended with the mount.
    #expect(try holdfast("shrink", volume.image, "40M").status == 0)
    #expect(try Path(volume.image).size() == 40 << 20)
    #expect(try volume.fsck().status == 0)
    try volume.mount()
    try expectContents(of: files)
    volume.finish()
  }

  /// Row 15: who holds a breakable request is asked, and waited for.
  @Test func breakableHoldersAreAsked() throws {
    let (volume, files) = try agedVolume("commit=1,grace=3600")
    defer { volume.remove() }
    let file = try last(of: files)
    let holder = try Child([TestEnvironment.holdfast, "hold", "--breakable", file.text, "--", "sleep", "600"])
    #expect(try eventually(within: 20) { try file.sealCount() == 1 })
    let result = try holdfast("shrink", volume.mountPoint, "40M")
    expect(result, says: "40 MiB (was 64 MiB)", status: 0)
    // It was ended by the signal it had asked for.
    #expect(holder.wait(seconds: 20) == 143)
    try expectContents(of: files)
    volume.finish()
  }

  /// A shrink that waits for a holder who does not let go: ended by a signal, by the daemon's death, and alone.
  @Test func aWaitingShrinkEndsWithASignal() throws {
    let (volume, files) = try agedVolume("commit=1,grace=3600")
    defer { volume.remove() }
    let held = try last(of: files).open(O_RDWR)
    _ = try held.seal(UInt32(HOLDFAST_SEAL_BREAKABLE))
    func waitingShrink() throws -> Child {
      let child = try Child([TestEnvironment.holdfast, "shrink", volume.mountPoint, "40M"])
      #expect(
        try eventually(within: 20) { try volume.root.attributeText("holdfast.seals").contains("\"recall_ms\":3") })
      return child
    }
    let first = try waitingShrink()
    expect(try holdfast("grow", volume.mountPoint, "80M"), says: "being resized already")
    #expect(first.wait(seconds: 0.2) == nil)
    // Others go on meanwhile.
    try (volume.root / "new").create(pattern(300_000))
    first.signal(SIGINT)
    let ended = first.finish()
    #expect(ended.status == 1 || ended.status == 130, "\(ended.errors)")
    #expect(eventually(within: 20) { (try? holdfast("grow", volume.mountPoint, "64M").status) == 0 })
    #expect(try volume.information().usage.totalBlocks == 64 << 8)
    // What was taken out of use is free again, and a dying daemon leaves nothing of it.
    _ = try waitingShrink()
    try volume.crash()
    held.close()
    #expect(try volume.fsck().status == 0)
    try volume.mount()
    #expect(try volume.information().usage.totalBlocks == 64 << 8)
    #expect(try holdfast("shrink", volume.mountPoint, "40M").status == 0)
    try expectContents(of: files)
    volume.finish()
  }

  @Test func onlyAdministratorsMay() throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    try volume.mount("allow_other")
    let user = ["setpriv", "--reuid", "\(Agent.user)", "--regid", "\(Agent.user)", "--clear-groups"]
    let result = try run(user + [TestEnvironment.holdfast, "grow", volume.mountPoint, "64M"])
    expect(result, says: "only administrators may")
    #expect(try volume.information().usage.totalBlocks == 32 << 8)
    #expect(try Path(volume.image).size() == 32 << 20)
    volume.finish()
  }

  /// resize2fs's and xfs_growfs's habit: without a size, to all there is.
  @Test func aDeviceThatGrew() throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    let found = try run(["losetup", "--find", "--show", volume.image])
    guard found.status == 0 else {
      // Where there are no loop devices.
      #expect(found.errors.contains("loop"), "\(found.errors)")
      return
    }
    let device = String(found.output.prefix { $0 != "\n" })
    defer { _ = try? run(["losetup", "--detach", device]) }
    #expect(try run([TestEnvironment.holdfast, "mount", device, volume.mountPoint]).status == 0)
    defer { _ = try? holdfast("unmount", volume.mountPoint) }
    try (volume.root / "file-1").create(Self.contents(1))
    expect(try holdfast("grow", volume.mountPoint), says: "as it was", status: 0)
    expect(try holdfast("grow", volume.mountPoint, "64M"), says: "not enough space")
    try Path(volume.image).truncate(64 << 20)
    #expect(try run(["losetup", "--set-capacity", device]).status == 0)
    expect(try holdfast("grow", volume.mountPoint), says: "64 MiB (was 32 MiB)", status: 0)
    try (volume.root / "file-2").create(Self.contents(2))
    // The rest of a device is left unused.
    expect(try holdfast("shrink", device, "48M"), says: "48 MiB (was 64 MiB)", status: 0)
    try expectContents(of: [volume.root / "file-1", volume.root / "file-2"])
    #expect(try unmountAsHolder(volume.mountPoint).status == 0)
    #expect(try holdfast("fsck", device, "-n").status == 0)
    expect(try holdfast("grow", device), says: "64 MiB (was 48 MiB)", status: 0)
    #expect(try holdfast("fsck", device, "-n").status == 0)
  }
}
