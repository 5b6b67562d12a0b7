/// The attributes `holdfast.*`: get, set, remove; what is malformed, unknown or too large; sizes.

import CMountedSupport
import Glibc
import Testing

@Suite("Control: virtual attributes", .needsMount, .mounted(), .deadline())
struct VirtualAttributeTests {
  private func file() throws -> Path {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(10_000))
    return path
  }

  @Test(arguments: [
    "1", "hard", "ttl=5", "fill", "as-is", "hard,ttl=4294967295", "pid=1,as-is", "persistent",
    "hard,fill,persistent,ttl=9",
  ])
  func takingAndReleasing(_ specification: String) throws {
    let path = try file()
    #expect(throws: Errno(ENODATA)) { try path.attribute("holdfast.seal") }
    try path.seal(specification)
    #expect(try path.sealCount() == 1)
    // What is got can be set again and means the same.
    let text = try path.attributeText("holdfast.seal")
    for word in specification.split(separator: ",") where word != "1" && word != "hard" {
      #expect(text.contains(word), "\(text)")
    }
    try path.seal(text)
    #expect(try path.attributeText("holdfast.seal") == text)
    #expect(try path.sealCount() == 1)
    try path.unseal()
    #expect(throws: Errno(ENODATA)) { try path.unseal() }
    #expect(try path.sealCount() == 0)
  }

  @Test(arguments: [
    "", "0", "2", "11", "yes", "Hard", " hard", "hard ", "hard,", ",hard", ",", "hard,hard", "hard,breakable",
    "fill,as-is", "pid=", "pid=0", "pid=-1", "pid=+1", "pid=abc", "pid=1,persistent", "ttl=", "ttl=0", "ttl=1.5",
    "ttl=0x5",
    "range=5", "range=0+0", "range=a+b", "range=+", "range=1+", "range=-1+5", "persistent=1", "fill=1", "hard\n", "1,1",
    "breakable=", "breakable=x", "ttl=5 ", "pid =5", "unknown", "hard\0", "\0",
  ])
  func malformed(_ value: String) throws {
    let path = try file()
    let extents = try path.extents()
    #expect(throws: Errno(EINVAL)) { try path.seal(value) }
    #expect(throws: Errno(EINVAL)) { try path.seal(value, name: "named") }
    #expect(try path.sealCount() == 0)
    #expect(try path.extents() == extents)
  }

  @Test func malformedBytes() throws {
    let path = try file()
    var seed: UInt64 = 42
    for _ in 0..<500 {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let count = Int(seed >> 33) % 300
      let value = (0..<count).map { UInt8(truncatingIfNeeded: (seed >> 8) &* UInt64($0 + 1) >> 16) }
      if value == [UInt8(ascii: "1")] { continue }
      #expect(throws: Errno(EINVAL)) { try path.setAttribute("holdfast.seal", value) }
    }
    #expect(throws: Errno(EINVAL)) { try path.setAttribute("holdfast.seal", [UInt8](repeating: 0x31, count: 65_536)) }
    #expect(try path.sealCount() == 0)
  }

  @Test(arguments: [
    "ttl=4294967296", "ttl=99999999999999999999999", "pid=2147483648", "breakable=4294967296",
    "range=0+9223372036854775808", "range=9223372036854775807+1", "range=99999999T+1", "range=0+18446744073709551616",
  ])
  func tooLarge(_ value: String) throws {
    let path = try file()
    #expect(throws: Errno(ERANGE)) { try path.seal(value) }
    #expect(try path.sealCount() == 0)
  }

  @Test func namesOfRequests() throws {
    let path = try file()
    for name in ["a", "A-z_0", String(repeating: "n", count: 64)] {
      try path.seal(name: name)
      #expect(try path.holders().map(\.name) == [name])
      try path.unseal(name: name)
    }
    for name in ["", "a.b", "a b", "ä", "a/b", String(repeating: "n", count: 65), "*"] {
      let attribute = "holdfast.seal.\(name)"
      #expect(throws: Errno(EINVAL), "\(name)") { try path.setAttribute(attribute, "1") }
      #expect(throws: Errno(ENODATA), "\(name)") { try path.attribute(attribute) }
      #expect(throws: Errno(ENODATA), "\(name)") { try path.removeAttribute(attribute) }
    }
    #expect(try path.sealCount() == 0)
  }

  @Test(arguments: [
    "holdfast.", "holdfast.none", "holdfast.Seal", "holdfast.seal_counts", "holdfast.holders.x", "holdfast.sealx",
  ])
  func unknownNames(_ name: String) throws {
    let path = try file()
    #expect(throws: Errno(ENODATA)) { try path.attribute(name) }
    #expect(throws: Errno(EINVAL)) { try path.setAttribute(name, "1") }
    #expect(throws: Errno(ENODATA)) { try path.removeAttribute(name) }
  }

  @Test(arguments: ["seal", "iomap_immutable", "seal_count", "holders", "generation", "extents"])
  func sizesAreProbed(_ name: String) throws {
    let path = try file()
    try path.seal("ttl=3600")
    let attribute = "holdfast.\(name)"
    let size = try path.attributeSize(attribute)
    #expect(size > 0)
    let value = try path.attribute(attribute)
    // Ages grow by a digit at times.
    #expect(abs(value.count - size) <= (name == "holders" ? 4 : 0))
    var short = [UInt8](repeating: 0, count: 1)
    if value.count > 1 {
      #expect(throws: Errno(ERANGE)) { try check(lgetxattr(path.bytes, attribute, &short, 1)) }
    }
    if name != "seal" {
      #expect(throws: Errno.self) { try path.setAttribute(attribute, "1") }
      #expect(throws: Errno.self) { try path.removeAttribute(attribute) }
    }
    #expect(try path.sealCount() == 1)
    try path.unseal()
  }

  @Test func whatTheyAreOn() throws {
    let volume = try sharedVolume()
    let folder = try volume.freshFolder()
    try (folder / "link").makeSymlink(to: "file")
    try (folder / "fifo").makeNode(S_IFIFO | 0o600)
    for path in [folder, volume.root, folder / "link", folder / "fifo"] {
      for name in ["seal", "seal_count", "holders", "extents", "iomap_immutable", "generation"] {
        #expect(throws: Errno(ENODATA), "\(name) of \(path)") { try path.attribute("holdfast.\(name)") }
      }
      #expect(throws: Errno.self) { try path.seal() }
    }
    #expect(throws: Errno(ENODATA)) { try file().attribute("holdfast.seals") }
    #expect(throws: Errno(ENODATA)) { try folder.attribute("holdfast.stats") }
    #expect(try volume.root.attribute("holdfast.stats").first == UInt8(ascii: "{"))
  }

  @Test func holdersTellWho() throws {
    let volume = try sharedVolume()
    let path = try file()
    let agent = try Agent()
    let handle = try agent.open(path)
    try agent.call("seal", handle, 0, "by-handle")
    try path.seal("pid=\(agent.pid)", name: "by-process")
    try path.seal(name: "by-name")
    let holders = try path.holders()
    #expect(holders.count == 3)
    let inode = try path.inode()
    for holder in holders {
      #expect(holder.inode == inode && holder.kind == "hard" && holder.range == nil && holder.uid == 0)
      #expect(holder.isOfSaneAge)
      #expect(try path.generation() == holder.generation)
    }
    let byName = Dictionary(uniqueKeysWithValues: holders.map { ($0.name, $0) })
    #expect(byName["by-handle"]?.pid == agent.pid)
    #expect(byName["by-handle"]?.command.contains("mounted-test") == true)
    #expect(byName["by-process"]?.pid == agent.pid)
    #expect(byName["by-name"]?.pid == getpid())
    #expect(try volume.seals().filter { $0.inode == inode }.count == 3)
    agent.kill()
    #expect(try eventually { try path.holders().map(\.name) == ["by-name"] })
    try path.unseal(name: "by-name")
  }

  @Test func generationsMoveWithTheMap() throws {
    let path = try file()
    var last = try path.generation()
    let file = try path.open(O_RDWR)
    defer { file.close() }
    func moved() throws -> Bool {
      let next = try path.generation()
      defer { last = next }
      return next != last
    }
    try file.write(pattern(100), at: 100)
    #expect(try !moved(), "an overwrite changes no map")
    try path.changeMode(0o600)
    #expect(try !moved())
    try file.write(pattern(10), at: 100_000)
    #expect(try moved(), "blocks behind the end")
    try file.allocate(hmt_punch_hole | hmt_keep_size, at: 0, 4096)
    #expect(try moved(), "a hole")
    try file.truncate(5000)
    #expect(try moved(), "a cut")
    try file.truncate(5000)
    #expect(try !moved(), "the same size")
    #expect(try path.generation() >> 32 > 0, "the high half counts mounts")
  }

  @Test func extentsBeyondAValueAreTooMany() throws {
    let path = try file()
    let file = try path.open(O_RDWR)
    defer { file.close() }
    for index in 0..<3500 { try file.write([1], at: index * 8192) }
    try file.sync()
    #expect(throws: Errno(E2BIG)) { try path.attribute("holdfast.extents") }
    #expect(throws: Errno(E2BIG)) { try path.attributeSize("holdfast.extents") }
    // The ioctl goes on where this ends.
    #expect(try file.map().count >= 3400)
  }

  @Test func extentLines() throws {
    let path = try sharedVolume().freshFolder() / "file"
    let file = try path.open(O_CREAT | O_RDWR)
    defer { file.close() }
    #expect(try path.extents().isEmpty)
    try file.write(pattern(8192), at: 0)
    try file.allocate(at: 16_384, 4096)
    try file.sync()
    let lines = try path.extents().split(separator: "\n").map { $0.split(separator: " ") }
    #expect(lines.count == 2 && lines.allSatisfy { $0.count == 4 })
    #expect(lines[0][0] == "0" && lines[0][2] == "8192" && lines[0][3] == "written")
    #expect(lines[1][0] == "16384" && lines[1][2] == "4096" && lines[1][3] == "unwritten")
    #expect(lines.allSatisfy { Int($0[1])! % 4096 == 0 })
  }
}

extension Holder {
  fileprivate var isOfSaneAge: Bool { ageMs >= 0 && ageMs < 600_000 }
}
