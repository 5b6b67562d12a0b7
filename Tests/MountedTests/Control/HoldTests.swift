/// The command on a mount: hold, seal, why, seals, revoke, map, info, sync; its exit statuses and its one line of error.

import CMountedSupport
import Glibc
import Testing

@Suite("Control: the command", .needsMount, .mounted(), .deadline())
struct HoldTests {
  private func file(_ name: String = "file") throws -> Path {
    let path = try sharedVolume().freshFolder() / name
    try path.create(pattern(10_000))
    return path
  }

  @Test func holdEndsWithItsCommand() throws {
    let path = try file()
    let inside = try holdfast("hold", path.text, "--", "sh", "-c", "truncate -s 0 \(path) 2>/dev/null; exit 7")
    #expect(inside.status == 7)
    #expect(try path.contents() == pattern(10_000))
    #expect(try eventually { try path.sealCount() == 0 })
    #expect(try holdfast("hold", path.text, "--", "true").status == 0)
    #expect(try holdfast("hold", path.text, "--", "false").status == 1)
    #expect(try holdfast("hold", path.text, "--", "sh", "-c", "kill -KILL $$").status == 128 + 9)
    #expect(try holdfast("hold", path.text, "--", "/no/such/program").status == 127)
  }

  @Test func holdSealsWhileItRuns() throws {
    let (path, other) = (try file(), try file())
    let child = try Child([TestEnvironment.holdfast, "hold", path.text, other.text, "--", "sleep", "60"])
    #expect(try eventually(within: 20) { try path.sealCount() == 1 && other.sealCount() == 1 })
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    #expect(try path.holders().first?.pid == child.pid)
    // SIGTERM reaches the command, whose end is told.
    child.signal(SIGTERM)
    #expect(child.wait(seconds: 20) == 128 + SIGTERM)
    #expect(try eventually { try path.sealCount() == 0 && other.sealCount() == 0 })
  }

  @Test(arguments: [SIGHUP, SIGINT, SIGUSR1])
  func holdForwards(_ signal: Int32) throws {
    let path = try file()
    let mark = Path(try sharedVolume().folder + "/mark-\(signal)")
    let script = "trap 'exit 42' HUP INT USR1; : > \(mark); while :; do sleep 0.05; done"
    let child = try Child([TestEnvironment.holdfast, "hold", path.text, "--", "sh", "-c", script])
    #expect(eventually(within: 20) { mark.exists })
    child.signal(signal)
    #expect(child.wait(seconds: 20) == 42)
  }

  /// kill -9 of hold itself: its command has the handle too and goes on holding.
  @Test func killedHold() throws {
    let path = try file()
    let child = try Child([TestEnvironment.holdfast, "hold", path.text, "--", "sleep", "5"])
    #expect(try eventually(within: 20) { try path.sealCount() == 1 })
    usleep(300_000)
    child.signal(SIGKILL)
    _ = child.wait(seconds: 10)
    #expect(try path.sealCount() == 1)
    #expect(try eventually(within: 30) { try path.sealCount() == 0 })
  }

  @Test func holdOfWhatCannotBeSealed() throws {
    let path = try file()
    try path.truncate(100_000)
    let mark = path.text + "-mark"
    let result = try holdfast("hold", path.text, "--", "touch", mark)
    #expect(result.status == 1)
    #expect(result.errors.hasPrefix("holdfast: \(path):") && result.errors.contains("hole"))
    #expect(result.errors.split(separator: "\n").count == 1)
    #expect(!Path(mark).exists)
    #expect(try holdfast("hold", "--as-is", path.text, "--", "true").status == 0)
    #expect(try holdfast("hold", "--fill", path.text, "--", "true").status == 0)
    #expect(try holdfast("hold", path.text, "--", "true").status == 0)
  }

  /// `seals --json`.
  private struct Listing: Decodable { var requests: [Holder] }

  @Test func sealingAndExplaining() throws {
    let path = try file()
    #expect(try holdfast("seal", path.text, "--name", "rdma", "--ttl", "600").status == 0)
    #expect(try path.holders().map(\.name) == ["rdma"])
    let why = try holdfast("why", path.text)
    #expect(why.status == 0)
    #expect(why.output.contains("rdma") && why.output.contains("truncating"), "\(why.output)")
    let seals = try holdfast("seals", path.text, "--json")
    #expect(try decoded(Array(seals.output.utf8), as: Listing.self).requests.first?.name == "rdma")
    let all = try holdfast("seals", sharedVolume().mountPoint, "--json")
    #expect(try decoded(Array(all.output.utf8), as: Listing.self).requests.contains { $0.name == "rdma" })
    #expect(try holdfast("unseal", path.text).status == 1)
    #expect(try holdfast("unseal", path.text, "--name", "rdma").status == 0)
    #expect(try path.sealCount() == 0)
    try path.seal(name: "a")
    try path.seal(name: "b")
    #expect(try holdfast("revoke", path.text, "--name", "a").status == 0)
    #expect(try path.holders().map(\.name) == ["b"])
    #expect(try holdfast("revoke", path.text).status == 0)
    #expect(try path.sealCount() == 0)
  }

  @Test func mapsAndInformation() throws {
    let path = try file()
    let map = try holdfast("map", path.text)
    #expect(map.status == 0 && map.output.contains("written"))
    #expect(try holdfast("map", path.text, "--json").output.first == "{")
    #expect(try holdfast("info", sharedVolume().mountPoint).output.contains("pid"))
    #expect(try holdfast("sync", sharedVolume().mountPoint).status == 0)
    let picture = try sharedVolume().folder + "/map.svg"
    #expect(try holdfast("map", sharedVolume().mountPoint, "--svg", picture).status == 0)
    #expect(try Path(picture).contentsOfStream().contains("<svg"))
  }

  /// One line, `holdfast: what: why`, and exit status 1.
  @Test(arguments: [
    ["seal", "%/none"], ["seal", "%"], ["unseal", "%/file"], ["hold", "%/none", "--", "true"],
    ["seals", "/etc/passwd"],
    ["seal", "/etc/passwd"], ["why", "/etc/passwd"], ["map", "/etc/passwd"], ["revoke", "/etc/passwd"],
    ["unmount", "/etc"], ["sync", "/etc"], ["info", "/no/such/image"], ["seal", "--pid", "999999999", "%/file"],
  ])
  func errorsAreOneLine(_ arguments: [String]) throws {
    let folder = try sharedVolume().freshFolder()
    try (folder / "file").create([1])
    let words = arguments.map { $0.replacing("%", with: folder.text) }
    let result = try run([TestEnvironment.holdfast] + words)
    #expect(result.status == 1, "\(words): \(result.errors)")
    #expect(result.errors.hasPrefix("holdfast: "), "\(words): \(result.errors)")
    #expect(result.errors.split(separator: "\n").count == 1, "\(words): \(result.errors)")
    #expect(result.errors.split(separator: ":").count >= 3, "\(words): \(result.errors)")
  }

  @Test(arguments: [
    ["seal"], ["seal", "--ttl", "0", "x"], ["seal", "--ttl", "abc", "x"], ["seal", "--name", "a.b", "x"], ["nonsense"],
    ["seal", "--range", "5", "x"], ["seal", "--nonsense", "x"], ["hold", "x"], ["seal", "--pid", "0", "x"],
    ["seal", "--fill", "--as-is", "x"], ["mount", "a"], ["mkfs", "x", "--size", "12Q"], ["mkfs", "x", "--size", "-5"],
    ["mkfs", "x", "--size", ""], ["mkfs", "x", "--size", "99999999999T"],
  ])
  func badUsage(_ arguments: [String]) throws {
    let result = try run([TestEnvironment.holdfast] + arguments)
    #expect(result.status == 64, "\(arguments): \(result.errors)")
    #expect(!result.errors.isEmpty)
  }
}
