/// Rows 20 and 24–26 of the truth table: taking, counting and releasing requests. Row 21 (a recall in flight) is in
/// every cell of the column "breakable" (`expectCell`), and in RecallTests.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: requests", .needsMount, .mounted(), .deadline())
struct RequestRows {
  @Test("Row 20: another holder's request counts, and the map stays until both are gone", arguments: Sealing.sealed)
  func row20(_ sealing: Sealing) throws {
    for isOtherFirst in [true, false] {
      let folder = try sharedVolume().freshFolder()
      let subject = try Subject(in: folder, sealing)
      let path = subject.path
      let extents = try path.extents()
      let breaker = try path.open(O_RDWR | O_NONBLOCK)
      defer { breaker.close() }
      try path.seal(name: "other")
      #expect(try path.sealCount() == 2)
      #expect(try path.holders().count == 2)
      // A hard request in the way refuses at once and recalls nobody.
      #expect(throws: Errno(ETXTBSY)) { try breaker.truncate(0) }
      #expect(try !subject.isRecalled())
      if isOtherFirst { try path.unseal(name: "other") } else { try subject.release() }
      #expect(try path.sealCount() == 1)
      #expect(try path.isMapImmutable() == (sealing.isWhole || !isOtherFirst))
      #expect(throws: isOtherFirst ? sealing.refusal! : Errno(ETXTBSY)) { try breaker.truncate(0) }
      if isOtherFirst { try subject.release() } else { try path.unseal(name: "other") }
      #expect(try path.sealCount() == 0)
      #expect(try path.extents() == extents)
      try path.truncate(0)
    }
  }

  @Test("Row 20: each handle counts for itself")
  func row20Handles() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(100))
    var handles: [File] = []
    defer { for handle in handles { handle.close() } }
    for count in 1...5 {
      let handle = try path.open()
      let state = try handle.seal()
      #expect(state.seal_count == UInt64(count))
      #expect(try path.generation() == state.generation)
      handles.append(handle)
    }
    // The same handle again replaces its request; another name is another request.
    #expect(try handles[0].seal().seal_count == 5)
    #expect(try handles[0].seal(name: "second").seal_count == 6)
    #expect(throws: Errno(EEXIST)) { try handles[0].seal(HOLDFAST_SEAL_CREATE) }
    #expect(try handles[0].unseal(name: "second").seal_count == 5)
    for (index, handle) in handles.enumerated() { #expect(try handle.unseal().seal_count == UInt64(4 - index)) }
    try path.truncate(0)
  }

  @Test("Rule 10: a request is (inode, uid, name); setting it again replaces it")
  func replacing() throws {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create(pattern(100), mode: 0o666)
    try path.changeOwner(Agent.user, Agent.user)
    try path.seal("1", name: "same")
    try path.seal("ttl=100", name: "same")
    #expect(try path.sealCount() == 1)
    #expect(throws: Errno(EEXIST)) { try path.seal("1", name: "same", Int32(XATTR_CREATE)) }
    #expect(throws: Errno(ENODATA)) { try path.seal("1", name: "none", Int32(XATTR_REPLACE)) }
    try path.seal("1", name: "same", Int32(XATTR_REPLACE))
    let owner = try Agent(uid: Agent.user)
    try owner.call("setxattr", path, "holdfast.seal.same", "1", XATTR_CREATE)
    #expect(try path.sealCount() == 2)
    #expect(Set(try path.holders().map(\.uid)) == [0, Agent.user])
    try owner.call("removexattr", path, "holdfast.seal.same")
    #expect(try path.sealCount() == 1)
    try path.unseal(name: "same")
    try path.truncate(0)
  }

  @Test("Pins: overlap counts, each range for itself; rounded outward to blocks")
  func pins() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(64 << 10))
    let holder = try path.open(O_RDWR)
    defer { holder.close() }
    func punch(_ block: Int) throws {
      let file = try path.open(O_WRONLY)
      defer { file.close() }
      try file.allocate(hmt_punch_hole | hmt_keep_size, at: block * 4096, 4096)
    }
    #expect(try holder.pin(5000, 1).seal_count == 1)
    #expect(try holder.pin(4096, 8192).seal_count == 2)
    #expect(try holder.pin(4096, 4096).seal_count == 2, "the same block and name again")
    #expect(throws: Errno(EEXIST)) { try holder.pin(8191, 1, HOLDFAST_SEAL_CREATE) }
    #expect(try path.holders().compactMap(\.range).map(\.length).sorted() == [4096, 8192])
    #expect(throws: Errno(ENODATA)) { try holder.unpin(8192, 4096) }
    #expect(throws: Errno(ETXTBSY)) { try punch(1) }
    #expect(throws: Errno(ETXTBSY)) { try punch(2) }
    try punch(3)
    #expect(try holder.unpin(4096, 8192).seal_count == 1)
    #expect(throws: Errno(ETXTBSY)) { try punch(1) }
    try punch(2)
    #expect(try holder.unpin(4096, 10).seal_count == 0)
    try punch(1)
    // A pin over what is no plain written block says so.
    var argument = holdfast_seal(flags: 0)
    argument.length = 20_000
    #expect(throws: Errno(EINVAL)) { try holder.control(UInt(holdfast_ioc_pin), &argument) }
    #expect(argument.defect == HOLDFAST_DEFECT_HOLE && argument.defect_offset == 4096)
    #expect(argument.defect_length == 3 * 4096 - 4096 + 4096)
    try holder.pin(0, 20_000, HOLDFAST_SEAL_FILL)
    #expect(try !path.extents().contains("unwritten"))
    #expect(try holder.unpin(0, 20_000).seal_count == 0)
  }

  /// Nothing behind the end can be made sealable: a refusal is whole.
  @Test("Pins: fill that reaches beyond the end is EINVAL, and fills nothing")
  func fillBeyondTheEnd() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create()
    try path.truncate(64 << 10)
    let holder = try path.open(O_RDWR)
    defer { holder.close() }
    #expect(throws: Errno(EINVAL)) { try holder.pin(0, 128 << 10, HOLDFAST_SEAL_FILL) }
    #expect(try path.extents().isEmpty && path.sealCount() == 0)
    try holder.pin(0, 64 << 10, HOLDFAST_SEAL_FILL)
  }

  @Test("Pins: what is malformed takes nothing")
  func malformedPins() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(64 << 10))
    let holder = try path.open(O_RDWR)
    defer { holder.close() }
    for (offset, length) in [(0, 0), (4096, 0), (0, Int.min), (Int.max, 1), (Int.min, 4096), (-1, 2)] {
      var argument = holdfast_seal(flags: 0)
      argument.offset = UInt64(bitPattern: Int64(offset))
      argument.length = UInt64(bitPattern: Int64(length))
      for request in [holdfast_ioc_pin, holdfast_ioc_unpin] {
        #expect(throws: Errno(EINVAL), "\(offset) \(length)") { try holder.control(UInt(request), &argument) }
      }
    }
    for words in ["range=0+0", "range=+1", "range=1+", "range=4096", "range=0+1+1", "range=-1+5", "range=0x0+1"] {
      #expect(throws: Errno(EINVAL), "\(words)") { try path.seal(words) }
    }
    #expect(throws: Errno(ERANGE)) { try path.seal("range=9223372036854775807+1") }
    #expect(try path.sealCount() == 0)
  }

  @Test("Pins: a named one is released by name, UNPIN wants its range")
  func namedPins() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(64 << 10))
    let file = try path.open()
    defer { file.close() }
    try path.seal("range=4K+1", name: "n")
    #expect(try path.attributeText("holdfast.seal.n") == "hard,range=4096+1")
    #expect(throws: Errno(ENODATA)) { try file.unpin(0, 4096, HOLDFAST_SEAL_NAMED, name: "n") }
    #expect(try file.unpin(4096, 4096, HOLDFAST_SEAL_NAMED, name: "n").seal_count == 0)
    #expect(try file.pin(0, 4096, HOLDFAST_SEAL_NAMED, name: "n").seal_count == 1)
    #expect(try file.pin(8192, 4096, HOLDFAST_SEAL_NAMED, name: "n").seal_count == 1, "one scope a name")
    try path.unseal(name: "n")
    #expect(try path.sealCount() == 0)
  }

  @Test("Row 24: release by the holder", arguments: Sealing.allCases)
  func row24(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let subject = try Subject(in: folder, sealing)
    let path = subject.path
    if !sealing.isSealed {
      let file = try path.open()
      defer { file.close() }
      #expect(throws: Errno(ENODATA)) { try path.unseal() }
      #expect(throws: Errno(ENODATA)) { try path.unseal(name: "row") }
      #expect(throws: Errno(ENODATA)) { try file.unseal() }
      #expect(throws: Errno(ENODATA)) { try file.unseal(HOLDFAST_SEAL_NAMED) }
      return
    }
    try path.seal(name: "rest")
    try subject.release()
    #expect(try path.sealCount() == 1)
    try path.unseal(name: "rest")
    #expect(try path.sealCount() == 0)
    // Twice is once too often.
    if sealing.lifetime != .handle { #expect(throws: Errno(ENODATA)) { try path.unseal(name: "row") } }
  }

  @Test("Row 25: release by somebody else", arguments: Sealing.allCases)
  func row25(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder(mode: 0o777)
    let subject = try Subject(in: folder, sealing)
    defer { try? subject.release() }
    let path = subject.path
    try path.changeMode(0o666)
    let stranger = try Agent(uid: Agent.user)
    let expected = Errno(sealing.isSealed ? EPERM : ENODATA)
    let name = sealing.lifetime == .handle ? "" : "row"
    let attribute = name.isEmpty ? "holdfast.seal" : "holdfast.seal.\(name)"
    #expect(throws: expected) { try stranger.call("removexattr", path, attribute) }
    let handle = try stranger.open(path)
    #expect(throws: expected) { try stranger.call("unseal", handle, HOLDFAST_SEAL_NAMED, name) }
    #expect(throws: expected) { try stranger.call("unseal", handle, 0, name) }
    // Another handle, root's own, is somebody else too.
    let other = try path.open()
    defer { other.close() }
    #expect(throws: expected) { try other.unseal(name: name) }
    #expect(try path.sealCount() == (sealing.isSealed ? 1 : 0))
  }

  @Test("Row 25: an administrator cannot release another's named request either")
  func row25Administrator() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(100), mode: 0o666)
    try path.changeOwner(Agent.user, Agent.user)
    let owner = try Agent(uid: Agent.user)
    try owner.call("setxattr", path, "holdfast.seal.theirs", "1", 0)
    #expect(throws: Errno(EPERM)) { try path.unseal(name: "theirs") }
    #expect(try path.sealCount() == 1)
    try owner.call("removexattr", path, "holdfast.seal.theirs")
  }

  /// Columns "hard seal" and "pin R". A named request is nobody's own.
  @Test("Row 26: the holder's own conflicting operation", arguments: Sealing.sealed.filter { $0.column != .breakable })
  func row26(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let subject = try Subject(in: folder, sealing)
    defer { try? subject.release() }
    let before = try subject.state()
    let file = try subject.holder ?? subject.path.open(O_RDWR)
    #expect(throws: Errno(ETXTBSY)) { try file.truncate(0) }
    #expect(throws: Errno(ETXTBSY)) { try file.allocate(hmt_punch_hole | hmt_keep_size, at: 4096, 4096) }
    if sealing.isWhole {
      #expect(throws: Errno(ETXTBSY)) { try file.write([1], at: before.size) }
      #expect(throws: Errno(ETXTBSY)) { try file.allocate(at: 0, 1 << 20) }
    }
    #expect(try subject.state() == before)
    if subject.holder == nil { file.close() }
  }

  /// Column "breakable": by the same handle, or for `pid=` by the same process, any of its threads; a named request is
  /// recalled like anybody's.
  @Test("Row 26: the holder's own operation ends its own lease", arguments: ["handle", "process", "thread", "named"])
  func row26Breakable(_ way: String) throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(20_000))
    let file = try path.open(O_RDWR | O_NONBLOCK)
    defer { file.close() }
    switch way {
    case "handle": try file.sealBreakable(graceSeconds: 60)
    case "named": try path.seal("breakable=60")
    default: try path.seal("breakable=60,pid=\(getpid())")
    }
    nonisolated(unsafe) let held = file
    switch way {
    case "named": #expect(throws: Errno(EAGAIN)) { try file.truncate(0) }
    case "thread": try Background { try held.truncate(0) }.finish()
    default: try file.truncate(0)
    }
    #expect(try path.sealCount() == (way == "named" ? 1 : 0))
    #expect(try path.size() == (way == "named" ? 20_000 : 0))
    if way == "handle" { #expect(throws: Errno(ENODATA)) { try file.unseal() } }
  }

  /// Its own goes only when the operation goes on: another's in the way is waited for first.
  @Test("Row 26: own and another's request in the way")
  func row26Both() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(20_000))
    let file = try path.open(O_RDWR | O_NONBLOCK)
    let other = try path.open()
    defer {
      file.close()
      other.close()
    }
    try file.sealBreakable(graceSeconds: 60)
    try other.sealBreakable(graceSeconds: 60)
    #expect(throws: Errno(EAGAIN)) { try file.truncate(0) }
    #expect(try other.recallMilliseconds() != nil)
    #expect(try file.recallMilliseconds() == nil)
    #expect(try path.sealCount() == 2)
    try other.unseal()
    try file.truncate(0)
    #expect(try path.sealCount() == 0)
  }
}
