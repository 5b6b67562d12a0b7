/// readdir: complete, stable while names come and go, with offsets that mean something later.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: readdir", .needsMount, .mounted(), .deadline())
struct ReaddirTests {
  private func fill(_ count: Int) throws -> (Path, Set<String>) {
    let folder = try sharedVolume().freshFolder()
    let names = (0..<count).map { "entry-\($0)" }
    for name in names { try check(close(hmt_open((folder / name).bytes, O_CREAT | O_WRONLY, 0o644))) }
    return (folder, Set(names))
  }

  @Test func everyNameOnce() throws {
    let (folder, names) = try fill(3000)
    let found = try folder.names()
    #expect(found.count == 3002)
    #expect(Set(found) == names.union([".", ".."]))
  }

  @Test func emptyDirectories() throws {
    let folder = try sharedVolume().freshFolder()
    #expect(try folder.names().sorted() == [".", ".."])
  }

  /// What rm -rf does: reads on while it deletes what it has read.
  @Test func deletingWhileReading() throws {
    let (folder, _) = try fill(5000)
    let directory = try Directory(folder)
    var removed = 0
    while let name = directory.next() {
      if name == "." || name == ".." { continue }
      try (folder / name).unlink()
      removed += 1
    }
    directory.close()
    #expect(removed == 5000)
    #expect(try folder.names().count == 2)
    try folder.removeDirectory()
  }

  @Test func rmRemovesATree() throws {
    let (folder, _) = try fill(5000)
    for index in 0..<50 {
      try (folder / "sub-\(index)").makeDirectory()
      try (folder / "sub-\(index)" / "file").create([1])
    }
    let result = try run(["rm", "-rf", folder.text])
    #expect(result.status == 0, "\(result.errors)")
    #expect(!folder.exists)
  }

  /// A name that was there all the time is seen exactly once, whatever happens to others.
  @Test func stableWhileOthersComeAndGo() throws {
    let (folder, names) = try fill(2000)
    let directory = try Directory(folder)
    defer { directory.close() }
    var seen: [String: Int] = [:]
    var step = 0
    while let name = directory.next() {
      seen[name, default: 0] += 1
      step += 1
      if step % 10 == 0 {
        try (folder / "new-\(step)").create()
        if step % 20 == 0 { try (folder / "new-\(step)").unlink() }
      }
    }
    #expect(names.allSatisfy { seen[$0] == 1 })
    #expect(seen.allSatisfy { $0.value == 1 })
  }

  @Test func positionsAreStable() throws {
    let (folder, names) = try fill(500)
    let directory = try Directory(folder)
    defer { directory.close() }
    var order: [(position: Int, name: String)] = []
    while true {
      let position = directory.position
      guard let name = directory.next() else { break }
      order.append((position, name))
    }
    #expect(order.count == 502)
    for index in [501, 0, 250, 17, 400] {
      directory.position = order[index].position
      #expect(directory.next() == order[index].name)
      if index < 501 { #expect(directory.next() == order[index + 1].name) }
    }
    // Deleting what lies before a position does not move it.
    for entry in order[..<250] where names.contains(entry.name) { try (folder / entry.name).unlink() }
    directory.position = order[250].position
    var rest: [String] = []
    while let name = directory.next() { rest.append(name) }
    #expect(rest == order[250...].map(\.name))
    directory.rewind()
    var all = Set<String>()
    while let name = directory.next() { all.insert(name) }
    #expect(all == Set(rest).union([".", ".."]))
  }

  @Test func typesAreTold() throws {
    let folder = try sharedVolume().freshFolder()
    try (folder / "file").create()
    try (folder / "directory").makeDirectory()
    try (folder / "symlink").makeSymlink(to: "file")
    try (folder / "fifo").makeNode(S_IFIFO | 0o600)
    let result = try run(["find", folder.text, "-mindepth", "1", "-printf", "%f %y\\n"])
    #expect(
      Set(result.output.split(separator: "\n")) == ["file f", "directory d", "symlink l", "fifo p"])
  }
}
