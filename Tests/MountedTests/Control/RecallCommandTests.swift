/// The command where somebody waits for a holder: hold --breakable, unseal, why, seals, revoke, and pins.

import CMountedSupport
import Glibc
import Testing

@Suite("Control: the command and recalls", .needsMount, .mounted(), .deadline())
struct RecallCommandTests {
  /// A request as `seals --json` has it: decoding proves every member there and of its kind.
  private struct Request: Decodable {
    var inode: UInt64
    var kind: String
    var range: Holder.Range?
    var name: String
    var pid: Int32
    var uid: UInt32
    var command: String
    var ageMs: UInt64
    var generation: UInt64
    var lifetime: String
    var handleBound: Bool
    var ttlMs: UInt64?
    var recallMs: UInt64?
    var specification: String
  }
  private struct Listing: Decodable { var requests: [Request] }

  /// Long enough that no test meets its end.
  private static let grace = 3600

  private func file(_ name: String = "file") throws -> Path {
    let path = try sharedVolume().freshFolder() / name
    try path.create(pattern(100_000))
    return path
  }

  private func listed(_ path: Path) throws -> [Request] {
    let result = try holdfast("seals", path.text, "--json")
    #expect(result.status == 0, "\(result.errors)")
    return try decoded(Array(result.output.utf8), as: Listing.self).requests
  }

  /// truncate(2) in a process of its own.
  private func truncating(_ path: Path) throws -> Child {
    try Child(["perl", "-e", "truncate($ARGV[0], 0) or exit 1", path.text])
  }

  /// The same, known to have asked the holders, who do not hear of it.
  private func waitingTruncate(_ path: Path) throws -> Child {
    let child = try truncating(path)
    #expect(try eventually(within: 20) { try listed(path).contains { $0.recallMs != nil } })
    return child
  }

  private func hold(_ arguments: String...) throws -> Child {
    try Child([TestEnvironment.holdfast, "hold"] + arguments)
  }

  @Test func unsealWhileAnOperationWaits() throws {
    let path = try file()
    #expect(try holdfast("seal", "--breakable", "--grace", "\(Self.grace)", "--name", "b", path.text).status == 0)
    let breaker = try waitingTruncate(path)
    // Nobody may seal it now, and is told so.
    let second = try holdfast("seal", path.text)
    #expect(second.status == 1 && second.errors.contains("asked to let go"), "\(second.errors)")
    #expect(try path.size() == 100_000)
    #expect(try holdfast("unseal", path.text, "--name", "b").status == 0)
    #expect(breaker.wait(seconds: 30) == 0)
    #expect(try path.size() == 0)
  }

  /// As the owner of a file that nobody may write, or nobody may read.
  @Test(arguments: [0o444, 0o222] as [mode_t])
  func unsealOfWhatMayNotBeOpenedForAll(_ mode: mode_t) throws {
    let path = try file()
    try path.changeOwner(Agent.user, Agent.user)
    try path.changeMode(mode)
    // Where another user can run it.
    let program = try sharedVolume().folder + "/holdfast-\(mode)"
    try run(["cp", TestEnvironment.holdfast, program])
    let user = ["setpriv", "--reuid", "\(Agent.user)", "--regid", "\(Agent.user)", "--clear-groups", program]
    // As long as the mount's grace: more is an administrator's to ask for.
    let sealed = try run(user + ["seal", "--breakable", path.text])
    #expect(sealed.status == 0, "\(sealed.errors)")
    let breaker = try waitingTruncate(path)
    let other = try holdfast("unseal", path.text)
    #expect(other.status == 1, "another user's default request is not root's")
    let unsealed = try run(user + ["unseal", path.text])
    #expect(unsealed.status == 0, "\(unsealed.errors)")
    #expect(breaker.wait(seconds: 30) == 0)
    #expect(try path.size() == 0)
  }

  @Test func holdGivesWay() throws {
    let (path, other) = (try file(), try file())
    let held = try hold(
      "--breakable", "--grace", "\(Self.grace)", other.text, path.text, "--", "sleep", "\(Self.grace)")
    #expect(try eventually(within: 20) { try path.sealCount() == 1 && other.sealCount() == 1 })
    let breaker = try truncating(path)
    let result = held.finish(seconds: 30)
    #expect(result.status == 128 + SIGTERM, "\(result.errors)")
    #expect(result.errors.contains("holdfast: \(path): asked to let go within") && result.errors.contains("SIGTERM"))
    #expect(!result.errors.contains(other.text))
    #expect(breaker.wait(seconds: 30) == 0)
    #expect(try path.size() == 0 && other.size() == 100_000)
  }

  @Test func holdTellsItsCommandAsItWasTold() throws {
    let path = try file()
    let mark = Path(path.text + "-mark")
    let script = "trap 'exit 9' USR1; : > \(mark); while :; do sleep 0.05; done"
    let held = try hold(
      "--breakable", "--grace", "\(Self.grace)", "--on-recall", "USR1", path.text, "--", "sh", "-c", script)
    // Its trap is set before the signal comes.
    #expect(eventually(within: 20) { mark.exists })
    let breaker = try truncating(path)
    let result = held.finish(seconds: 30)
    #expect(result.status == 9, "\(result.errors)")
    #expect(result.errors.contains("SIGUSR1"))
    #expect(breaker.wait(seconds: 30) == 0)
  }

  @Test func holdWhoseCommandStays() throws {
    let path = try file()
    let mark = Path(path.text + "-mark")
    let script = "while [ ! -e \(mark) ]; do sleep 0.05; done; exit 5"
    let held = try hold("--breakable", "--grace", "1", "--on-recall", "none", path.text, "--", "sh", "-c", script)
    #expect(try eventually(within: 20) { try path.sealCount() == 1 })
    // Fenced in the end, while COMMAND runs on.
    #expect(try truncating(path).wait(seconds: 30) == 0)
    #expect(try path.size() == 0 && path.sealCount() == 0)
    #expect(held.wait(seconds: 0.2) == nil)
    try mark.create()
    let result = held.finish(seconds: 30)
    #expect(result.status == 124, "\(result.errors)")
    #expect(result.errors.contains("asked to let go") && result.errors.contains("taken away"), "\(result.errors)")
  }

  /// COMMAND has the handle too: it polls it or not, and releases by an ioctl of its own. Then hold goes on.
  @Test func holdWhoseCommandLetsGoItself() throws {
    let path = try file()
    let mark = Path(path.text + "-mark")
    // Which number the descriptor has is not promised: what is none of ours answers with an error.
    let releases = "for fd in 3 4 5 6 7 8 9; do echo \"unseal $fd 0 ''\"; done"
    let script = "(while [ ! -e \(mark) ]; do sleep 0.05; done; \(releases)) | \(TestEnvironment.agent)"
    let held = try hold(
      "--breakable", "--grace", "\(Self.grace)", "--on-recall", "none", path.text, "--", "sh", "-c", script)
    #expect(try eventually(within: 20) { try path.sealCount() == 1 })
    let breaker = try waitingTruncate(path)
    try mark.create()
    #expect(breaker.wait(seconds: 30) == 0)
    let result = held.finish(seconds: 30)
    #expect(result.status == 0 && result.errors.contains("asked to let go"), "\(result.errors)")
    #expect(!result.errors.contains("taken away"), "\(result.errors)")
  }

  /// A hard seal, too, may be taken away: COMMAND is told.
  @Test func holdWhoseCommandIsRevoked() throws {
    let path = try file()
    let held = try hold(path.text, "--", "sleep", "\(Self.grace)")
    #expect(try eventually(within: 20) { try path.sealCount() == 1 })
    let revoked = try holdfast("revoke", path.text)
    #expect(revoked.output == "1 request revoked\n", "\(revoked.errors)")
    let result = held.finish(seconds: 30)
    #expect(result.status == 124, "\(result.errors)")
    #expect(result.errors.contains("its seal was taken away") && result.errors.contains("SIGTERM"))
  }

  @Test func pins() throws {
    let path = try file()
    let held = try hold("--range", "4K+4K", path.text, "--", "sleep", "\(Self.grace)")
    #expect(try eventually(within: 20) { try path.sealCount() == 1 })
    #expect(try holdfast("seal", path.text, "--range", "16K+5000", "--name", "p").status == 0)
    #expect(try path.holders().map(\.range) == [.init(offset: 4096, length: 4096), .init(offset: 16384, length: 8192)])
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(20_000) }
    try path.truncate(50_000)
    try path.truncate(60_000)
    let why = try holdfast("why", path.text)
    #expect(why.output.contains("refused to less than 24576 bytes"), "\(why.output)")
    #expect(why.output.contains("in bytes 4096 to 8191 and 16384 to 24575"), "\(why.output)")
    #expect(why.output.contains("last refused: truncating by process \(getpid()), uid 0"), "\(why.output)")
    // The named one by name, the held one with its handle.
    #expect(try holdfast("unseal", path.text, "--name", "p").status == 0)
    held.signal(SIGTERM)
    #expect(held.wait(seconds: 30) == 128 + SIGTERM)
    #expect(try eventually { try path.sealCount() == 0 })
    try path.truncate(0)
  }

  @Test func whyDuringARecall() throws {
    let path = try file()
    #expect(try holdfast("seal", "--breakable", "--grace", "\(Self.grace)", path.text).status == 0)
    let before = try holdfast("why", path.text)
    #expect(before.output.contains("waits up to 60 min for (1), then fences it"), "\(before.output)")
    let breaker = try waitingTruncate(path)
    // It answers, though fsync(2) of this file would wait.
    let during = try holdfast("why", path.text)
    #expect(during.status == 0 && during.output.contains("; recalled, "), "\(during.output)")
    #expect(during.output.contains("a recall is under way"), "\(during.output)")
    let table = try holdfast("seals", path.text)
    #expect(table.output.contains("recalled, ") && table.output.contains("breakable"), "\(table.output)")
    #expect(try holdfast("unseal", path.text).status == 0)
    #expect(breaker.wait(seconds: 30) == 0)
    let after = try holdfast("why", path.text)
    #expect(after.output.hasPrefix("\(path): not sealed\n"), "\(after.output)")
  }

  @Test func listingMembers() throws {
    let path = try file()
    let process = try Child(["sleep", "\(Self.grace)"])
    #expect(
      try holdfast(
        "seal", path.text, "--breakable", "--grace", "7", "--pid", "\(process.pid)", "--signal", "usr1", "--range",
        "0+1", "--ttl", "500", "--name", "all"
      ).status == 0)
    #expect(try holdfast("seal", path.text, "--persistent", "--as-is", "--name", "kept").status == 0)
    let requests = try listed(path)
    let first = try #require(requests.first { $0.name == "all" })
    #expect(first.kind == "breakable" && first.range == .init(offset: 0, length: 4096) && first.lifetime == "process")
    #expect(first.inode == (try path.inode()) && first.uid == 0 && !first.handleBound && first.recallMs == nil)
    #expect((1...500_000).contains(first.ttlMs ?? 0))
    #expect(first.specification == "breakable=7,pid=\(process.pid),signal=10,ttl=500,range=0+1")
    let second = try #require(requests.first { $0.name == "kept" })
    #expect(second.kind == "hard" && second.range == nil && second.ttlMs == nil && second.lifetime == "persistent")
    #expect(try holdfast("revoke", path.text).output == "2 requests revoked\n")
  }

  /// `seal --pid --signal`: who holds hears of it without polling anything.
  @Test func aProcessIsSignalled() throws {
    let path = try file()
    let process = try Child(["sleep", "\(Self.grace)"])
    #expect(
      try holdfast(
        "seal", path.text, "--breakable", "--grace", "\(Self.grace)", "--pid", "\(process.pid)", "--signal", "SIGUSR2"
      ).status == 0)
    #expect(try truncating(path).wait(seconds: 30) == 0)
    #expect(process.wait(seconds: 30) == 128 + SIGUSR2)
    #expect(try path.size() == 0)
  }

  @Test func revokeOfPinsAndUnlinkedFiles() throws {
    let path = try file()
    let handle = try path.open()
    defer { handle.close() }
    let inode = try path.inode()
    #expect(try holdfast("seal", path.text, "--range", "0+4K", "--name", "pin").status == 0)
    #expect(try holdfast("seal", path.text, "--breakable", "--name", "soft").status == 0)
    try handle.seal()
    #expect(try holdfast("revoke", path.text, "--name", "pin").output == "1 request revoked\n")
    try path.unlink()
    let all = try holdfast("seals", sharedVolume().mountPoint, "--json")
    #expect(try decoded(Array(all.output.utf8), as: Listing.self).requests.contains { $0.inode == inode })
    let revoked = try holdfast("revoke", sharedVolume().mountPoint, "--inode", "\(inode)")
    // The breakable one may have gone by itself: unlink asks for it.
    #expect(["1 request revoked\n", "2 requests revoked\n"].contains(revoked.output), "\(revoked.output)")
    #expect(throws: Errno(ESTALE)) { try handle.seal(name: "again") }
    let left = try holdfast("seals", sharedVolume().mountPoint, "--json")
    #expect(try !decoded(Array(left.output.utf8), as: Listing.self).requests.contains { $0.inode == inode })
  }

  /// A program's name is its own choice; a terminal must not obey it.
  @Test func controlBytesAreEscaped() throws {
    let path = try file()
    let program = try sharedVolume().folder + "/a\u{1b}[31m\nb"
    #expect(symlink(TestEnvironment.holdfast, program) == 0)
    let held = try Child([program, "hold", path.text, "--", "sleep", "\(Self.grace)"])
    #expect(try eventually(within: 20) { try path.sealCount() == 1 })
    for words in [["seals", path.text], ["why", path.text], ["seals", try sharedVolume().mountPoint]] {
      let result = try run([TestEnvironment.holdfast] + words)
      #expect(result.output.contains(#"(a\x1b[31m\x0ab)"#), "\(words): \(result.output)")
      #expect(!result.output.utf8.contains(0x1b))
    }
    held.signal(SIGTERM)
    #expect(held.wait(seconds: 30) == 128 + SIGTERM)
  }

  @Test func thePictureMarksPins() throws {
    let path = try file("picture")
    #expect(try holdfast("seal", path.text, "--range", "0+4K", "--name", "pin").status == 0)
    #expect(try holdfast("seal", path.text, "--range", "8K+4K", "--breakable", "--name", "soft").status == 0)
    let picture = try holdfast("map", sharedVolume().mountPoint, "--svg", "-").output
    #expect(picture.contains("/picture (sealed)</title>") && picture.contains("/picture (breakable)</title>"))
  }
}

@Suite("Control: why, of a volume that stopped", .needsMount, .deadline())
struct StoppedWhyTests {
  @Test(arguments: [("remount-ro", "became read-only after an error"), ("shutdown", "was shut down after an error")])
  func isSaidFirst(_ action: String, _ words: String) throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    let faults = try Faults(volume)
    try volume.mount("commit=3600,errors=\(action)", faults: faults)
    let path = volume.root / "file"
    try path.create(pattern(10_000))
    try volume.sync()
    try path.seal()
    faults.fail(.sync, times: 1)
    try? (volume.root / "other").create(pattern(10))
    #expect(try holdfast("sync", volume.mountPoint).status == 1)
    let why = try holdfast("why", path.text)
    #expect(why.status == 0, "\(why.errors)")
    let first = try #require(why.output.split(separator: "\n").first)
    #expect(first.contains(words), "\(why.output)")
    _ = try volume.tryUnmount()
  }
}
