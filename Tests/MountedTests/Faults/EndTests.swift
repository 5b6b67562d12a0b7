/// How a mount may end: by signals, umount(8), umount -l with open files; and pauses that are no end.

import CMountedSupport
import Glibc
import Testing

@Suite("Faults: ends and pauses", .needsMount, .deadline())
struct EndTests {
  enum End: CaseIterable {
    case terminate, interrupt, hangUp, unmount, umount, lazyUmount

    var signal: Int32? {
      switch self {
      case .terminate: SIGTERM
      case .interrupt: SIGINT
      case .hangUp: SIGHUP
      default: nil
      }
    }
  }

  /// Everything written is there, synced or not, and the superblock says clean.
  @Test(arguments: End.allCases) func everyOrderlyEndIsClean(_ end: End) throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    try volume.mount("commit=3600")
    let root = volume.root
    let file = try (root / "open").open(O_CREAT | O_RDWR)
    try file.writeAll(pattern(200_000))
    let unnamed = try root.open(hmt_o_tmpfile | O_RDWR)
    try unnamed.writeAll(pattern(200_000))
    try (root / "sealed").create(pattern(5000))
    try (root / "sealed").seal("1")
    try (root / "kept").create(pattern(5000))
    try (root / "kept").seal("persistent", name: "kept")
    let ending = hmt_pidfd_open(volume.daemon)
    defer { close(ending) }
    if let signal = end.signal {
      kill(volume.daemon, signal)
    } else {
      switch end {
      case .lazyUmount: try check(hmt_umount(volume.mountPoint, 1))
      case .umount, .unmount:
        file.close()
        unnamed.close()
        if end == .unmount {
          try volume.unmount()
        } else {
          #expect(eventually { hmt_umount(volume.mountPoint, 0) == 0 || errno != EBUSY })
        }
      default: break
      }
    }
    if end == .lazyUmount {
      // It goes on for those who have it open.
      try file.write(pattern(100, seed: 9), at: 200_000)
      try file.sync()
      #expect(try file.read(100, at: 200_000) == pattern(100, seed: 9))
      #expect(kill(volume.daemon, 0) == 0)
    }
    file.close()
    unnamed.close()
    var wait = pollfd(fd: ending, events: Int16(POLLIN), revents: 0)
    #expect(poll(&wait, 1, 20_000) == 1)
    #expect(try volume.imageInformation().clean)
    let check = try volume.fsck()
    #expect(check.status == 0, "\(check.output)\(check.errors)")
    #expect(!volume.log.contains("error:"), "\(volume.log)")
    try volume.mount()
    let expected = pattern(200_000) + (end == .lazyUmount ? pattern(100, seed: 9) : [])
    #expect(try (root / "open").contents() == expected)
    #expect(try (root / "sealed").sealCount() == 0)
    #expect(try (root / "kept").sealCount() == 1)
    #expect(try root.names().sorted() == [".", "..", "kept", "open", "sealed"])
    try (root / "kept").unseal(name: "kept")
    volume.finish()
  }

  /// As when a machine is suspended: the daemon stands still for seconds under load, with seals held. Nothing is lost,
  /// nobody gives up, and what ran out meanwhile is gone soon after.
  @Test func aPause() throws {
    let volume = try Volume(mebibytes: 64)
    defer { volume.remove() }
    try volume.mount("commit=1")
    let root = volume.root
    for name in ["short", "long", "process", "kept"] { try (root / name).create(pattern(20_000)) }
    let holder = try Agent()
    try (root / "short").seal("ttl=2")
    try (root / "long").seal("ttl=600")
    try (root / "process").seal("pid=\(holder.pid)")
    try (root / "kept").seal("pid=\(getpid())")
    let script = """
      i=0; while :; do i=$((i+1)); f=\(root.text)/$0-$i
      head -c 30000 /dev/zero | tr '\\0' "$0" > $f && sync $f && echo $f >> \(volume.folder)/synced-$0
      [ $((i % 4)) = 0 ] && rm -f \(root.text)/$0-$((i-3))
      done 2>/dev/null
      """
    let workers = try ["a", "b"].map { try Child(["sh", "-c", script, $0]) }
    for _ in 0..<2 {
      usleep(300_000)
      kill(volume.daemon, SIGSTOP)
      if kill(holder.pid, 0) == 0 { holder.kill() }
      usleep(3_000_000)
      kill(volume.daemon, SIGCONT)
    }
    #expect(try eventually { try (root / "short").sealCount() == 0 })
    #expect(try eventually { try (root / "process").sealCount() == 0 })
    #expect(try (root / "long").sealCount() == 1)
    #expect(try (root / "kept").sealCount() == 1)
    #expect(throws: Errno(ETXTBSY)) { try (root / "kept").truncate(0) }
    try (root / "short").truncate(0)
    for worker in workers {
      worker.signal(SIGKILL)
      _ = worker.wait(seconds: 10)
    }
    var checked = 0
    for letter in ["a", "b"] {
      let list = try Path("\(volume.folder)/synced-\(letter)").contents()
      for name in String(decoding: list, as: UTF8.self).split(separator: "\n") where Path(String(name)).exists {
        #expect(try Path(String(name)).storedContents() == [UInt8](repeating: letter.utf8.first!, count: 30_000))
        checked += 1
      }
    }
    #expect(checked > 2)
    #expect(try volume.information().state == "sound")
    #expect(!volume.log.contains("critical") && !volume.log.contains("error:"), "\(volume.log)")
    try (root / "kept").unseal()
    try (root / "long").unseal()
    volume.finish()
  }
}
