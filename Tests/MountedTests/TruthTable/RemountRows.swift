/// Row 29 of the truth table, what persists, and seal_policy, which is a mount option: each on a volume of its own.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: remount", .needsMount, .deadline())
struct RemountRows {
  @Test("Row 29: requests are gone, save persistent; the generation moves on", arguments: Sealing.sealed)
  func row29(_ sealing: Sealing) throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create(pattern(50_000), mode: 0o600)
    let subject = try Subject(of: path, sealing)
    let extents = try path.extents()
    let generation = try path.generation()
    subject.holder?.close()
    try volume.remount()
    let isPersistent = sealing.lifetime == .persistent
    #expect(try path.sealCount() == (isPersistent ? 1 : 0))
    #expect(try path.extents() == extents)
    #expect(try path.generation() > generation)
    #expect(try path.generation() >> 32 > generation >> 32, "the high half counts mounts")
    if isPersistent {
      let holder = try #require(try path.holders().first)
      #expect(holder.name == "row" && holder.kind == (sealing.column == .breakable ? "breakable" : "hard"))
      #expect((holder.range != nil) == sealing.isPin)
      #expect(try path.attributeText("holdfast.seal.row").contains("persistent"))
      try expectRefusal(path, sealing)
      // It survives a crash as well, and its release does too.
      try volume.crash()
      try volume.mount()
      try expectRefusal(path, sealing)
      try path.unseal(name: "row")
      try volume.crash()
      try volume.mount()
      #expect(try path.sealCount() == 0)
    }
    try path.truncate(0)
    volume.finish()
  }

  private func expectRefusal(_ path: Path, _ sealing: Sealing) throws {
    let breaker = try path.open(O_RDWR | O_NONBLOCK)
    defer { breaker.close() }
    #expect(throws: sealing.refusal!) { try breaker.truncate(0) }
  }

  /// The record goes before the map may change: after a crash both have happened, or neither.
  @Test(
    "Row 29: a persistent breakable request that was fenced does not come back over another map",
    arguments: [false, true])
  func persistentFenced(_ isSynced: Bool) throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create(pattern(50_000))
    try path.seal("persistent,breakable=1")
    try path.truncate(10)
    #expect(try path.sealCount() == 0)
    if isSynced { try volume.sync() }
    try volume.crash()
    try volume.mount()
    let isSealed = try path.sealCount() == 1
    #expect(try path.size() == (isSealed ? 50_000 : 10))
    #expect(!isSealed || !isSynced)
    volume.finish()
  }

  @Test("Row 29: a persistent request revoked or expired does not come back")
  func persistentEnds() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create(pattern(50_000))
    try path.seal("persistent", name: "revoked")
    try path.seal("persistent,ttl=1", name: "expired")
    try path.seal("persistent", name: "replaced")
    try path.seal("1", name: "replaced")
    let administrator = try path.open()
    var argument = holdfast_revoke(flags: HOLDFAST_REVOKE_BY_NAME)
    withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: "revoked".utf8) }
    try administrator.control(UInt(holdfast_ioc_revoke), &argument)
    administrator.close()
    #expect(argument.revoked == 1)
    try volume.crash()
    usleep(1_100_000)
    try volume.mount()
    #expect(try path.sealCount() == 0)
    // A file that is gone takes its persistent requests along.
    try path.seal("persistent")
    try path.unlink()
    try volume.remount()
    #expect(try volume.seals().isEmpty)
    volume.finish()
  }

  @Test("Row 29: a user's persistent request is still that user's")
  func persistentOwners() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create(pattern(50_000), mode: 0o666)
    try path.changeOwner(Agent.user, Agent.user)
    let user = try Agent(uid: Agent.user)
    try user.call("setxattr", path, "holdfast.seal.theirs", "persistent", 0)
    try volume.remount()
    #expect(try path.holders().map(\.uid) == [Agent.user])
    #expect(throws: Errno(EPERM)) { try path.unseal(name: "theirs") }
    try user.call("removexattr", path, "holdfast.seal.theirs")
    try volume.remount()
    #expect(try path.sealCount() == 0)
    volume.finish()
  }

  @Test("On a read-only mount handles seal, and nothing is persistent")
  func readOnlyMount() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create(pattern(50_000))
    try path.seal("persistent")
    try volume.remount("ro")
    #expect(try path.sealCount() == 1)
    let file = try path.open()
    #expect(try file.seal().seal_count == 2)
    #expect(throws: Errno(EROFS)) { try file.seal(HOLDFAST_SEAL_NAMED | HOLDFAST_SEAL_PERSISTENT) }
    #expect(try file.unseal().seal_count == 1)
    file.close()
    #expect(throws: Errno(EROFS)) { try path.unseal() }
    try volume.unmount()
    #expect(try volume.fsck().status == 0)
  }

  @Test("seal_policy: owner, writer, admin")
  func policies() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    for (policy, owner, writer) in [("owner", true, false), ("writer", true, true), ("admin", false, false)] {
      try volume.mount("seal_policy=\(policy)")
      let path = volume.root / "file-\(policy)"
      try path.create(pattern(5000), mode: 0o666)
      try path.changeOwner(Agent.user, Agent.user)
      for (uid, isAllowed) in [(Agent.user, owner), (Agent.otherUser, writer)] {
        let agent = try Agent(uid: uid)
        let handle = try agent.open(path, O_RDWR)
        if isAllowed {
          try agent.call("seal", handle, 0, "")
          #expect(try path.sealCount() == 1)
          try agent.call("unseal", handle, 0, "")
        } else {
          #expect(throws: Errno(EPERM), "\(policy) \(uid)") { try agent.call("seal", handle, 0, "") }
        }
        let reading = try agent.open(path)
        if uid == Agent.otherUser {
          #expect(throws: Errno(EPERM), "\(policy)") { try agent.call("seal", reading, 0, "") }
        }
      }
      try path.seal()
      try path.unseal()
      try volume.unmount()
    }
    volume.finish()
  }
}
