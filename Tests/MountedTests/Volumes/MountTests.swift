/// Mounting: twice, read-only, options, what umount(8) and signals do.

import CMountedSupport
import Glibc
import Testing

@Suite("Volumes: mounting", .needsMount, .deadline())
struct MountTests {
  private func mounted(_ options: String = "") throws -> Volume {
    let volume = try Volume(mebibytes: 32)
    try volume.mount(options)
    return volume
  }

  @Test func theMountTableSaysWhatItIs() throws {
    let volume = try mounted("noatime,nosuid,nodev")
    defer { volume.remove() }
    let table = try Path("/proc/self/mounts").contentsOfStream()
    let line = try #require(table.split(separator: "\n").first { $0.contains(" \(volume.mountPoint) ") })
    let fields = line.split(separator: " ")
    #expect(fields[0] == volume.image)
    #expect(fields[2] == "fuse.holdfast")
    let options = fields[3].split(separator: ",")
    for option in ["rw", "noatime", "nosuid", "nodev", "default_permissions", "allow_other"] {
      #expect(options.contains(Substring(option)), "\(option)")
    }
    volume.finish()
  }

  @Test func aMountedImageIsBusy() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let other = volume.folder + "/other"
    try Path(other).makeDirectory()
    try (volume.root / "file").create([1])
    // `mount` waits a while for a daemon that is finishing; this one is not.
    for arguments in [["mkfs", volume.image, "--force"], ["fsck", volume.image]] {
      let result = try run([TestEnvironment.holdfast] + arguments)
      #expect(result.status != 0)
      #expect(result.errors.hasPrefix("holdfast: "))
      #expect(result.errors.contains("in use") || result.errors.contains("mounted"), "\(result.errors)")
    }
    #expect(try (volume.root / "file").contents() == [1])
    volume.finish()
  }

  @Test func aSecondMountIsRefused() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let other = volume.folder + "/other"
    try Path(other).makeDirectory()
    let result = try holdfast("mount", volume.image, other, seconds: 90)
    #expect(result.status == 1)
    #expect(result.errors.contains("in use") || result.errors.contains("mounted"), "\(result.errors)")
    #expect(try Path(other).names().count == 2)
    volume.finish()
  }

  @Test func readOnlyMountsRefuseEveryChange() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(10_000))
    try path.setAttribute("user.a", "v")
    try volume.remount("ro")
    #expect(try path.contents() == pattern(10_000))
    #expect(try path.attributeText("user.a") == "v")
    #expect(throws: Errno(EROFS)) { try path.open(O_WRONLY) }
    #expect(throws: Errno(EROFS)) { try path.open(O_RDONLY | O_TRUNC) }
    #expect(throws: Errno(EROFS)) { try (volume.root / "new").create() }
    #expect(throws: Errno(EROFS)) { try path.unlink() }
    #expect(throws: Errno(EROFS)) { try path.rename(to: volume.root / "other") }
    #expect(throws: Errno(EROFS)) { try path.link(as: volume.root / "other") }
    #expect(throws: Errno(EROFS)) { try path.changeMode(0o600) }
    #expect(throws: Errno(EROFS)) { try path.truncate(0) }
    #expect(throws: Errno(EROFS)) { try path.setAttribute("user.b", "v") }
    #expect(throws: Errno(EROFS)) { try path.removeAttribute("user.a") }
    #expect(throws: Errno(EROFS)) { try (volume.root / "folder").makeDirectory() }
    #expect(throws: Errno(EROFS)) { try (volume.root / "link").makeSymlink(to: "x") }
    #expect(throws: Errno(EROFS)) { try path.setTimes(timespec(), timespec()) }
    let file = try path.open()
    #expect(throws: Errno(EROFS)) { try file.setFlags(hmt_immutable_flag) }
    file.close()
    #expect(try volume.information().readOnly)
    try volume.unmount()
    #expect(try volume.fsck().status == 0)
  }

  /// The daemon's side of `mount -o remount,ro`: what ioctls would change, past the kernel's own check.
  @Test func readOnlyForIoctls() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(50_000))
    func remount(_ options: String) throws {
      #expect(try holdfast("remount", volume.mountPoint, "-o", options).status == 0)
    }
    try remount("ro")
    for arguments in [
      ["grow", volume.mountPoint, "1G"], ["shrink", volume.mountPoint, "16M"], ["defrag", path.text],
      ["seal", "--persistent", path.text], ["seal", "--fill", path.text], ["prepare", path.text],
    ] {
      let result = try run([TestEnvironment.holdfast] + arguments)
      #expect(result.status != 0 && result.errors.lowercased().contains("read-only"), "\(arguments): \(result)")
    }
    #expect(try path.sealCount() == 0)
    try remount("rw")
    #expect(try holdfast("prepare", path.text).status == 0)
    volume.finish()
  }

  /// The kernel's side of `mount -o remount,ro`.
  @Test func remountedReadOnly() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create([1])
    let file = try path.open(O_RDWR)
    #expect(throws: Errno(EBUSY)) { try check(hmt_remount(volume.mountPoint, 1)) }
    file.close()
    // A child that another test starts may hold our descriptors for a moment, until it execs.
    #expect(eventually { hmt_remount(volume.mountPoint, 1) == 0 || errno != EBUSY })
    #expect(throws: Errno(EROFS)) { try path.open(O_RDWR) }
    #expect(throws: Errno(EROFS)) { try path.unlink() }
    try check(hmt_remount(volume.mountPoint, 0))
    try path.create([2])
    #expect(try path.contents() == [2])
    volume.finish()
  }

  /// umount(8) returns before the daemon has ended; the next mount waits for it.
  @Test func umountAndMountAtOnce() throws {
    let volume = try mounted()
    defer { volume.remove() }
    for round in 0..<5 {
      try (volume.root / "file-\(round)").create(pattern(100_000))
      // Another test's child may hold our descriptors for a moment, until it execs.
      #expect(eventually { hmt_umount(volume.mountPoint, 0) == 0 || errno != EBUSY })
      try volume.mount()
      #expect(try (volume.root / "file-\(round)").contents() == pattern(100_000))
    }
    volume.finish()
  }

  @Test(arguments: [SIGTERM, SIGINT, SIGHUP])
  func aSignalEndsItInOrder(_ signal: Int32) throws {
    // Started by a process that blocks them: the daemon listens all the same.
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    try volume.mount(blockingSignals: true)
    let path = volume.root / "file"
    let file = try path.open(O_CREAT | O_RDWR)
    try file.truncate(100_000)
    try file.withMapping(100_000) { $0[50_000] = 0x77 }
    let ending = hmt_pidfd_open(volume.daemon)
    kill(volume.daemon, signal)
    var wait = pollfd(fd: ending, events: Int16(POLLIN), revents: 0)
    #expect(poll(&wait, 1, 20_000) == 1)
    close(ending)
    file.close()
    try volume.mount()
    #expect(try path.contents()[50_000] == 0x77)
    volume.finish()
  }

  @Test func busyMountsAreNotTakenAway() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    let file = try path.open(O_CREAT | O_RDWR)
    let result = try holdfast("unmount", volume.mountPoint)
    #expect(result.status == 1)
    #expect(result.errors.contains("busy"), "\(result.errors)")
    try file.write([1], at: 0)
    file.close()
    volume.finish()
  }

  @Test(arguments: ["direct", "cache=4M", "commit=1", "errors=shutdown", "strictatime", "sync,dirsync"])
  func optionsWork(_ options: String) throws {
    let volume = try mounted(options)
    defer { volume.remove() }
    let folder = volume.root / "folder"
    try folder.makeDirectory()
    for index in 0..<30 { try (folder / "file-\(index)").create(pattern(20_000 + index)) }
    let file = try (folder / "file-3").open(O_RDWR)
    try file.write(pattern(777, seed: 5), at: 3333)
    file.close()
    try volume.remount(options)
    var expected = pattern(20_003)
    expected.replaceSubrange(3333..<4110, with: pattern(777, seed: 5))
    #expect(try (folder / "file-3").contents() == expected)
    for index in 10..<30 { #expect(try (folder / "file-\(index)").contents() == pattern(20_000 + index)) }
    volume.finish()
  }

  @Test func accessTimes() throws {
    let volume = try mounted("noatime")
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create(pattern(100))
    let old = timespec(tv_sec: 1000, tv_nsec: 0)
    try path.setTimes(old, old)
    _ = try path.contents()
    #expect(try path.status().st_atim.tv_sec == 1000)
    try volume.remount("strictatime")
    _ = try path.contents()
    #expect(eventually { (try? path.status().st_atim.tv_sec) ?? 0 > 1000 })
    volume.finish()
  }
}

extension Path {
  /// All of a file whose size is not known beforehand, as in /proc.
  func contentsOfStream() throws -> String {
    let file = try open()
    defer { file.close() }
    return String(decoding: try file.read(1 << 20, at: 0), as: UTF8.self)
  }
}
