/// kill -9 of the daemon: what was synced is there, what nobody can reach any more is reclaimed, fsck finds nothing.

import CMountedSupport
import Glibc
import Testing

@Suite("Volumes: kill -9 of the daemon", .needsMount, .deadline())
struct CrashTests {
  private func mounted(mebibytes: Int = 64) throws -> Volume {
    let volume = try Volume(mebibytes: mebibytes)
    try volume.mount()
    return volume
  }

  /// Kills, checks, mounts.
  private func crash(_ volume: Volume) throws {
    try volume.crash()
    let result = try volume.fsck()
    #expect(result.status == 0, "\(result.output)")
    try volume.mount()
  }

  @Test func syncedDataIsThere() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let synced = volume.root / "synced"
    let file = try synced.open(O_CREAT | O_RDWR)
    try file.writeAll(pattern(500_000))
    try file.sync()
    try file.write(pattern(100, seed: 8), at: 1000)
    try file.syncData()
    var expected = pattern(500_000)
    expected.replaceSubrange(1000..<1100, with: pattern(100, seed: 8))
    // Names count with their directory's fsync.
    let folder = volume.root / "folder"
    try folder.makeDirectory()
    try (folder / "a").create([1])
    try (folder / "a").rename(to: folder / "b")
    try (folder / "b").setAttribute("user.a", "kept")
    let directory = try folder.open()
    try directory.sync()
    directory.close()
    file.close()
    try crash(volume)
    #expect(try synced.contents() == expected)
    #expect(try folder.names().sorted() == [".", "..", "b"])
    #expect(try (folder / "b").attributeText("user.a") == "kept")
    volume.finish()
  }

  /// Of what was not synced any prefix of history may be gone, and never is there another file's old data.
  @Test func unsyncedDataShowsNoOldBytes() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let old = volume.root / "old"
    try old.create([UInt8](repeating: 0xee, count: 8 << 20))
    try volume.sync()
    try old.unlink()
    try volume.sync()
    for index in 0..<40 {
      let file = try (volume.root / "new-\(index)").open(O_CREAT | O_WRONLY)
      try file.write([UInt8](repeating: 0x11, count: 150_000), at: index * 1000)
      file.close()
    }
    try crash(volume)
    for index in 0..<40 {
      let path = volume.root / "new-\(index)"
      guard path.exists else { continue }
      #expect(try path.contents().allSatisfy { $0 == 0x11 || $0 == 0 })
    }
    volume.finish()
  }

  @Test func unlinkedOpenFilesAreReclaimed() throws {
    let volume = try mounted()
    defer { volume.remove() }
    try volume.sync()
    let before = try volume.information().usage
    var handles: [File] = []
    let chunk = zeros(400_000)
    for index in 0..<20 {
      let path = volume.root / "file-\(index)"
      try path.create(chunk)
      handles.append(try path.open(O_RDWR))
      try path.unlink()
    }
    let unnamed = try volume.root.open(hmt_o_tmpfile | O_RDWR)
    try unnamed.writeAll(chunk)
    try volume.sync()
    try volume.crash()
    for handle in handles { handle.close() }
    unnamed.close()
    #expect(try volume.fsck().status == 0)
    try volume.mount()
    // But for a chunk or two of metadata, taken for good.
    let isReclaimed = try eventually {
      try volume.sync()
      let usage = try volume.information().usage
      return usage.inodes == before.inodes && usage.freeBlocks + 600 >= before.freeBlocks
    }
    let after = try volume.information().usage
    #expect(isReclaimed, "\(before) became \(after)")
    volume.finish()
  }

  @Test func aVolumeKilledUnderLoadIsWhole() throws {
    let volume = try mounted(mebibytes: 96)
    defer { volume.remove() }
    let folder = volume.root.text
    // Four shells that create, sync, note what is synced outside the volume, rename and delete.
    let script = """
      i=0; while :; do i=$((i+1)); f=\(folder)/$0-$i
      head -c 20000 /dev/zero | tr '\\0' "$0" > $f && sync $f && echo $f >> \(volume.folder)/synced-$0
      [ $((i % 3)) = 0 ] && mv \(folder)/$0-$((i-1)) \(folder)/$0-moved-$i
      [ $((i % 5)) = 0 ] && rm -f \(folder)/$0-moved-$((i-2))
      done 2>/dev/null
      """
    let workers = try ["a", "b", "c", "d"].map { try Child(["sh", "-c", script, $0]) }
    usleep(1_500_000)
    kill(volume.daemon, SIGKILL)
    usleep(100_000)
    for worker in workers {
      worker.signal(SIGKILL)
      _ = worker.wait(seconds: 10)
    }
    _ = hmt_umount(volume.mountPoint, 1)
    let result = try volume.fsck()
    #expect(result.status == 0, "\(result.output)")
    try volume.mount()
    var checked = 0
    for letter in ["a", "b", "c", "d"] {
      let list = (try? Path("\(volume.folder)/synced-\(letter)").contents()) ?? []
      for name in String(decoding: list, as: UTF8.self).split(separator: "\n") {
        let path = Path(String(name))
        // Moved or removed since, perhaps; what has this name was synced whole.
        guard path.exists else { continue }
        #expect(try path.contents() == [UInt8](repeating: UInt8(ascii: letter), count: 20_000), "\(path)")
        checked += 1
      }
    }
    #expect(checked > 4)
    volume.finish()
  }

  @Test func callsOnADeadMountFail() throws {
    let volume = try mounted()
    defer { volume.remove() }
    let path = volume.root / "file"
    try path.create([1])
    kill(volume.daemon, SIGKILL)
    #expect(eventually { (try? path.open()) == nil })
    #expect(throws: Errno(ENOTCONN)) { try path.open() }
    // The command copes with a dead daemon, and the next mount works.
    _ = try holdfast("unmount", volume.mountPoint)
    _ = hmt_umount(volume.mountPoint, 1)
    try volume.mount()
    #expect(try path.contents() == [1])
    volume.finish()
  }
}

extension UInt8 {
  fileprivate init(ascii text: String) { self = text.utf8.first! }
}
