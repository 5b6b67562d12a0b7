/// Rows 20 and 22–26 of the truth table: taking, counting and releasing requests. Row 21 (a recall in flight) needs
/// breakable requests, which are refused until recall exists; that they are is tested here.

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
      try path.seal(name: "other")
      #expect(try path.sealCount() == 2)
      #expect(try path.holders().count == 2)
      if isOtherFirst { try path.unseal(name: "other") } else { try subject.release() }
      #expect(try path.sealCount() == 1)
      #expect(try path.isMapImmutable())
      #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
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

  /// Layouts come later; asking for one is a clear error and takes nothing.
  @Test("Layouts: EOPNOTSUPP, nothing taken")
  func layouts() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(20_000))
    let before = try path.extents()
    let file = try path.open(O_RDWR)
    defer { file.close() }
    var layout = holdfast_layout()
    layout.version = UInt32(HOLDFAST_ABI_VERSION)
    #expect(throws: Errno(EOPNOTSUPP)) { try file.control(UInt(holdfast_ioc_layout_get), &layout) }
    #expect(throws: Errno(EOPNOTSUPP)) { try file.control(UInt(holdfast_ioc_layout_return), &layout) }
    #expect(try path.sealCount() == 0)
    #expect(try path.extents() == before)
    try path.truncate(0)
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
    if sealing != .handle { #expect(throws: Errno(ENODATA)) { try path.unseal(name: "row") } }
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
    let name = sealing == .handle ? "" : "row"
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

  @Test("Row 26: the holder's own conflicting operation", arguments: Sealing.sealed)
  func row26(_ sealing: Sealing) throws {
    let folder = try sharedVolume().freshFolder()
    let subject = try Subject(in: folder, sealing)
    defer { try? subject.release() }
    let before = try subject.state()
    // The sealing handle itself where there is one; this process is the pid= holder.
    let file = try subject.holder ?? subject.path.open(O_RDWR)
    #expect(throws: Errno(ETXTBSY)) { try file.truncate(0) }
    #expect(throws: Errno(ETXTBSY)) { try file.write([1], at: before.size) }
    #expect(throws: Errno(ETXTBSY)) { try file.allocate(at: 0, 1 << 20) }
    #expect(throws: Errno(ETXTBSY)) { try file.allocate(hmt_punch_hole | hmt_keep_size, at: 0, 4096) }
    #expect(try subject.state() == before)
    if subject.holder == nil { file.close() }
  }
}
