/// What makes a write durable without anybody calling fsync: O_SYNC, O_DSYNC, chattr +S, and `commit=`. Each against a
/// daemon that commits by itself only after an hour, so that nothing else can be the reason.

import CMountedSupport
import Glibc
import Testing

@Suite("Volumes: durable by the handle, or in time", .needsMount, .deadline())
struct SyncedHandleTests {
  private static let hourly = "commit=3600"

  enum Way: CaseIterable { case synchronous, dataSynchronous, flagged, none }

  @Test(arguments: Way.allCases) func synchronousWritesSurviveAKill(_ way: Way) throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    try volume.mount(Self.hourly)
    let path = volume.root / "log"
    let flags =
      switch way {
      case .synchronous: O_SYNC
      case .dataSynchronous: O_DSYNC
      case .flagged, .none: Int32(0)
      }
    if way == .flagged {
      try path.create([])
      let file = try path.open(O_RDWR)
      try file.setFlags(0x8)
      file.close()
    }
    let file = try path.open(O_CREAT | O_RDWR | O_APPEND | flags)
    for line in 0..<20 { try file.write(pattern(700, seed: UInt8(line))) }
    try volume.crash()
    file.close()
    #expect(try volume.fsck().status == 0)
    try volume.mount(Self.hourly)
    if way == .none {
      #expect(!path.exists, "nothing was synced, so this test would show a write that was not")
    } else {
      #expect(try path.contents() == (0..<20).flatMap { pattern(700, seed: UInt8($0)) })
    }
    volume.finish()
  }

  /// What is older than `commit=` is there, without any sync.
  @Test func commitSecondsBoundTheLoss() throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    try volume.mount("commit=1")
    let path = volume.root / "file"
    try path.create(pattern(50_000))
    // Several times the second: how busy the machine is must not decide.
    sleep(6)
    try volume.crash()
    try volume.mount()
    #expect(try path.contents() == pattern(50_000))
    volume.finish()
  }
}
