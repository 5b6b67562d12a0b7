/// lookup, create, mknod, mkdir, rmdir, unlink, rename, link, symlink: what POSIX and Linux say of names.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: names", .needsMount, .mounted(), .deadline())
struct NameTests {
  private func folder() throws -> Path { try sharedVolume().freshFolder() }

  @Test func creatingAndLookingUp() throws {
    let folder = try folder()
    let path = folder / "file"
    #expect(throws: Errno(ENOENT)) { try path.status() }
    #expect(throws: Errno(ENOENT)) { try path.open() }
    try path.open(O_CREAT | O_EXCL | O_WRONLY, 0o640).close()
    #expect(throws: Errno(EEXIST)) { try path.open(O_CREAT | O_EXCL | O_WRONLY) }
    #expect(try path.status().st_mode == S_IFREG | 0o640)
    #expect(throws: Errno(ENOTDIR)) { try (path / "below").status() }
    #expect(throws: Errno(ENOTDIR)) { try path.open(O_DIRECTORY) }
    #expect(throws: Errno(EISDIR)) { try folder.open(O_WRONLY) }
    #expect(throws: Errno(ENOENT)) { try (folder / "none" / "below").open(O_CREAT | O_WRONLY) }
  }

  struct Node: Sendable {
    var type: mode_t
    var major: UInt32 = 0
    var minor: UInt32 = 0
  }

  @Test(arguments: [
    Node(type: S_IFIFO), Node(type: S_IFSOCK), Node(type: S_IFCHR, major: 1, minor: 3),
    Node(type: S_IFBLK, major: 7, minor: 300_000), Node(type: S_IFREG),
  ])
  func nodes(_ node: Node) throws {
    let (type, major, minor) = (node.type, node.major, node.minor)
    let path = try folder() / "node"
    try path.makeNode(type | 0o640, major: major, minor: minor)
    let status = try path.status()
    #expect(status.st_mode == type | 0o640)
    #expect(status.st_nlink == 1 && status.st_size == 0)
    if type == S_IFCHR || type == S_IFBLK {
      #expect(hmt_major(status.st_rdev) == major && hmt_minor(status.st_rdev) == minor)
    }
    if type == S_IFCHR {
      let null = try path.open(O_WRONLY)
      defer { null.close() }
      #expect(try null.write([1, 2, 3]) == 3)
    }
    #expect(throws: Errno(EEXIST)) { try path.makeNode(type | 0o640) }
    try path.unlink()
    #expect(!path.exists)
  }

  @Test func aFifoPasses() throws {
    let path = try folder() / "fifo"
    try path.makeNode(S_IFIFO | 0o600)
    let reader = try path.open(O_RDONLY | O_NONBLOCK)
    let writer = try path.open(O_WRONLY)
    defer {
      reader.close()
      writer.close()
    }
    try writer.write([1, 2, 3])
    var bytes = [UInt8](repeating: 0, count: 8)
    #expect(Glibc.read(reader.descriptor, &bytes, 8) == 3)
  }

  @Test func directories() throws {
    let folder = try folder()
    let path = folder / "directory"
    try path.makeDirectory(0o750)
    #expect(try path.status().st_mode == S_IFDIR | 0o750)
    #expect(try path.status().st_nlink == 2)
    #expect(try folder.status().st_nlink == 3)
    #expect(throws: Errno(EEXIST)) { try path.makeDirectory() }
    try (path / "file").create()
    #expect(throws: Errno(ENOTEMPTY)) { try path.removeDirectory() }
    #expect(throws: Errno(EISDIR)) { try path.unlink() }
    #expect(throws: Errno(ENOTDIR)) { try (path / "file").removeDirectory() }
    #expect(throws: Errno(EINVAL)) { try (path / ".").removeDirectory() }
    #expect(throws: Errno(ENOTEMPTY)) { try (path / "..").removeDirectory() }
    try (path / "file").unlink()
    try path.removeDirectory()
    #expect(throws: Errno(ENOENT)) { try path.removeDirectory() }
    #expect(try folder.status().st_nlink == 2)
  }

  @Test func aDirectoryThatIsGoneTakesNoNames() throws {
    let path = try folder() / "directory"
    try path.makeDirectory()
    let handle = try path.open(O_RDONLY | O_DIRECTORY)
    defer { handle.close() }
    try path.removeDirectory()
    #expect(throws: Errno(ENOENT)) { try check(mkdirat(handle.descriptor, "below", 0o755)) }
    #expect(try handle.status().st_nlink == 0)
  }

  @Test func setGroupIdDirectoriesHandDownTheirGroup() throws {
    let path = try folder() / "directory"
    try path.makeDirectory()
    try path.changeOwner(0, Agent.user)
    try path.changeMode(0o2775)
    try (path / "file").create()
    try (path / "below").makeDirectory()
    #expect(try (path / "file").status().st_gid == Agent.user)
    #expect(try (path / "below").status().st_gid == Agent.user)
    #expect(try (path / "below").mode() & 0o2000 == 0o2000)
  }

  @Test func stickyDirectoriesKeepOthersOut() throws {
    let folder = try sharedVolume().freshFolder(mode: 0o1777)
    try (folder / "roots").create()
    let agent = try Agent(uid: Agent.user)
    try agent.call("close", try agent.open(folder / "own", O_CREAT | O_WRONLY))
    #expect(throws: Errno(EPERM)) { try agent.call("unlink", folder / "roots") }
    #expect(throws: Errno(EPERM)) { try agent.call("rename", folder / "roots", folder / "mine") }
    try agent.call("rename", folder / "own", folder / "mine")
    try agent.call("unlink", folder / "mine")
  }

  @Test func unlinkedFilesLiveUntilClosed() throws {
    let path = try folder() / "file"
    try path.create(pattern(20_000))
    let file = try path.open(O_RDWR)
    defer { file.close() }
    try path.unlink()
    #expect(!path.exists)
    #expect(try file.status().st_nlink == 0)
    try file.write(pattern(100, seed: 4), at: 19_950)
    #expect(try file.read(30_000, at: 0) == pattern(20_000)[..<19_950] + pattern(100, seed: 4))
    try file.truncate(5)
    try file.sync()
    #expect(try file.size() == 5)
    try path.create([1])
    #expect(try path.contents() == [1])
  }

  @Test func hardLinks() throws {
    let folder = try folder()
    let path = folder / "file"
    try path.create(pattern(100))
    let other = folder / "other"
    try path.link(as: other)
    #expect(try path.status().st_nlink == 2)
    #expect(try path.status().st_ino == other.status().st_ino)
    let before = try path.status().st_ctim
    try other.unlink()
    #expect(try path.status().st_nlink == 1)
    let after = try path.status().st_ctim
    #expect((after.tv_sec, after.tv_nsec) >= (before.tv_sec, before.tv_nsec))
    #expect(throws: Errno(EEXIST)) { try path.link(as: path) }
    #expect(throws: Errno(EPERM)) { try folder.link(as: folder / "directory") }
    #expect(throws: Errno(ENOENT)) { try (folder / "none").link(as: other) }
    try (folder / "symlink").makeSymlink(to: "file")
    try (folder / "symlink").link(as: other)
    #expect(try other.symlinkTarget() == Array("file".utf8))
  }

  @Test(arguments: [1, 59, 60, 61, 255, 1024, 4095])
  func symlinks(targetBytes: Int) throws {
    let path = try folder() / "symlink"
    let target = [UInt8](repeating: UInt8(ascii: "t"), count: targetBytes)
    try path.makeSymlink(to: Path(String(decoding: target, as: UTF8.self)))
    #expect(try path.symlinkTarget() == target)
    let status = try path.statusOfLink()
    #expect(status.st_mode == S_IFLNK | 0o777)
    #expect(status.st_size == targetBytes)
    #expect(throws: Errno(EEXIST)) { try path.makeSymlink(to: "other") }
    try path.unlink()
  }

  @Test func symlinksAreFollowed() throws {
    let folder = try folder()
    try (folder / "file").create(pattern(10))
    try (folder / "link").makeSymlink(to: "file")
    #expect(try (folder / "link").contents() == pattern(10))
    #expect(throws: Errno(ELOOP)) { try (folder / "link").open(O_RDONLY | O_NOFOLLOW) }
    try (folder / "loop").makeSymlink(to: "loop")
    #expect(throws: Errno(ELOOP)) { try (folder / "loop").open() }
    #expect(throws: Errno(ENAMETOOLONG)) {
      try (folder / "long").makeSymlink(to: Path(String(repeating: "x", count: 4096)))
    }
    #expect(throws: Errno(EINVAL)) { try (folder / "file").symlinkTarget() }
  }

  @Test func namesOfAnyBytes() throws {
    let folder = try folder()
    var names: [[UInt8]] = (1...255).filter { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ".") }.map { [$0] }
    names.append([0xff, 0xfe, 0x80])
    names.append([UInt8](repeating: 0xc3, count: 255))
    names.append(Array("…".utf8))
    for (index, name) in names.enumerated() { try (folder / name).create([UInt8(index & 0xff)]) }
    for (index, name) in names.enumerated() { #expect(try (folder / name).contents() == [UInt8(index & 0xff)]) }
    // Case is told apart, and no form of Unicode is made into another.
    #expect(!(folder / "E\u{301}").exists)
    #expect(!(folder / "....").exists)
    #expect(try folder.names().count == names.count + 2)
    for name in names { try (folder / name).unlink() }
  }

  @Test func longNames() throws {
    let folder = try folder()
    let longest = String(repeating: "n", count: 255)
    let tooLong = String(repeating: "n", count: 256)
    try (folder / longest).create([1])
    #expect(try (folder / longest).contents() == [1])
    #expect(try folder.names().contains(longest))
    let path = folder / tooLong
    #expect(throws: Errno(ENAMETOOLONG)) { try path.status() }
    #expect(throws: Errno(ENAMETOOLONG)) { try path.open(O_CREAT | O_WRONLY) }
    #expect(throws: Errno(ENAMETOOLONG)) { try path.makeDirectory() }
    #expect(throws: Errno(ENAMETOOLONG)) { try path.makeNode(S_IFIFO | 0o600) }
    #expect(throws: Errno(ENAMETOOLONG)) { try path.makeSymlink(to: "x") }
    #expect(throws: Errno(ENAMETOOLONG)) { try (folder / longest).link(as: path) }
    #expect(throws: Errno(ENAMETOOLONG)) { try (folder / longest).rename(to: path) }
    #expect(throws: Errno(ENAMETOOLONG)) { try path.unlink() }
    #expect(throws: Errno(ENAMETOOLONG)) { try path.removeDirectory() }
    #expect(try folder.names().count == 3)
  }

  @Test func umaskAndModes() throws {
    let folder = try sharedVolume().freshFolder(mode: 0o777)
    let agent = try Agent(uid: Agent.user)
    try agent.call("close", try agent.open(folder / "file", O_CREAT | O_WRONLY, 0o777))
    try agent.call("mkdir", folder / "directory", 0o777)
    let mask = ~inheritedMask & 0o777
    #expect(try (folder / "file").mode() == mask)
    #expect(try (folder / "directory").mode() == mask)
    #expect(try (folder / "file").status().st_uid == Agent.user)
  }

  /// The umask of this process, which its children have too.
  private var inheritedMask: mode_t {
    let text = (try? run(["sh", "-c", "umask"]).output) ?? ""
    return mode_t(text.split(separator: "\n").first ?? "", radix: 8) ?? 0o022
  }
}
