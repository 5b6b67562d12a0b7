/// Little memory: a volume whose metadata is far larger than its cache, and a daemon that gets no more.

import CMountedSupport
import Glibc
import Testing

@Suite("Faults: little memory", .needsMount, .deadline(seconds: 120))
struct MemoryTests {
  /// A line of /proc/PID/status, in KiB.
  private func kibibytes(_ name: String, of process: pid_t) throws -> Int {
    let status = try Path("/proc/\(process)/status").contentsOfStream()
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("\(name):") })
    return Int(line.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]) ?? 0
  }

  /// Names of files, so many that their metadata is some twenty times the smallest cache.
  private static let files = 40_000

  /// What the daemon may take beside its cache, in MiB: 16 workers' buffers of 2 MiB each; pending mutations, a journal
  /// record and a checkpoint's buffers, a few MiB; what the kernel looked up, some hundred bytes an inode; the program.
  private static let allowance = 96

  @Test func metadataFarLargerThanTheCache() throws {
    let volume = try Volume(mebibytes: 128)
    defer { volume.remove() }
    try volume.mount("cache=1M")
    let folder = volume.root / "many"
    try folder.makeDirectory()
    for index in 0..<Self.files {
      try (folder / "a-name-of-some-length-\(index)").open(O_CREAT | O_WRONLY).close()
    }
    try volume.sync()
    try volume.remount("cache=1M")
    let before = try kibibytes("VmRSS", of: volume.daemon)
    #expect(try folder.names().count == Self.files + 2)
    // Every name once, far from the one before; some are changed.
    for index in 0..<Self.files {
      let path = folder / "a-name-of-some-length-\(index * 7919 % Self.files)"
      if index % 4 == 0 { try path.changeMode(0o600) } else { _ = try path.status() }
    }
    let most = try kibibytes("VmHWM", of: volume.daemon)
    #expect(most < (1 + Self.allowance) << 10, "\(before) KiB after the mount, at most \(most) KiB")
    for index in 0..<Self.files where index % 2 == 0 { try (folder / "a-name-of-some-length-\(index)").unlink() }
    #expect(try folder.names().count == Self.files / 2 + 2)
    #expect(try kibibytes("VmHWM", of: volume.daemon) < (1 + Self.allowance) << 10)
    volume.finish()
  }

  /// The daemon can have no more memory than it has: it goes on or dies; either way nothing synced is lost.
  @Test func memoryRunsOut() throws {
    let volume = try Volume(mebibytes: 64)
    defer { volume.remove() }
    try volume.mount()
    let kept = volume.root / "kept"
    try kept.create(pattern(300_000))
    let size = try kibibytes("VmSize", of: volume.daemon)
    let limit = try run(["prlimit", "--pid", "\(volume.daemon)", "--as=\(size << 10)"])
    #expect(limit.status == 0, "\(limit.errors)")
    // New threads, buffers, nodes: whatever it asks for now it does not get.
    let script = """
      for i in $(seq 1 300); do
        mkdir -p \(volume.root.text)/$0 && head -c 200000 /dev/zero > \(volume.root.text)/$0/$i && setfattr -n user.x -v $i \(volume.root.text)/$0/$i
        cat \(kept.text) > /dev/null || exit 1
      done 2>/dev/null
      """
    let workers = try (0..<6).map { try Child(["sh", "-c", script, "folder-\($0)"]) }
    for worker in workers { _ = worker.wait(seconds: 60) }
    if kill(volume.daemon, 0) == 0, (try? volume.root.statistics()) != nil {
      #expect(try kept.contents() == pattern(300_000))
      _ = try run(["prlimit", "--pid", "\(volume.daemon)", "--as=unlimited"])
      try volume.unmount()
    } else {
      _ = hmt_umount(volume.mountPoint, 1)
    }
    let check = try volume.fsck()
    #expect(check.status == 0, "\(check.output)\(check.errors)")
    try volume.mount()
    #expect(try kept.contents() == pattern(300_000))
    volume.finish()
  }
}
