/// Rows 27 and 28 of the truth table: how requests end without being released.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: ends of requests", .needsMount, .mounted(), .deadline())
struct LifetimeRows {
  private func file() throws -> Path {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create(pattern(10_000), mode: 0o666)
    return path
  }

  private func expectReleased(_ path: Path, sourceLocation: SourceLocation = #_sourceLocation) throws {
    #expect(try eventually { try path.sealCount() == 0 }, "still sealed", sourceLocation: sourceLocation)
    #expect(throws: Never.self, sourceLocation: sourceLocation) { try path.truncate(10) }
  }

  @Test("Row 27: last close of the handle")
  func lastClose() throws {
    let path = try file()
    let holder = try path.open()
    try holder.seal()
    let other = try path.open()
    other.close()
    #expect(try path.sealCount() == 1)
    holder.close()
    try expectReleased(path)
  }

  @Test("Row 27: a duplicate of the descriptor keeps the handle")
  func duplicate() throws {
    let path = try file()
    let holder = try path.open()
    let copy = try holder.duplicate()
    defer { copy.close() }
    try holder.seal()
    holder.close()
    usleep(20_000)
    #expect(try path.sealCount() == 1)
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    // It is the same handle: the copy releases what the original took.
    #expect(try copy.unseal().seal_count == 0)
    try copy.seal()
    copy.close()
    try expectReleased(path)
  }

  @Test("Row 27: a mapping keeps the handle")
  func mapping() throws {
    let path = try file()
    let holder = try path.open()
    try holder.seal()
    try holder.withMapping(4096, writable: false) { memory throws in
      holder.close()
      usleep(20_000)
      #expect(try path.sealCount() == 1)
      #expect(memory[0] == pattern(1)[0])
    }
    try expectReleased(path)
  }

  @Test("Row 27: a forked child keeps the handle")
  func fork() throws {
    let path = try file()
    let parent = try Agent()
    let descriptor = try parent.open(path)
    try parent.call("seal", descriptor, 0, "")
    let child = pid_t(try parent.call("fork"))
    defer { kill(child, SIGKILL) }
    #expect(try path.holders().map(\.pid) == [parent.pid])
    parent.kill()
    usleep(20_000)
    #expect(try path.sealCount() == 1)
    kill(child, SIGKILL)
    try expectReleased(path)
  }

  @Test("Row 27: exec keeps what is not close-on-exec")
  func exec() throws {
    let path = try file()
    let holder = try Agent()
    let descriptor = try holder.open(path)
    try holder.call("seal", descriptor, 0, "")
    try holder.call("keep-on-exec", descriptor)
    try holder.call("exec")
    #expect(try holder.call("ping") == Int(holder.pid))
    #expect(try path.sealCount() == 1)
    // The program that came after holds the same handle.
    try holder.call("unseal", descriptor, 0, "")
    #expect(try path.sealCount() == 0)
    let second = try holder.open(path)
    try holder.call("seal", second, 0, "")
    #expect(try path.sealCount() == 1)
    try holder.call("exec")
    try holder.call("ping")
    try expectReleased(path)
  }

  @Test("Row 27: a descriptor passed to another process keeps the handle")
  func passedDescriptor() throws {
    let path = try file()
    var ends: [Int32] = [0, 0]
    try check(hmt_socket_pair(&ends))
    let holder = try path.open()
    try holder.seal()
    try check(hmt_send_descriptor(ends[0], holder.descriptor))
    holder.close()
    usleep(20_000)
    // In flight: nobody's, and still open.
    #expect(try path.sealCount() == 1)
    let received = File(try check(hmt_receive_descriptor(ends[1])))
    #expect(try path.sealCount() == 1)
    let heir = try Agent(inherited: [received.descriptor])
    received.close()
    close(ends[0])
    close(ends[1])
    usleep(20_000)
    #expect(try path.sealCount() == 1)
    heir.kill()
    try expectReleased(path)
  }

  @Test("Row 27: kill -9 of the holder, by handle and by pid=", arguments: [Sealing.handle, .process])
  func killed(_ sealing: Sealing) throws {
    let path = try file()
    let holder = try Agent()
    if sealing == .handle {
      try holder.call("seal", try holder.open(path, O_RDWR), 0, "")
    } else {
      try path.seal("pid=\(holder.pid)", name: "theirs")
    }
    let holders = try path.holders()
    #expect(holders.map(\.pid) == [holder.pid])
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    holder.kill()
    try expectReleased(path)
  }

  @Test("Row 27: an orderly exit, by handle and by pid=", arguments: [Sealing.handle, .process])
  func exited(_ sealing: Sealing) throws {
    let path = try file()
    let holder = try Agent()
    if sealing == .handle {
      try holder.call("seal", try holder.open(path), 0, "")
    } else {
      try path.seal("pid=\(holder.pid)")
    }
    #expect(try path.sealCount() == 1)
    holder.exit()
    try expectReleased(path)
  }

  @Test("Row 27: named and persistent requests outlive their taker", arguments: ["1", "persistent", "ttl=3600"])
  func namedOutlives(_ specification: String) throws {
    let path = try file()
    let taker = try Agent()
    try taker.call("setxattr", path, "holdfast.seal.kept", specification, 0)
    taker.kill()
    usleep(50_000)
    #expect(try path.sealCount() == 1)
    #expect(try path.holders().first?.name == "kept")
    try path.unseal(name: "kept")
    try expectReleased(path)
  }

  @Test("A ttl ends by itself", arguments: ["ttl=1", "ttl=1,persistent", "ttl=1,pid=1"])
  func timeToLive(_ specification: String) throws {
    let path = try file()
    try path.seal(specification)
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    let start = now()
    #expect(try eventually(within: 10) { try path.sealCount() == 0 })
    #expect(now() - start > 0.5)
    try path.truncate(0)
  }

  @Test("A request that replaces another has its own ttl")
  func timeToLiveReplaced() throws {
    let path = try file()
    try path.seal("ttl=1")
    try path.seal("ttl=3600")
    usleep(1_500_000)
    #expect(try path.sealCount() == 1)
    try path.unseal()
  }

  @Test("A process that does not exist cannot hold")
  func noSuchProcess() throws {
    let path = try file()
    let gone = try Agent()
    gone.kill()
    #expect(throws: Errno(ESRCH)) { try path.seal("pid=\(gone.pid)") }
    #expect(try path.sealCount() == 0)
  }

  @Test("Row 28: an administrator's revoke", arguments: Sealing.sealed)
  func row28(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder(mode: 0o777)
    let subject = try Subject(in: folder, sealing)
    let path = subject.path
    try path.changeMode(0o666)
    let before = try subject.state()
    let stranger = try Agent(uid: Agent.user)
    let theirs = try stranger.open(path)
    #expect(throws: Errno(EPERM)) { try stranger.call("revoke", theirs) }
    #expect(try path.sealCount() == 1)
    let administrator = try path.open()
    defer { administrator.close() }
    #expect(try administrator.revokeAll() == 1)
    #expect(try administrator.revokeAll() == 0)
    if let holder = subject.holder { #expect(try holder.poll(Int16(POLLPRI)) & Int16(POLLERR) != 0) }
    let after = try subject.state()
    #expect(after.sealCount == 0 && after.extents == before.extents && after.contents == before.contents)
    #expect(after.generation != before.generation)
    if let holder = subject.holder {
      #expect(throws: Errno(ESTALE)) { try holder.seal() }
      #expect(throws: Errno(ESTALE)) { try holder.unseal() }
      // What is no seal or layout call goes on, and a new handle is not stale.
      #expect(try holder.read(10, at: 0).count == 10)
      let again = try path.open()
      defer { again.close() }
      try again.seal()
      try again.unseal()
      holder.close()
    } else {
      #expect(throws: Errno(ENODATA)) { try path.unseal(name: "row") }
      try subject.seal()
      try subject.release()
    }
    // Nobody is in the way any more, and nobody waits.
    try path.truncate(0)
  }

  @Test("Row 28: revoke by name, by process, by inode")
  func row28Selections() throws {
    let path = try file()
    let holder = try Agent()
    for name in ["a", "b", "c"] { try path.seal(name: name) }
    try path.seal("pid=\(holder.pid)", name: "p")
    let administrator = try path.open()
    defer { administrator.close() }
    var byName = holdfast_revoke(flags: HOLDFAST_REVOKE_BY_NAME)
    withUnsafeMutableBytes(of: &byName.name) { $0.copyBytes(from: "b".utf8) }
    try administrator.control(UInt(holdfast_ioc_revoke), &byName)
    #expect(byName.revoked == 1)
    #expect(Set(try path.holders().map(\.name)) == ["a", "c", "p"])
    var byProcess = holdfast_revoke(flags: HOLDFAST_REVOKE_BY_PID)
    byProcess.pid = holder.pid
    try administrator.control(UInt(holdfast_ioc_revoke), &byProcess)
    #expect(byProcess.revoked == 1)
    // From the root directory, by number: as for a file that has no name any more.
    let root = try sharedVolume().root.open()
    defer { root.close() }
    var byInode = holdfast_revoke(flags: HOLDFAST_REVOKE_BY_INODE)
    byInode.inode = UInt64(try path.status().st_ino)
    try root.control(UInt(holdfast_ioc_revoke), &byInode)
    #expect(byInode.revoked == 2)
    #expect(try path.sealCount() == 0)
  }
}
