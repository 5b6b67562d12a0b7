/// The fixture itself: a daemon that hangs ends in an aborted connection and a clean machine, not in a hung test.

import CMountedSupport
import Glibc
import Testing

@Suite("Volumes: the watchdog", .needsMount, .deadline())
struct WatchdogTests {
  @Test func aHungDaemonIsAborted() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    try volume.mount()
    let path = volume.root / "file"
    try path.create([1])
    let file = try path.open(O_RDWR)
    defer { file.close() }
    let (daemon, folder) = (volume.daemon, volume.folder)
    kill(daemon, SIGSTOP)
    #expect(try eventually { try Path("/proc/\(daemon)/stat").contentsOfStream().contains(") T ") })
    let watch = Watchdog.shared.watch(volume, seconds: 1, name: "a daemon stopped on purpose")
    defer { Watchdog.shared.end(watch) }
    let start = now()
    #expect(throws: Errno.self) { try file.sync() }
    #expect(now() - start < 30)
    volume.remove()
    #expect(kill(daemon, 0) != 0 || eventually { kill(daemon, 0) != 0 })
    #expect(!Path(folder).exists)
    #expect(try !Path("/proc/self/mounts").contentsOfStream().contains(folder))
  }
}
