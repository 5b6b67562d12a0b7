/// lsattr and chattr: FS_IOC_GETFLAGS and SETFLAGS, FSGETXATTR and FSSETXATTR; what immutable and append-only mean.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: inode flags", .needsMount, .mounted(), .deadline())
struct FlagTests {
  /// A file with `flags`, which go again after `body`.
  private func with(_ flags: UInt32, _ body: (Path) throws -> Void) throws {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create(pattern(10_000), mode: 0o666)
    let control = try path.open()
    defer { control.close() }
    try control.setFlags(flags)
    #expect(try control.flags() == flags)
    defer { try? control.setFlags(0) }
    try body(path)
    #expect(try path.size() == 10_000)
    try control.setFlags(0)
    try path.unlink()
  }

  @Test func immutableFiles() throws {
    try with(hmt_immutable_flag) { path in
      let other = Path(path.text + "-other")
      #expect(throws: Errno(EPERM)) { try path.open(O_WRONLY) }
      #expect(throws: Errno(EPERM)) { try path.open(O_RDWR | O_APPEND) }
      #expect(throws: Errno(EPERM)) { try path.open(O_WRONLY | O_TRUNC) }
      #expect(throws: Errno(EPERM)) { try path.truncate(0) }
      #expect(throws: Errno(EPERM)) { try path.unlink() }
      #expect(throws: Errno(EPERM)) { try path.rename(to: other) }
      #expect(throws: Errno(EPERM)) { try path.link(as: other) }
      #expect(throws: Errno(EPERM)) { try path.changeMode(0o600) }
      #expect(throws: Errno(EPERM)) { try path.changeOwner(1, 1) }
      #expect(throws: Errno(EPERM)) { try path.setAttribute("user.a", "v") }
      #expect(throws: Errno(EPERM)) {
        try path.setTimes(timespec(tv_sec: 1, tv_nsec: 0), timespec(tv_sec: 1, tv_nsec: 0))
      }
      try other.create([1])
      #expect(throws: Errno(EPERM)) { try other.rename(to: path) }
      #expect(try path.contents() == pattern(10_000))
      #expect(try path.attributeNames().isEmpty)
    }
  }

  @Test func appendOnlyFiles() throws {
    try with(hmt_append_flag) { path in
      #expect(throws: Errno(EPERM)) { try path.open(O_WRONLY) }
      #expect(throws: Errno(EPERM)) { try path.open(O_WRONLY | O_APPEND | O_TRUNC) }
      #expect(throws: Errno(EPERM)) { try path.truncate(5) }
      #expect(throws: Errno(EPERM)) { try path.unlink() }
      #expect(throws: Errno(EPERM)) { try path.rename(to: Path(path.text + "-other")) }
      #expect(throws: Errno(EPERM)) { try path.changeMode(0o600) }
    }
    let path = try sharedVolume().freshFolder() / "log"
    try path.create([1])
    let file = try path.open(O_WRONLY | O_APPEND)
    defer { file.close() }
    try file.setFlags(hmt_append_flag)
    try file.write([2, 3])
    #expect(throws: Errno(EPERM)) { try file.truncate(0) }
    #expect(throws: Errno(EPERM)) { try file.allocate(hmt_punch_hole | hmt_keep_size, at: 0, 1) }
    #expect(try path.contents() == [1, 2, 3])
    try file.setFlags(0)
  }

  @Test func directories() throws {
    let folder = try sharedVolume().freshFolder()
    try (folder / "file").create([1])
    let control = try folder.open()
    defer { control.close() }
    for flag in [hmt_immutable_flag, hmt_append_flag] {
      try control.setFlags(flag)
      defer { try? control.setFlags(0) }
      #expect(throws: Errno(EPERM)) { try (folder / "file").unlink() }
      #expect(throws: Errno(EPERM)) { try (folder / "file").rename(to: folder / "other") }
      if flag == hmt_immutable_flag {
        #expect(throws: Errno(EPERM)) { try (folder / "new").create() }
        #expect(throws: Errno(EPERM)) { try (folder / "new").makeDirectory() }
        #expect(throws: Errno(EPERM)) { try (folder / "file").link(as: folder / "new") }
      } else {
        try (folder / "new").create([2])
      }
      // The files in it are not what is protected.
      try (folder / "file").changeMode(0o600)
    }
    try (folder / "file").unlink()
  }

  @Test func onlyAdministratorsProtect() throws {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create()
    try path.changeOwner(Agent.user, Agent.user)
    let owner = try Agent(uid: Agent.user)
    let handle = try owner.open(path)
    #expect(throws: Errno(EPERM)) { try owner.call("flags", handle, hmt_immutable_flag) }
    #expect(throws: Errno(EPERM)) { try owner.call("flags", handle, hmt_append_flag) }
    try owner.call("flags", handle, hmt_no_dump_flag)
    let stranger = try Agent(uid: Agent.otherUser)
    let theirs = try stranger.open(path)
    #expect(throws: Errno(EPERM)) { try stranger.call("flags", theirs, 0) }
    let keeper = try Agent(uid: Agent.otherUser, keepingImmutable: true)
    #expect(throws: Errno.self) { try keeper.call("flags", try keeper.open(path), 0x4000_0000) }
  }

  @Test func unknownFlagsAreRefused() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create()
    let file = try path.open()
    defer { file.close() }
    #expect(throws: Errno(EOPNOTSUPP)) { try file.setFlags(0x0000_0004) }
    #expect(try file.flags() == 0)
  }

  @Test func extendedFlags() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(10_000))
    let file = try path.open()
    defer { file.close() }
    var flags = fsxattr()
    try file.control(hmt_fsgetxattr, &flags)
    #expect(flags.fsx_xflags == 0 && flags.fsx_nextents >= 1)
    flags.fsx_xflags = 0x80
    try file.control(hmt_fssetxattr, &flags)
    #expect(try file.flags() == hmt_no_dump_flag)
    flags = fsxattr()
    try file.control(hmt_fsgetxattr, &flags)
    #expect(flags.fsx_xflags == 0x80)
    flags.fsx_projid = 7
    #expect(throws: Errno(EOPNOTSUPP)) { try file.control(hmt_fssetxattr, &flags) }
  }

  @Test func chattrAndLsattr() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create()
    #expect(try run(["chattr", "+i", path.text]).status == 0)
    #expect(try run(["lsattr", path.text]).output.split(separator: " ")[0].contains("i"))
    #expect(throws: Errno(EPERM)) { try path.unlink() }
    #expect(try run(["chattr", "-i", path.text]).status == 0)
    try path.unlink()
  }
}
