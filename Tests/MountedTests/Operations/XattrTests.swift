/// Extended attributes as stored: namespaces, sizes, flags, lists.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: extended attributes", .needsMount, .mounted(), .deadline())
struct XattrTests {
  private static let create = Int32(XATTR_CREATE)
  private static let replace = Int32(XATTR_REPLACE)

  private func file() throws -> Path {
    let path = try sharedVolume().freshFolder(mode: 0o777) / "file"
    try path.create(pattern(100))
    return path
  }

  @Test(arguments: [0, 1, 100, 1023, 1024, 1025, 4096, 10_000, 65_535, 65_536])
  func sizes(_ count: Int) throws {
    let path = try file()
    let value = pattern(count, seed: 3)
    try path.setAttribute("user.value", value)
    #expect(try path.attribute("user.value") == value)
    #expect(try path.attributeSize("user.value") == count)
    if count > 1 {
      var small = [UInt8](repeating: 0, count: count - 1)
      #expect(throws: Errno(ERANGE)) { try check(lgetxattr(path.bytes, "user.value", &small, small.count)) }
    }
    // Shorter, longer, gone.
    try path.setAttribute("user.value", pattern(5))
    #expect(try path.attribute("user.value") == pattern(5))
    try path.setAttribute("user.value", value)
    #expect(try path.attribute("user.value") == value)
    try path.removeAttribute("user.value")
    #expect(throws: Errno(ENODATA)) { try path.attribute("user.value") }
    #expect(try path.attributeNames().isEmpty)
  }

  @Test func tooLargeIsRefused() throws {
    let path = try file()
    #expect(throws: Errno(E2BIG)) { try path.setAttribute("user.value", zeros(65_537)) }
    let longest = "user." + String(repeating: "n", count: 250)
    try path.setAttribute(longest, "x")
    #expect(try path.attributeText(longest) == "x")
    #expect(throws: Errno(ERANGE)) { try path.setAttribute(longest + "n", "x") }
    #expect(throws: Errno(ERANGE)) { try path.setAttribute("", "x") }
    #expect(try path.attributeNames() == [longest])
  }

  @Test func createAndReplace() throws {
    let path = try file()
    #expect(throws: Errno(ENODATA)) { try path.setAttribute("user.a", "1", Self.replace) }
    try path.setAttribute("user.a", "1", Self.create)
    #expect(throws: Errno(EEXIST)) { try path.setAttribute("user.a", "2", Self.create) }
    #expect(try path.attributeText("user.a") == "1")
    try path.setAttribute("user.a", "3", Self.replace)
    #expect(try path.attributeText("user.a") == "3")
    #expect(throws: Errno(ENODATA)) { try path.removeAttribute("user.b") }
  }

  @Test func manyAttributesAreListed() throws {
    let path = try file()
    var names = Set<String>()
    for index in 0..<500 {
      let name = "user.attribute-\(index)"
      try path.setAttribute(name, pattern(index))
      names.insert(name)
    }
    #expect(Set(try path.attributeNames()) == names)
    for index in [0, 77, 499] { #expect(try path.attribute("user.attribute-\(index)") == pattern(index)) }
    for name in names { try path.removeAttribute(name) }
    #expect(try path.attributeNames().isEmpty)
  }

  @Test func moreNamesThanAListHolds() throws {
    let path = try file()
    var count = 0
    do {
      while count < 1000 {
        try path.setAttribute("user." + String(repeating: "n", count: 240) + "-\(1000 + count)", "x")
        count += 1
      }
      Issue.record("a list of names grew beyond 64 KiB")
    } catch {
      #expect(error == Errno(ENOSPC))
    }
    #expect(try path.attributeNames().count == count)
    #expect(count > 200)
  }

  @Test func namespaces() throws {
    let path = try file()
    try path.changeMode(0o666)
    for name in ["user.a", "trusted.b", "security.c"] {
      try path.setAttribute(name, "v")
      #expect(try path.attributeText(name) == "v")
    }
    #expect(Set(try path.attributeNames()) == ["user.a", "trusted.b", "security.c"])
    let agent = try Agent(uid: Agent.user)
    #expect(try agent.request(["getxattr", path.text, "user.a"]).text == "v")
    try agent.call("setxattr", path, "user.theirs", "w", 0)
    for name in ["trusted.b", "security.c"] {
      #expect(throws: Errno(EPERM)) { try agent.call("setxattr", path, name, "w", 0) }
    }
    // user.* is for files and directories only.
    let fifo = try sharedVolume().freshFolder() / "fifo"
    try fifo.makeNode(S_IFIFO | 0o600)
    #expect(throws: Errno(EPERM)) { try fifo.setAttribute("user.a", "v") }
    try fifo.setAttribute("trusted.a", "v")
    #expect(try fifo.attributeText("trusted.a") == "v")
  }

  @Test func directoriesAndSymlinks() throws {
    let folder = try sharedVolume().freshFolder()
    try folder.setAttribute("user.a", pattern(2000))
    #expect(try folder.attribute("user.a") == pattern(2000))
    let link = folder / "link"
    try link.makeSymlink(to: "nowhere")
    try link.setAttribute("trusted.a", "of the link")
    #expect(try link.attributeText("trusted.a") == "of the link")
  }

  @Test func theListHidesSeals() throws {
    let path = try file()
    try path.setAttribute("user.a", "v")
    try path.seal()
    try path.seal(name: "second")
    #expect(try path.attributeNames() == ["user.a"])
    #expect(try sharedVolume().root.attributeNames().allSatisfy { !$0.hasPrefix("holdfast.") })
    let dump = try run(["getfattr", "-d", "-m", "-", path.text])
    #expect(dump.status == 0 && !dump.output.contains("holdfast.seal"))
    try path.unseal()
    try path.unseal(name: "second")
  }

  @Test func attributesSurviveARemount() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create()
    try path.setAttribute("user.large", pattern(65_536))
    try path.setAttribute("user.empty", "")
    try path.setAttribute("security.capability", capability)
    try volume.remount()
    #expect(try path.attribute("user.large") == pattern(65_536))
    #expect(try path.attribute("user.empty").isEmpty)
    #expect(try path.attribute("security.capability") == capability)
    // A write takes a file's capability away.
    let handle = try path.open(O_WRONLY)
    try handle.write([1], at: 0)
    handle.close()
    #expect(throws: Errno(ENODATA)) { try path.attribute("security.capability") }
    volume.finish()
  }

  /// `struct vfs_cap_data` of revision 2: cap_net_raw, effective and permitted.
  private var capability: [UInt8] { [1, 0, 0, 2, 0, 0x20, 0, 0] + zeros(12) }
}
