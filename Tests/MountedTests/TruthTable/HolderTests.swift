/// Who holds a breakable request: how it hears of a recall, what becomes of one that does not let go, and of holders that
/// die, stop or exec meanwhile. Points 2 and 5 of the model's life.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Holders", .needsMount, .mounted(), .deadline())
struct HolderTests {
  private func file() throws -> Path {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create(pattern(20_000), mode: 0o666)
    return path
  }

  private func truncating(_ path: Path) -> Background { Background { try path.truncate(5) } }

  @Test("A holder that does not let go is fenced at its deadline; its handle is stale")
  func fenced() throws {
    let volume = try sharedVolume()
    let path = try file()
    let holder = try path.open(O_RDWR)
    defer { holder.close() }
    let before = try holder.sealBreakable(graceSeconds: 1).generation
    let inode = try path.status().st_ino
    let waiting = truncating(path)
    #expect(try holder.poll(Int16(POLLPRI)) & Int16(POLLPRI) != 0, "it was not asked first")
    try waiting.finish()
    #expect(try path.sealCount() == 0 && path.size() == 5)
    #expect(try path.generation() > before)
    #expect(throws: Errno(ESTALE)) { try holder.recallMilliseconds() }
    #expect(throws: Errno(ESTALE)) { try holder.sealBreakable(graceSeconds: 1) }
    #expect(throws: Errno(ESTALE)) { try holder.unseal() }
    #expect(try holder.poll(Int16(POLLPRI)) == Int16(POLLPRI | POLLERR))
    #expect(try holder.read(5, at: 0) == Array(pattern(5)), "what is no seal call goes on")
    let again = try path.open()
    defer { again.close() }
    try again.seal()
    let lines = volume.log.split(separator: "\n").filter { $0.contains("inode \(inode) ") }
    #expect(lines.count { $0.contains("recall of request") } == 1, "\(lines)")
    #expect(lines.count { $0.contains("fenced: request") } == 1, "\(lines)")
  }

  @Test("poll(2) wakes who polls already, for a recall and for a fence; epoll too")
  func polling() throws {
    let path = try file()
    let holder = try path.open(O_RDWR)
    defer { holder.close() }
    let epoll = try check(hmt_epoll_priority(holder.descriptor))
    defer { close(epoll) }
    func events(milliseconds: Int32) throws -> Int32 { try check(hmt_epoll_events(epoll, milliseconds)) }
    #expect(try holder.poll(Int16(POLLPRI), milliseconds: 0) == 0)
    try holder.sealBreakable(graceSeconds: 2)
    #expect(try holder.poll(Int16(POLLPRI), milliseconds: 0) == 0, "nobody asks yet")
    #expect(try events(milliseconds: 0) == 0)
    nonisolated(unsafe) let held = holder
    let polling = Background {
      let events = try held.poll(Int16(POLLPRI), milliseconds: 10_000)
      #expect(events == Int16(POLLPRI))
    }
    usleep(50_000)
    #expect(!polling.isDone)
    let waiting = truncating(path)
    try polling.finish()
    #expect(try events(milliseconds: 5000) == Int32(POLLPRI))
    // Still asked, nothing new: then the fence.
    let isFenced = try eventually { try events(milliseconds: 1000) == Int32(POLLPRI | POLLERR) }
    #expect(isFenced)
    try waiting.finish()
  }

  @Test("A holder that lets go in time is nobody's enemy: it may hold again")
  func lettingGo() throws {
    let path = try file()
    let holder = try path.open(O_RDWR)
    defer { holder.close() }
    for round in 0..<20 {
      let grant = try holder.sealBreakable(graceSeconds: 300)
      let waiting = Background { try path.truncate(19_000 - round) }
      #expect(try holder.poll(Int16(POLLPRI)) == Int16(POLLPRI))
      #expect(try path.generation() == grant.generation)
      try holder.unseal()
      try waiting.finish()
      #expect(try path.size() == 19_000 - round)
    }
  }

  enum End: CaseIterable { case close, kill, exit, exec, revoke, ttl, release }

  @Test("However the holder goes, who waits goes on", arguments: End.allCases)
  func ends(_ end: End) throws {
    let path = try file()
    let holder = try Agent()
    let descriptor = try holder.open(path, O_RDWR)
    if end == .ttl {
      try path.seal("breakable=300,ttl=2")
    } else {
      try holder.call("seal", descriptor, HOLDFAST_SEAL_BREAKABLE, "")
    }
    let waiting = truncating(path)
    #expect(try eventually { try path.holders().first?.recallMs != nil })
    #expect(!waiting.isDone)
    switch end {
    case .close: try holder.call("close", descriptor)
    case .kill: holder.kill()
    case .exit: holder.exit()
    case .exec: try holder.call("exec")
    case .release: try holder.call("unseal", descriptor, 0, "")
    case .ttl: break
    case .revoke:
      let administrator = try path.open(O_RDONLY | O_NONBLOCK)
      defer { administrator.close() }
      #expect(try administrator.revokeAll() == 1)
    }
    try waiting.finish()
    #expect(try path.size() == 5 && path.sealCount() == 0)
  }

  @Test("A process is asked by the signal it wants; its death ends the wait")
  func signalled() throws {
    let path = try file()
    let holder = try Agent()
    try path.seal("breakable=300,pid=\(holder.pid),signal=\(SIGTERM)")
    #expect(try path.attributeText("holdfast.seal") == "breakable=300,pid=\(holder.pid),signal=15")
    try path.truncate(5)
    #expect(try path.sealCount() == 0)
    #expect(eventually { holder.isZombie })
  }

  @Test("Only who may send a signal may ask for one")
  func foreignSignal() throws {
    let path = try file()
    try path.changeOwner(Agent.user, Agent.user)
    let (user, victim) = (try Agent(uid: Agent.user), try Agent())
    let words = "breakable,pid=\(victim.pid)"
    #expect(throws: Errno(EPERM)) { try user.call("setxattr", path, "holdfast.seal", words + ",signal=9", 0) }
    #expect(try path.sealCount() == 0)
    // Nor bind one to it: blocks taken from the request would wait for the end of that process.
    #expect(throws: Errno(EPERM)) { try user.call("setxattr", path, "holdfast.seal", words, 0) }
    #expect(throws: Errno(EPERM)) { try user.call("setxattr", path, "holdfast.seal", "pid=1", 0) }
    try user.call("setxattr", path, "holdfast.seal.own", "breakable,pid=\(user.pid),signal=23", 0)
    try path.truncate(5)
    #expect(kill(victim.pid, 0) == 0)
    #expect(try user.call("ping") == Int(user.pid), "SIGURG is ignored by default")
  }

  @Test("A stopped holder is fenced like any other")
  func stopped() throws {
    let path = try file()
    let holder = try Agent()
    let descriptor = try holder.open(path, O_RDWR)
    try path.seal("breakable=1,pid=\(holder.pid)", name: "process")
    try holder.call("seal", descriptor, 0, "hard")
    holder.signal(SIGSTOP)
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(5) }
    #expect(try path.holders().allSatisfy { $0.recallMs == nil }, "a hard request refuses at once and recalls nobody")
    holder.signal(SIGCONT)
    try holder.call("unseal", descriptor, 0, "hard")
    holder.signal(SIGSTOP)
    try path.truncate(5)
    #expect(try path.sealCount() == 0)
  }

  @Test("A zombie holds nothing: its process has ended, whether anybody has reaped it or not")
  func zombie() throws {
    let path = try file()
    let holder = try Agent()
    try path.seal("pid=\(holder.pid)")
    holder.signal(SIGKILL)
    #expect(try eventually { try path.sealCount() == 0 })
    #expect(holder.isZombie)
    #expect(throws: Errno(ESRCH)) { try path.seal("pid=\(holder.pid)") }
  }

  @Test("A thread may name itself; the process holds when it has gone")
  func thread() throws {
    let path = try file()
    try Background { try path.seal("pid=\(hmt_thread_id())") }.finish()
    #expect(try path.holders().map(\.pid) == [getpid()])
    usleep(50_000)
    #expect(try path.sealCount() == 1)
    try path.unseal()
  }

  @Test("A process that gets the pid of a holder that died holds nothing")
  func recycledPid() throws {
    let path = try file()
    let holder = try Agent()
    let pid = holder.pid
    try path.seal("breakable=300,pid=\(pid),signal=\(SIGKILL)")
    holder.kill()
    var heir: Agent?
    for _ in 0..<200 {
      guard let control = try? Path("/proc/sys/kernel/ns_last_pid").open(O_WRONLY) else { break }
      try control.write(Array("\(pid - 1)".utf8))
      control.close()
      let agent = try Agent()
      if agent.pid == pid {
        heir = agent
        break
      }
      agent.kill()
    }
    let recycled = try #require(heir, "the pid could not be given again")
    #expect(try path.sealCount() == 0)
    try path.truncate(5)
    #expect(try recycled.call("ping") == Int(pid))
    // And a request of its own is its own.
    try path.seal("pid=\(pid)")
    #expect(try path.sealCount() == 1)
    recycled.kill()
    #expect(try eventually { try path.sealCount() == 0 })
  }

  @Test("Limits of users, each and together, are options of the mount")
  func limits() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount("max_seals=3,max_pinned=64K,max_seals_all=5")
    let path = volume.root / "file"
    try path.create(pattern(128 << 10), mode: 0o666)
    try path.changeOwner(Agent.user, Agent.user)
    let user = try Agent(uid: Agent.user)
    func take(_ name: String, _ words: String) -> Errno? {
      do throws(Errno) {
        try user.call("setxattr", path, "holdfast.seal.\(name)", words, 0)
        return nil
      } catch {
        return error
      }
    }
    #expect(take("whole", "1") == Errno(EDQUOT), "128 KiB")
    #expect(take("a", "range=0+32K") == nil)
    #expect(take("b", "range=0+32769") == Errno(EDQUOT), "nine blocks")
    #expect(take("b", "range=0+32768,breakable") == nil)
    #expect(take("b", "range=8K+4K") == nil)
    #expect(take("c", "range=8K+4K") == nil)
    #expect(take("d", "range=8K+1") == Errno(EDQUOT), "the fourth")
    try path.seal(name: "root-1")
    try path.seal(name: "root-2")
    try user.call("removexattr", path, "holdfast.seal.a")
    #expect(take("a", "range=0+4K") == nil)
    try path.changeOwner(Agent.otherUser, Agent.otherUser)
    let other = try Agent(uid: Agent.otherUser)
    func takeOther(_ name: String) throws(Errno) {
      try other.call("setxattr", path, "holdfast.seal.\(name)", "range=0+4K", 0)
    }
    try takeOther("a")
    try takeOther("b")
    #expect(throws: Errno(EDQUOT), "five of all together, root's not counted") { try takeOther("c") }
    let administrator = try path.open()
    try administrator.revokeAll()
    administrator.close()
    other.kill()
    volume.finish()
  }

  @Test("The mount's grace is the most that others than administrators may ask for; a day the most of all")
  func longestGrace() throws {
    let path = try file()
    try path.changeOwner(Agent.user, Agent.user)
    let user = try Agent(uid: Agent.user)
    try user.call("setxattr", path, "holdfast.seal", "breakable=30", 0)
    #expect(throws: Errno(EPERM)) { try user.call("setxattr", path, "holdfast.seal.x", "breakable=31", 0) }
    #expect(throws: Errno(ERANGE)) { try path.seal("breakable=86401", name: "y") }
    let handle = try path.open()
    defer { handle.close() }
    #expect(throws: Errno(EINVAL)) { try handle.sealBreakable(graceSeconds: 86_401) }
    try handle.sealBreakable(graceSeconds: 86_400)
    #expect(try path.sealCount() == 2)
  }
}
