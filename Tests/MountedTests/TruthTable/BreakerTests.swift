/// Who breaks a request: how operations wait, how the wait ends, and who does not wait at all (rules 7 and 11).

import CHoldfast
import CMountedSupport
import Glibc
import Testing

/// The operations that recall breakable requests, by every way to ask for them.
enum Breaking: String, CaseIterable, CustomTestStringConvertible {
  case truncate, ftruncate, openTruncating, append, directWrite, fallocate, punch, copy, prepare

  var testDescription: String { rawValue }

  /// On a file of `Breaking.size` bytes whose last block is a hole.
  static let size = 20 * 4096

  static func make(_ path: Path) throws {
    try path.create(pattern(size - 4096))
    try path.truncate(size)
  }

  func perform(on path: Path, _ flags: Int32 = 0) throws {
    switch self {
    case .truncate: return try path.truncate(100)
    case .openTruncating: return try path.open(O_WRONLY | O_TRUNC | flags).close()
    default: break
    }
    let direct = self == .directWrite ? hmt_o_direct : 0
    let file = try path.open(O_RDWR | flags | direct | (self == .append ? O_APPEND : 0))
    defer { file.close() }
    switch self {
    case .truncate, .openTruncating: break
    case .ftruncate: try file.truncate(100)
    case .append: try file.write(pattern(5000))
    case .directWrite: try file.writeDirectly(pattern(8192), at: Self.size)
    case .fallocate: try file.allocate(at: 0, 1 << 20)
    case .punch: try file.allocate(hmt_punch_hole | hmt_keep_size, at: 4096, 4096)
    case .copy: try file.copyRange(at: 0, 4096, to: file, at: Self.size)
    case .prepare: try file.prepare()
    }
  }
}

@Suite("Breakers", .needsMount, .mounted(), .deadline())
struct BreakerTests {
  /// A file whose holder does not let go.
  private func heldFile(graceSeconds: Int = 300) throws -> (path: Path, holder: File) {
    let path = try sharedVolume().freshFolder() / "file"
    try Breaking.make(path)
    let holder = try path.open(O_RDONLY | O_NONBLOCK)
    try holder.sealBreakable(graceSeconds: graceSeconds, HOLDFAST_SEAL_AS_IS)
    return (path, holder)
  }

  private func waitUntilRecalled(_ holder: File, sourceLocation: SourceLocation = #_sourceLocation) throws {
    #expect(try holder.poll(Int16(POLLPRI)) == Int16(POLLPRI), sourceLocation: sourceLocation)
  }

  @Test("A signal ends the wait with EINTR; the recall goes on (rule 11)", arguments: Breaking.allCases)
  func interrupted(_ breaking: Breaking) throws {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    sigaction(SIGUSR2, &action, nil)
    let (path, holder) = try heldFile()
    defer { holder.close() }
    let before = try path.generation()
    let waiting = Background { try breaking.perform(on: path) }
    try waitUntilRecalled(holder)
    #expect(!waiting.isDone)
    // It may be on its way into the wait yet.
    while !waiting.isDone {
      waiting.interrupt(SIGUSR2)
      usleep(5000)
    }
    #expect(throws: Errno(EINTR)) { try waiting.finish() }
    #expect(try holder.recallMilliseconds() != nil)
    #expect(try path.generation() == before && path.size() == Breaking.size)
    try holder.unseal()
    try breaking.perform(on: path)
    #expect(try path.generation() > before)
  }

  @Test("A waiting process can be killed; the recall goes on (rule 11)", arguments: ["truncate", "ftruncate", "write"])
  func killed(_ operation: String) throws {
    let (path, holder) = try heldFile()
    defer { holder.close() }
    let breaker = try Agent()
    switch operation {
    case "truncate": try breaker.begin(["truncate", path.text, "5"])
    case "ftruncate": try breaker.begin(["ftruncate", "\(try breaker.open(path, O_RDWR))", "5"])
    default: try breaker.begin(["write", "\(try breaker.open(path, O_RDWR))", "\(Breaking.size)", "5000", "7"])
    }
    try waitUntilRecalled(holder)
    breaker.kill()
    #expect(kill(breaker.pid, 0) != 0, "a killed breaker stays")
    #expect(try holder.recallMilliseconds() != nil)
    #expect(try path.size() == Breaking.size)
    try holder.unseal()
    #expect(try path.sealCount() == 0)
  }

  @Test("O_NONBLOCK: EAGAIN, after the recall has begun", arguments: Breaking.allCases.filter { $0 != .truncate })
  func nonBlocking(_ breaking: Breaking) throws {
    let (path, holder) = try heldFile()
    defer { holder.close() }
    let before = try path.generation()
    #expect(try holder.recallMilliseconds() == nil)
    #expect(throws: Errno(EAGAIN)) { try breaking.perform(on: path, O_NONBLOCK) }
    #expect(try holder.recallMilliseconds() != nil)
    #expect(throws: Errno(EAGAIN)) { try breaking.perform(on: path, O_NONBLOCK) }
    #expect(try path.generation() == before && path.size() == Breaking.size)
    try holder.unseal()
    try breaking.perform(on: path, O_NONBLOCK)
  }

  @Test("O_NONBLOCK: a write by the handle's flags of now, ftruncate by those it was opened with")
  func currentFlags() throws {
    let (path, holder) = try heldFile()
    let file = try path.open(O_RDWR | O_APPEND)
    defer {
      holder.close()
      file.close()
    }
    try check(fcntl(file.descriptor, F_SETFL, O_APPEND | O_NONBLOCK))
    #expect(throws: Errno(EAGAIN)) { try file.write([1]) }
    nonisolated(unsafe) let held = file
    let waiting = Background { try held.truncate(1) }
    let volume = try sharedVolume()
    #expect(try eventually { try volume.statistics().waitingOperations == 1 })
    #expect(!waiting.isDone)
    try holder.unseal()
    try waiting.finish()
    #expect(try path.size() == 1)
  }

  @Test("Filling for a request meets others: EAGAIN, after the recall has begun")
  func filling() throws {
    let (path, holder) = try heldFile()
    defer { holder.close() }
    let other = try path.open(O_RDWR)
    defer { other.close() }
    #expect(throws: Errno(EAGAIN)) { try other.seal(HOLDFAST_SEAL_FILL) }
    #expect(try holder.recallMilliseconds() != nil)
    // The kernel's setxattr(2) makes EOPNOTSUPP of every filesystem's EAGAIN.
    #expect(throws: Errno(EOPNOTSUPP)) { try path.seal("fill") }
    try holder.unseal()
    try path.seal("fill")
    try path.unseal()
  }

  @Test("A hundred wait; others go on, the release among them; all are answered")
  func manyWait() throws {
    let (path, holder) = try heldFile()
    defer { holder.close() }
    let volume = try sharedVolume()
    // By ioctl: of most others the kernel lets one at a time through to an inode.
    let others = (0..<100).map { _ in
      Background {
        let file = try path.open(O_RDWR)
        defer { file.close() }
        try file.prepare()
      }
    }
    let areWaiting = try eventually { try volume.statistics().waitingOperations == 100 }
    #expect(areWaiting, "not all wait")
    #expect(try volume.daemonThreads() < 40, "they cost threads")
    let elsewhere = try volume.freshFolder() / "elsewhere"
    try elsewhere.create(pattern(100_000))
    #expect(try elsewhere.contents() == pattern(100_000))
    #expect(try holder.read(4096, at: 0) == pattern(4096))
    #expect(others.allSatisfy { !$0.isDone })
    try holder.unseal()
    for other in others { try other.finish() }
    #expect(try Extents(path.extents()).blocks(in: 0..<Breaking.size).count == Breaking.size / 4096)
    #expect(try volume.statistics().waitingOperations == 0)
    // Every turn is over: whoever comes now is not told of a recall.
    try holder.seal(HOLDFAST_SEAL_AS_IS)
  }

  @Test("Several holders: the last one to let go decides, and only those in the way are asked")
  func severalHolders() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create()
    let owner = try path.open(O_RDWR)
    defer { owner.close() }
    try owner.allocate(at: 0, 64 << 10)
    var pins: [File] = []
    defer { for pin in pins { pin.close() } }
    // Blocks 0–1, 1–2, 2–3 and so on.
    for number in 0..<5 {
      let file = try path.open(O_RDWR)
      var argument = holdfast_seal(flags: HOLDFAST_SEAL_BREAKABLE | HOLDFAST_SEAL_AS_IS)
      argument.offset = UInt64(number * 4096)
      argument.length = 8192
      argument.grace_seconds = 300
      try file.control(UInt(holdfast_ioc_pin), &argument)
      pins.append(file)
    }
    func isAsked(_ number: Int) throws -> Bool { try pins[number].recallMilliseconds() != nil }
    // Writes zeros to unwritten blocks; by ioctl, for the kernel lets one fallocate(2) at a time through to an inode.
    func prepare(_ block: Int) -> Background {
      Background {
        let file = try path.open(O_RDWR)
        defer { file.close() }
        try file.prepare(block * 4096, 4096)
      }
    }
    let first = prepare(1)
    try waitUntilRecalled(pins[1])
    #expect(try isAsked(0) && isAsked(1) && !isAsked(2) && !isAsked(4))
    let second = prepare(2)
    try waitUntilRecalled(pins[2])
    #expect(try !isAsked(3))
    try pins[1].unpin(4096, 8192)
    #expect(!first.isDone && !second.isDone)
    try pins[2].unpin(8192, 8192)
    try second.finish()
    #expect(!first.isDone)
    pins[0].close()
    try first.finish()
    #expect(try path.sealCount() == 2)
  }

  @Test("Unmounting while somebody waits: busy; by force or by the daemon's end the wait ends too")
  func unmounting() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    for signal in [SIGTERM, SIGKILL] {
      try volume.mount()
      let path = volume.root / "file"
      try Breaking.make(path)
      let holder = try path.open(O_RDONLY | O_NONBLOCK)
      try holder.sealBreakable(graceSeconds: 300, HOLDFAST_SEAL_AS_IS)
      let waiting = Background { try path.truncate(5) }
      try waitUntilRecalled(holder)
      #expect(try volume.tryUnmount().errors.contains("busy"))
      kill(volume.daemon, signal)
      #expect(throws: Errno(signal == SIGTERM ? EINTR : ECONNABORTED)) { try waiting.finish() }
      holder.close()
      let daemon = volume.daemon
      #expect(eventually(within: 20) { kill(daemon, 0) != 0 }, "the daemon does not end")
      volume.ended()
      #expect(try volume.fsck().status == 0)
    }
    try volume.mount()
    #expect(try (volume.root / "file").size() == Breaking.size)
    volume.finish()
  }
}
