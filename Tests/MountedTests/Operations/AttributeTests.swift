/// chmod, chown, utimensat, statfs; what clears set-id bits.

import CMountedSupport
import Glibc
import Testing

@Suite("Operations: attributes", .needsMount, .mounted(), .deadline())
struct AttributeTests {
  /// A file of mode `mode` that belongs to Agent.user.
  private func file(_ mode: mode_t = 0o644, in folder: Path? = nil) throws -> Path {
    let path = try (folder ?? sharedVolume().freshFolder(mode: 0o777)) / "file"
    try path.create(pattern(5000), mode: mode)
    try path.changeOwner(Agent.user, Agent.user)
    try path.changeMode(mode)
    return path
  }

  @Test func changingModes() throws {
    let path = try file()
    for mode: mode_t in [0, 0o777, 0o4755, 0o2755, 0o1644, 0o7777, 0o644] {
      try path.changeMode(mode)
      #expect(try path.mode() == mode)
    }
    let owner = try Agent(uid: Agent.user)
    try owner.call("chmod", path, 0o4755)
    #expect(try path.mode() == 0o4755)
    let stranger = try Agent(uid: Agent.otherUser)
    #expect(throws: Errno(EPERM)) { try stranger.call("chmod", path, 0o777) }
    // Set-group-id for a group one is not in is not granted.
    try path.changeOwner(Agent.user, Agent.otherUser)
    try owner.call("chmod", path, 0o2755)
    #expect(try path.mode() == 0o755)
  }

  @Test func changingOwners() throws {
    let path = try file()
    try path.changeOwner(5, 6)
    #expect(try path.status().st_uid == 5)
    #expect(try path.status().st_gid == 6)
    try path.changeOwner(.max, 7)
    #expect(try path.status().st_uid == 5)
    #expect(try path.status().st_gid == 7)
    try path.changeOwner(Agent.user, .max)
    let owner = try Agent(uid: Agent.user)
    #expect(throws: Errno(EPERM)) { try owner.call("chown", path, Agent.otherUser, UInt32.max) }
    #expect(throws: Errno(EPERM)) { try owner.call("chown", path, UInt32.max, Agent.otherUser) }
    try owner.call("chown", path, Agent.user, Agent.user)
    #expect(try path.status().st_gid == Agent.user)
  }

  @Test func aChangeOfOwnerClearsSetIdBits() throws {
    let path = try file(0o6755)
    try path.changeOwner(0, 0)
    #expect(try path.mode() == 0o755)
    try path.changeMode(0o6755)
    try path.changeOwner(.max, .max)
    #expect(try path.mode() & 0o4000 == 0)
    // Of a directory they mean something else and stay.
    let directory = try sharedVolume().freshFolder(mode: 0o2755)
    try directory.changeOwner(Agent.user, Agent.user)
    #expect(try directory.mode() == 0o2755)
  }

  @Test(arguments: ["write", "ftruncate", "fallocate", "truncate"])
  func anUnprivilegedChangeClearsSetIdBits(_ call: String) throws {
    let path = try file(0o6777)
    let stranger = try Agent(uid: Agent.otherUser)
    let handle = try stranger.open(path, O_RDWR)
    #expect(try path.mode() == 0o6777)
    switch call {
    case "write": try stranger.call("write", handle, 0, 10, 65)
    case "ftruncate": try stranger.call("ftruncate", handle, 100)
    case "fallocate": try stranger.call("fallocate", handle, 0, 0, 100_000)
    default: try stranger.call("truncate", path, 50)
    }
    #expect(try path.mode() == 0o777)
  }

  @Test func rootsWritesKeepSetIdBits() throws {
    let path = try file(0o6777)
    let handle = try path.open(O_WRONLY)
    defer { handle.close() }
    try handle.write([1], at: 0)
    #expect(try path.mode() == 0o6777)
  }

  @Test func openingWithTruncationClearsSetIdBits() throws {
    let path = try file(0o6777)
    let stranger = try Agent(uid: Agent.otherUser)
    try stranger.call("close", try stranger.open(path, O_WRONLY | O_TRUNC))
    #expect(try path.mode() == 0o777)
  }

  @Test func timesToTheNanosecond() throws {
    let path = try file()
    for seconds in [0, 1, -1, -1_000_000_000, 1_700_000_000, 4_294_967_296, 16_000_000_000] {
      let accessed = timespec(tv_sec: seconds, tv_nsec: 123_456_789)
      let modified = timespec(tv_sec: seconds + 1, tv_nsec: 999_999_999)
      try path.setTimes(accessed, modified)
      let status = try path.status()
      #expect(status.st_atim.tv_sec == seconds && status.st_atim.tv_nsec == 123_456_789)
      #expect(status.st_mtim.tv_sec == seconds + 1 && status.st_mtim.tv_nsec == 999_999_999)
    }
  }

  @Test func nowAndOmit() throws {
    let path = try file()
    let (now, omit) = (timespec(tv_sec: 0, tv_nsec: hmt_utime_now), timespec(tv_sec: 0, tv_nsec: hmt_utime_omit))
    let past = timespec(tv_sec: 1000, tv_nsec: 5)
    try path.setTimes(past, past)
    let changed = try path.status().st_ctim
    try path.setTimes(omit, now)
    var status = try path.status()
    #expect(status.st_atim.tv_sec == 1000 && status.st_atim.tv_nsec == 5)
    #expect(abs(status.st_mtim.tv_sec - time(nil)) < 60)
    #expect((status.st_ctim.tv_sec, status.st_ctim.tv_nsec) >= (changed.tv_sec, changed.tv_nsec))
    try path.setTimes(past, past)
    try path.setTimes(now, omit)
    status = try path.status()
    #expect(status.st_mtim.tv_sec == 1000 && abs(status.st_atim.tv_sec - time(nil)) < 60)
    try path.setTimes(omit, omit)
    #expect(try path.status().st_mtim.tv_sec == 1000)
  }

  @Test func timesOfSymlinks() throws {
    let folder = try sharedVolume().freshFolder()
    let link = folder / "link"
    try link.makeSymlink(to: "nowhere")
    try link.setTimes(timespec(tv_sec: 11, tv_nsec: 1), timespec(tv_sec: 12, tv_nsec: 2), followingLinks: false)
    #expect(try link.statusOfLink().st_mtim.tv_sec == 12)
  }

  @Test func operationsMoveTimes() throws {
    let folder = try sharedVolume().freshFolder()
    let path = folder / "file"
    let old = timespec(tv_sec: 1000, tv_nsec: 0)
    try path.create([1])
    func reset() throws {
      try path.setTimes(old, old)
      try folder.setTimes(old, old)
    }
    try reset()
    let handle = try path.open(O_RDWR)
    defer { handle.close() }
    try handle.write([2], at: 0)
    #expect(try path.status().st_mtim.tv_sec > 1000)
    #expect(try path.status().st_atim.tv_sec == 1000)
    #expect(try folder.status().st_mtim.tv_sec == 1000)
    try reset()
    _ = try handle.read(1, at: 0)
    #expect(try path.status().st_mtim.tv_sec == 1000)
    try reset()
    try (folder / "other").create()
    #expect(try folder.status().st_mtim.tv_sec > 1000)
    try reset()
    try (folder / "other").unlink()
    #expect(try folder.status().st_mtim.tv_sec > 1000)
    try reset()
    try path.rename(to: folder / "renamed")
    #expect(try folder.status().st_mtim.tv_sec > 1000)
    #expect(try (folder / "renamed").status().st_mtim.tv_sec == 1000)
  }

  @Test func statisticsOfTheVolume() throws {
    let folder = try sharedVolume().freshFolder()
    let statistics = try folder.statistics()
    #expect(statistics.f_bsize == 4096 && statistics.f_frsize == 4096 && statistics.f_namemax == 255)
    let blocks = Int(statistics.f_blocks)
    #expect(blocks > (40 << 20) / 4096 && blocks <= (64 << 20) / 4096)
    #expect(statistics.f_bfree <= statistics.f_blocks && statistics.f_bavail <= statistics.f_bfree)
    #expect(statistics.f_files >= statistics.f_ffree && statistics.f_ffree > 0)
  }

  @Test func blocksAreCounted() throws {
    let path = try file()
    #expect(try path.status().st_blocks == 16)
    try path.truncate(1 << 30)
    #expect(try path.status().st_blocks == 16)
    try path.truncate(0)
    #expect(try path.status().st_blocks == 0)
    #expect(try path.status().st_blksize == 4096)
  }
}
