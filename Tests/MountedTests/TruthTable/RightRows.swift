/// Rows 22 and 23 of the truth table, rule 9, and the order in which refusals apply.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: rights, quotas, precedence", .needsMount, .mounted(), .deadline())
struct RightRows {
  /// root's file that others may write; rule 9 lets only its owner and administrators seal it.
  private func sharedFile(_ contents: [UInt8] = pattern(10_000), owner: uid_t = 0) throws -> Path {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create(contents, mode: 0o666)
    try path.changeOwner(owner, owner)
    return path
  }

  @Test("Row 22: request without the right", arguments: Sealing.allCases)
  func row22(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder(mode: 0o777)
    let subject = try Subject(in: folder, sealing)
    defer { try? subject.release() }
    let path = subject.path
    try path.changeMode(0o666)
    let count = try path.sealCount()
    let stranger = try Agent(uid: Agent.user)
    for value in ["1", "hard", "ttl=5", "persistent", "pid=\(stranger.pid)", "fill", "as-is", "breakable", "range=0+1"]
    {
      #expect(throws: Errno(EPERM), "\(value)") {
        try stranger.call("setxattr", path, "holdfast.seal.mine", value, 0)
      }
    }
    for flags in [O_RDONLY, O_RDWR] {
      let handle = try stranger.open(path, flags)
      #expect(throws: Errno(EPERM)) { try stranger.call("seal", handle, 0, "") }
      #expect(throws: Errno(EPERM)) { try stranger.call("seal", handle, HOLDFAST_SEAL_NAMED, "mine") }
      #expect(throws: Errno(EPERM)) { try stranger.call("seal", handle, HOLDFAST_SEAL_BREAKABLE, "") }
    }
    // Without write permission the VFS answers setxattr itself.
    try path.changeMode(0o644)
    #expect(throws: Errno(EACCES)) { try stranger.call("setxattr", path, "holdfast.seal.mine", "1", 0) }
    #expect(try path.sealCount() == count)
  }

  @Test("Rule 9: an owner seals a file it may not write through a read-only handle")
  func ownerWithoutWritePermission() throws {
    let path = try sharedFile(owner: Agent.user)
    try path.changeMode(0o444)
    let owner = try Agent(uid: Agent.user)
    #expect(throws: Errno(EACCES)) { try owner.call("setxattr", path, "holdfast.seal", "1", 0) }
    let handle = try owner.open(path)
    try owner.call("seal", handle, 0, "")
    #expect(try path.sealCount() == 1)
    #expect(try path.holders().first?.uid == Agent.user)
    try owner.call("unseal", handle, 0, "")
    #expect(try path.sealCount() == 0)
  }

  @Test("Rule 9: anyone who may read the file may read its state, who may not, not")
  func readingState() throws {
    let path = try sharedFile()
    try path.changeMode(0o644)
    try path.seal()
    let stranger = try Agent(uid: Agent.user)
    #expect(try stranger.request(["getxattr", path.text, "holdfast.seal_count"]).text == "1")
    #expect(try stranger.request(["getxattr", path.text, "holdfast.holders"]).text.contains("\"hard\""))
    // Another user's own request of that name is none.
    #expect(throws: Errno(ENODATA)) { try stranger.request(["getxattr", path.text, "holdfast.seal"]) }
    try path.changeMode(0o600)
    #expect(throws: Errno.self) { try stranger.open(path) }
    try path.unseal()
  }

  @Test("Rule 9: CAP_LINUX_IMMUTABLE makes an administrator")
  func capability() throws {
    let path = try sharedFile()
    let keeper = try Agent(uid: Agent.user, keepingImmutable: true)
    try keeper.call("setxattr", path, "holdfast.seal.mine", "1", 0)
    #expect(try path.sealCount() == 1)
    let handle = try keeper.open(path)
    try keeper.call("revoke", handle)
    #expect(try path.sealCount() == 0)
  }

  @Test("Row 23: request over quota, by number", .serialized, arguments: [Sealing.unsealed, .named])
  func row23(_ sealing: Sealing) throws {
    let path = try sharedFile(owner: Agent.otherUser)
    if sealing.isSealed { try path.seal(name: "root") }
    let count = try path.sealCount()
    let owner = try Agent(uid: Agent.otherUser)
    let handle = try owner.open(path)
    #expect(throws: Errno(EDQUOT)) { try owner.call("seal-many", handle, 50_000) }
    let taken = try path.sealCount() - count
    #expect(taken > 0 && taken < 50_000)
    #expect(throws: Errno(EDQUOT)) { try owner.call("seal", handle, 0, "one-more") }
    // Replacing one's own takes nothing more; another user and root have their own account.
    try owner.call("seal", handle, HOLDFAST_SEAL_NAMED, "request-0")
    try path.seal(name: "by-root")
    let root = try path.open()
    defer { root.close() }
    #expect(try root.revokeAll() == UInt64(count + taken + 1))
    #expect(try path.sealCount() == 0)
    // The handle's own request was never granted, so it is not stale.
    try owner.call("seal", handle, 0, "again")
    owner.kill()
    #expect(try eventually { try path.sealCount() == 0 })
  }

  @Test("Row 23: request over quota, by bytes")
  func row23Bytes() throws {
    let path = try sharedFile([], owner: Agent.user)
    try path.truncate(2 << 40)
    let owner = try Agent(uid: Agent.user)
    #expect(throws: Errno(EDQUOT)) { try owner.call("setxattr", path, "holdfast.seal", "as-is", 0) }
    #expect(try path.sealCount() == 0)
    try path.seal("as-is")
    try path.unseal()
  }

  /// A refusal is whole: nothing is filled for a request that is over quota.
  @Test("Row 23: fill over quota changes no map")
  func row23Fill() throws {
    let user = Agent.otherUser + 2
    let (large, small) = (try sharedFile([], owner: user), try sharedFile([], owner: user))
    try large.truncate((1 << 40) - 4096)
    try small.truncate(1 << 20)
    let owner = try Agent(uid: user)
    try owner.call("setxattr", large, "holdfast.seal", "as-is", 0)
    #expect(throws: Errno(EDQUOT)) { try owner.call("setxattr", small, "holdfast.seal", "fill", 0) }
    #expect(try small.extents().isEmpty)
    #expect(try small.sealCount() == 0)
    try owner.call("removexattr", large, "holdfast.seal")
    try owner.call("setxattr", small, "holdfast.seal", "fill", 0)
    try owner.call("removexattr", small, "holdfast.seal")
  }

  @Test("Precedence: EPERM before EINVAL")
  func permissionBeforeValidity() throws {
    let path = try sharedFile([])
    try path.truncate(100_000)
    let stranger = try Agent(uid: Agent.user)
    // A hole, which would be EINVAL for the owner.
    #expect(throws: Errno(EINVAL)) { try path.seal() }
    #expect(throws: Errno(EPERM)) { try stranger.call("setxattr", path, "holdfast.seal", "1", 0) }
    // A malformed value.
    #expect(throws: Errno(EINVAL)) { try path.seal("nonsense") }
    #expect(throws: Errno(EPERM)) { try stranger.call("setxattr", path, "holdfast.seal", "nonsense", 0) }
  }

  @Test("Precedence: EINVAL before ETXTBSY")
  func validityBeforeRefusal() throws {
    let path = try sharedFile([])
    try path.truncate(100_000)
    try path.seal("as-is", name: "first")
    // Filling meets the first request; a malformed word beside it is told first.
    #expect(throws: Errno(ETXTBSY)) { try path.seal("fill", name: "second") }
    #expect(throws: Errno(EINVAL)) { try path.seal("fill,as-is", name: "second") }
    #expect(throws: Errno(EINVAL)) { try path.seal("1", name: "second") }
    try path.unseal(name: "first")
  }

  @Test("Precedence: EINVAL before EAGAIN")
  func validityBeforeRecall() throws {
    let path = try sharedFile([])
    try path.truncate(100_000)
    let (holder, other) = (try path.open(O_RDONLY | O_NONBLOCK), try path.open(O_RDWR | O_NONBLOCK))
    defer {
      holder.close()
      other.close()
    }
    try holder.sealBreakable(graceSeconds: 300, HOLDFAST_SEAL_AS_IS)
    #expect(throws: Errno(EAGAIN)) { try other.truncate(1) }
    #expect(throws: Errno(EINVAL)) { try other.seal() }
    #expect(throws: Errno(EAGAIN)) { try other.seal(HOLDFAST_SEAL_AS_IS) }
    #expect(throws: Errno(EAGAIN)) { try other.seal(HOLDFAST_SEAL_FILL) }
  }

  @Test("Precedence: EINVAL and ETXTBSY before EDQUOT")
  func refusalBeforeQuota() throws {
    let path = try sharedFile([], owner: Agent.user)
    try path.truncate(2 << 40)
    let owner = try Agent(uid: Agent.user)
    #expect(throws: Errno(EINVAL)) { try owner.call("setxattr", path, "holdfast.seal", "1", 0) }
    try path.seal("as-is", name: "root")
    #expect(throws: Errno(ETXTBSY)) { try owner.call("setxattr", path, "holdfast.seal", "fill", 0) }
    try path.unseal(name: "root")
  }

  /// The same when it is the number of requests that is exhausted.
  @Test("Precedence: EINVAL and ETXTBSY before EDQUOT by number")
  func refusalBeforeQuotaByNumber() throws {
    let user = Agent.otherUser + 1
    let full = try sharedFile(owner: user)
    let owner = try Agent(uid: user)
    let handle = try owner.open(full)
    #expect(throws: Errno(EDQUOT)) { try owner.call("seal-many", handle, 50_000) }
    let holes = try sharedFile([], owner: user)
    try holes.truncate(100_000)
    #expect(throws: Errno(EINVAL)) { try owner.call("setxattr", holes, "holdfast.seal", "1", 0) }
    try holes.seal("as-is", name: "root")
    #expect(throws: Errno(ETXTBSY)) { try owner.call("setxattr", holes, "holdfast.seal", "fill", 0) }
    #expect(throws: Errno(EDQUOT)) { try owner.call("setxattr", holes, "holdfast.seal", "as-is", 0) }
    try holes.unseal(name: "root")
    let root = try full.open()
    defer { root.close() }
    try root.revokeAll()
  }
}
