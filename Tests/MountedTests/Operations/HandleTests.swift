/// File handles (open_by_handle_at, NFS) and locks.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: file handles and locks", .needsMount, .mounted(), .deadline())
struct HandleTests {
  private func handle(of path: Path) throws -> hmt_handle {
    var handle = hmt_handle()
    try check(hmt_handle_of(path.bytes, &handle))
    return handle
  }

  private func open(_ handle: hmt_handle, _ flags: Int32 = O_RDONLY, on mount: File) throws(Errno) -> File {
    var handle = handle
    return File(try check(hmt_open_handle(mount.descriptor, &handle, flags)))
  }

  /// Lets the kernel forget names and inodes, where that is permitted.
  private func dropCaches() {
    guard let control = try? Path("/proc/sys/vm/drop_caches").open(O_WRONLY) else { return }
    defer { control.close() }
    _ = try? control.write(Array("2".utf8))
  }

  @Test func handlesOutliveTheKernelsCaches() throws {
    let folder = try sharedVolume().freshFolder()
    let mount = try sharedVolume().root.open()
    defer { mount.close() }
    let path = folder / "file"
    try path.create(pattern(5000))
    try (folder / "below").makeDirectory()
    try (folder / "below" / "deep").create([7])
    let (file, directory, deep) = (
      try handle(of: path), try handle(of: folder / "below"), try handle(of: folder / "below" / "deep")
    )
    let inode = try path.inode()
    dropCaches()
    let opened = try open(file, O_RDWR, on: mount)
    defer { opened.close() }
    #expect(try opened.read(10_000, at: 0) == pattern(5000))
    #expect(try UInt64(opened.status().st_ino) == inode)
    try opened.write([1], at: 0)
    #expect(try path.contents()[0] == 1)
    let openedDirectory = try open(directory, O_RDONLY | O_DIRECTORY, on: mount)
    defer { openedDirectory.close() }
    // Its parent is found, and names below it.
    let parent = openat(openedDirectory)
    #expect(try folder.inode() == parent)
    let openedDeep = try open(deep, on: mount)
    defer { openedDeep.close() }
    #expect(try openedDeep.read(10, at: 0) == [7])
  }

  /// The inode number of "..".
  private func openat(_ directory: File) -> UInt64? {
    var status = stat()
    return fstatat(directory.descriptor, "..", &status, 0) == 0 ? UInt64(status.st_ino) : nil
  }

  @Test func handlesSurviveRenameAndRemount() throws {
    let volume = try Volume(mebibytes: 48)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create([9])
    let handle = try handle(of: path)
    try path.rename(to: volume.root / "renamed")
    try volume.remount()
    let mount = try volume.root.open()
    let file = try open(handle, on: mount)
    #expect(try file.read(5, at: 0) == [9])
    file.close()
    mount.close()
    volume.finish()
  }

  @Test func handlesOfWhatIsGoneAreStale() throws {
    let folder = try sharedVolume().freshFolder()
    let mount = try sharedVolume().root.open()
    defer { mount.close() }
    let path = folder / "file"
    try path.create([1])
    let old = try handle(of: path)
    try path.unlink()
    dropCaches()
    // While the release of the last handle is on its way the file still lives.
    let isStale = eventually {
      do throws(Errno) {
        try open(old, on: mount).close()
        return false
      } catch {
        return error == Errno(ESTALE)
      }
    }
    #expect(isStale)
    // Nor do they lead to files that came after.
    for index in 0..<200 { try (folder / "new-\(index)").create([2]) }
    #expect(throws: Errno(ESTALE)) { try open(old, on: mount).close() }
  }

  @Test func recordLocks() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(100))
    let file = try path.open(O_RDWR)
    let same = try path.open(O_RDWR)
    let agent = try Agent()
    defer {
      file.close()
      same.close()
    }
    let handle = try agent.open(path, O_RDWR)
    try check(hmt_record_lock(file.descriptor, 0, Int16(F_WRLCK), 0, 0))
    #expect(throws: Errno(EAGAIN)) { try agent.call("lock", handle, F_WRLCK) }
    #expect(throws: Errno(EAGAIN)) { try agent.call("lock", handle, F_RDLCK) }
    try check(hmt_record_lock(file.descriptor, 0, Int16(F_UNLCK), 0, 0))
    try agent.call("lock", handle, F_RDLCK)
    // Of open file descriptions, within one process.
    try check(hmt_record_lock(file.descriptor, 1, Int16(F_RDLCK), 0, 10))
    #expect(throws: Errno(EAGAIN)) { try check(hmt_record_lock(same.descriptor, 1, Int16(F_WRLCK), 5, 10)) }
    agent.kill()
    try check(hmt_record_lock(same.descriptor, 1, Int16(F_WRLCK), 10, 10))
  }

  @Test func wholeFileLocks() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create()
    let file = try path.open()
    defer { file.close() }
    let agent = try Agent()
    let handle = try agent.open(path)
    try check(flock(file.descriptor, LOCK_EX))
    #expect(throws: Errno(EWOULDBLOCK)) { try agent.call("flock", handle, LOCK_SH | LOCK_NB) }
    try check(flock(file.descriptor, LOCK_SH))
    try agent.call("flock", handle, LOCK_SH | LOCK_NB)
    #expect(throws: Errno(EWOULDBLOCK)) { try check(flock(file.descriptor, LOCK_EX | LOCK_NB)) }
    agent.kill()
    try check(flock(file.descriptor, LOCK_EX | LOCK_NB))
  }
}
