/// POSIX ACLs: checked by the kernel, kept and inherited by us. Values as <linux/posix_acl_xattr.h> has them.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: POSIX ACLs", .needsMount, .mounted(), .deadline())
struct AclTests {
  private static let access = "system.posix_acl_access"
  private static let defaults = "system.posix_acl_default"

  private enum Tag: UInt16 {
    case owner = 1, user = 2, group = 4, namedGroup = 8, mask = 16, others = 32
  }

  private func acl(_ entries: [(Tag, permissions: UInt16, id: UInt32?)]) -> [UInt8] {
    var bytes: [UInt8] = [2, 0, 0, 0]
    for (tag, permissions, id) in entries {
      withUnsafeBytes(of: tag.rawValue.littleEndian) { bytes += $0 }
      withUnsafeBytes(of: permissions.littleEndian) { bytes += $0 }
      withUnsafeBytes(of: (id ?? .max).littleEndian) { bytes += $0 }
    }
    return bytes
  }

  private func file() throws -> Path {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(10), mode: 0o640)
    return path
  }

  @Test func aNamedUserIsLetIn() throws {
    let path = try file()
    let agent = try Agent(uid: Agent.user)
    #expect(throws: Errno(EACCES)) { try agent.open(path) }
    let list = acl([
      (.owner, 6, nil), (.user, 4, Agent.user), (.group, 4, nil), (.mask, 4, nil), (.others, 0, nil),
    ])
    try path.setAttribute(Self.access, list)
    #expect(try path.attribute(Self.access) == list)
    #expect(try path.mode() == 0o640)
    try agent.call("close", try agent.open(path))
    #expect(throws: Errno(EACCES)) { try agent.open(path, O_WRONLY) }
    // The mask is what chmod calls the group.
    try path.changeMode(0o600)
    #expect(throws: Errno(EACCES)) { try agent.open(path) }
    try path.changeMode(0o660)
    try agent.call("close", try agent.open(path))
    try path.removeAttribute(Self.access)
    #expect(throws: Errno(EACCES)) { try agent.open(path) }
  }

  @Test func aMinimalListIsTheMode() throws {
    let path = try file()
    try path.setAttribute(Self.access, acl([(.owner, 7, nil), (.group, 5, nil), (.others, 1, nil)]))
    #expect(try path.mode() == 0o751)
    #expect(throws: Errno(ENODATA)) { try path.attribute(Self.access) }
  }

  @Test func malformedListsAreRefused() throws {
    let path = try file()
    let folder = try sharedVolume().freshFolder()
    for bytes in [
      [2, 0, 0], [9, 0, 0, 0], [2, 0, 0, 0, 1], acl([(.owner, 6, nil)]),
      acl([(.owner, 6, nil), (.user, 4, Agent.user), (.group, 4, nil), (.others, 0, nil)]),
      acl([(.owner, 8, nil), (.group, 4, nil), (.others, 0, nil)]),
      acl([(.group, 4, nil), (.owner, 6, nil), (.others, 0, nil)]),
    ] {
      #expect(throws: Errno.self) { try path.setAttribute(Self.access, bytes) }
      #expect(throws: Errno.self) { try folder.setAttribute(Self.defaults, bytes) }
    }
    #expect(try path.mode() == 0o640)
    // A default list is a directory's.
    #expect(throws: Errno(EACCES)) {
      try path.setAttribute(Self.defaults, acl([(.owner, 7, nil), (.group, 5, nil), (.others, 1, nil)]))
    }
  }

  @Test func defaultsAreInherited() throws {
    let folder = try sharedVolume().freshFolder()
    let list = acl([
      (.owner, 7, nil), (.user, 7, Agent.user), (.group, 5, nil), (.mask, 7, nil), (.others, 0, nil),
    ])
    try folder.setAttribute(Self.defaults, list)
    #expect(try folder.attribute(Self.defaults) == list)
    try (folder / "file").create(mode: 0o666)
    try (folder / "below").makeDirectory(0o777)
    let agent = try Agent(uid: Agent.user)
    #expect(try (folder / "below").attribute(Self.defaults) == list)
    #expect(try (folder / "below").attribute(Self.access).count == list.count)
    // The umask does not count where a default list is; the mode asked for limits the mask.
    try check(close(hmt_open((folder / "open").bytes, O_CREAT | O_WRONLY, 0o666)))
    #expect(try (folder / "open").mode() == 0o660)
    try agent.call("close", try agent.open(folder / "open", O_RDWR))
    try (folder / "fifo").makeNode(S_IFIFO | 0o600)
    #expect(try (folder / "fifo").mode() == 0o600)
    try folder.removeAttribute(Self.defaults)
    try check(close(hmt_open((folder / "plain").bytes, O_CREAT | O_WRONLY, 0o600)))
    #expect(throws: Errno(EACCES)) { try agent.open(folder / "plain") }
  }

  @Test func setfaclAndGetfaclAgree() throws {
    let path = try file()
    let set = try run(["setfacl", "-m", "u:\(Agent.user):rw,g:\(Agent.otherUser):r", path.text])
    #expect(set.status == 0, "\(set.errors)")
    let shown = try run(["getfacl", "-npc", path.text]).output
    #expect(shown.contains("user:\(Agent.user):rw-"))
    #expect(shown.contains("group:\(Agent.otherUser):r--"))
    #expect(shown.contains("mask::rw-"))
    let agent = try Agent(uid: Agent.user)
    try agent.call("close", try agent.open(path, O_RDWR))
    #expect(try run(["setfacl", "-b", path.text]).status == 0)
    #expect(throws: Errno(EACCES)) { try agent.open(path) }
  }

  @Test func onlyTheOwnerSetsThem() throws {
    let path = try file()
    let list = acl([(.owner, 6, nil), (.group, 4, nil), (.others, 4, nil)])
    let agent = try Agent(uid: Agent.user)
    #expect(throws: Errno.self) { try agent.call("setxattr", path, Self.access, "garbage", 0) }
    #expect(throws: Errno(EPERM)) { try agent.call("removexattr", path, Self.access) }
    try path.setAttribute(Self.access, list)
    #expect(try path.mode() == 0o644)
  }
}
