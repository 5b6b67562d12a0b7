/// rename(2) and renameat2(2)'s flags.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: rename", .needsMount, .mounted(), .deadline())
struct RenameTests {
  private func folder() throws -> Path { try sharedVolume().freshFolder() }

  @Test func filesMoveAndReplace() throws {
    let folder = try folder()
    let (a, b) = (folder / "a", folder / "b")
    try a.create([1])
    let inode = try a.status().st_ino
    try a.rename(to: b)
    #expect(!a.exists)
    #expect(try b.status().st_ino == inode)
    try a.create([2])
    try a.rename(to: b)
    #expect(try b.contents() == [2])
    #expect(!a.exists)
    #expect(throws: Errno(ENOENT)) { try a.rename(to: b) }
    try b.rename(to: b)
    try b.link(as: a)
    // Two names of one file: nothing happens.
    try a.rename(to: b)
    #expect(a.exists && b.exists)
  }

  @Test func directoriesMove() throws {
    let folder = try folder()
    let (a, b) = (folder / "a", folder / "b")
    try a.makeDirectory()
    try b.makeDirectory()
    try (a / "below").makeDirectory()
    try (a / "below" / "file").create([7])
    #expect(try a.links() == 3)
    #expect(try b.links() == 2)
    try (a / "below").rename(to: b / "moved")
    #expect(try a.links() == 2)
    #expect(try b.links() == 3)
    #expect(try (b / "moved" / ".." / "moved" / "file").contents() == [7])
    #expect(try (b / "moved" / "..").status().st_ino == b.status().st_ino)
    // Over an empty directory, not over one that is not.
    try (a / "empty").makeDirectory()
    try (b / "moved").rename(to: a / "empty")
    #expect(try (a / "empty" / "file").contents() == [7])
    try (b / "full").makeDirectory()
    #expect(throws: Errno(ENOTEMPTY)) { try (b / "full").rename(to: a / "empty") }
    #expect(try a.links() == 3)
    #expect(try b.links() == 3)
  }

  @Test func kindsDoNotReplaceEachOther() throws {
    let folder = try folder()
    let (file, directory) = (folder / "file", folder / "directory")
    try file.create()
    try directory.makeDirectory()
    #expect(throws: Errno(EISDIR)) { try file.rename(to: directory) }
    #expect(throws: Errno(ENOTDIR)) { try directory.rename(to: file) }
    #expect(throws: Errno(EINVAL)) { try directory.rename(to: directory / "below") }
    #expect(throws: Errno.self) { try (directory / ".").rename(to: folder / "x") }
    #expect(try folder.names().count == 4)
  }

  @Test func noReplace() throws {
    let folder = try folder()
    let (a, b) = (folder / "a", folder / "b")
    try a.create([1])
    try b.create([2])
    #expect(throws: Errno(EEXIST)) { try a.rename(to: b, hmt_rename_noreplace) }
    #expect(try a.contents() == [1])
    try b.unlink()
    try a.rename(to: b, hmt_rename_noreplace)
    #expect(try b.contents() == [1])
    #expect(!a.exists)
  }

  @Test func exchange() throws {
    let folder = try folder()
    let (a, b) = (folder / "a", folder / "b")
    try a.makeDirectory()
    try b.makeDirectory()
    let (file, directory) = (a / "file", b / "directory")
    try file.create([1])
    #expect(throws: Errno(ENOENT)) { try file.rename(to: directory, hmt_rename_exchange) }
    try directory.makeDirectory()
    try (directory / "below").create([2])
    try file.rename(to: directory, hmt_rename_exchange)
    #expect(try (a / "file" / "below").contents() == [2])
    #expect(try (b / "directory").contents() == [1])
    #expect(try a.links() == 3)
    #expect(try b.links() == 2)
    #expect(try (a / "file" / "..").status().st_ino == a.status().st_ino)
    #expect(throws: Errno(EINVAL)) { try a.rename(to: a / "file" / "below", hmt_rename_exchange) }
    #expect(throws: Errno(EINVAL)) { try a.rename(to: b, hmt_rename_exchange | hmt_rename_noreplace) }
    #expect(throws: Errno(EINVAL)) { try a.rename(to: b, hmt_rename_exchange | hmt_rename_whiteout) }
  }

  /// Overlay filesystems ask for it: a character device 0, 0 stays where the file was.
  @Test func whiteout() throws {
    let folder = try folder()
    let (a, b) = (folder / "a", folder / "b")
    try a.create([1])
    try b.create([2])
    try a.rename(to: b, hmt_rename_whiteout)
    #expect(try b.contents() == [1])
    let status = try a.statusOfLink()
    #expect(status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 0)
    try a.unlink()
  }

  /// An open handle and its file survive a move, and a replaced file that is open lives on.
  @Test func handlesSurvive() throws {
    let folder = try folder()
    let (a, b) = (folder / "a", folder / "b")
    try a.create([1])
    try b.create([2])
    let (first, second) = (try a.open(O_RDWR), try b.open(O_RDWR))
    defer {
      first.close()
      second.close()
    }
    try a.rename(to: b)
    try first.write([3], at: 0)
    try second.write([4], at: 0)
    #expect(try b.contents() == [3])
    #expect(try second.read(1, at: 0) == [4])
    #expect(try second.status().st_nlink == 0)
    #expect(try first.status().st_nlink == 1)
  }

  @Test func longAndShortNamesTradePlaces() throws {
    let folder = try folder()
    let longest = folder / String(repeating: "z", count: 255)
    try (folder / "s").create([5])
    try (folder / "s").rename(to: longest)
    #expect(try longest.contents() == [5])
    try longest.rename(to: folder / "s")
    #expect(try (folder / "s").contents() == [5])
    #expect(!longest.exists)
  }
}
