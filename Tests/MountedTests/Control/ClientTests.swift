/// The module HoldfastClient on a mount: pins, and a holder that hears of its recall.

import Glibc
import HoldfastClient
import Testing

@Suite("Control: the Swift module", .needsMount, .mounted(), .deadline())
struct ClientTests {
  private func file() throws -> String {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(100_000))
    return path.text
  }

  private var breakable: SealRequest {
    var request = SealRequest()
    request.kind = .breakable(graceSeconds: 3600)
    return request
  }

  private func truncating(_ path: String) throws -> Child {
    try Child(["perl", "-e", "truncate($ARGV[0], 0) or exit 1", path])
  }

  @Test func aHolderHearsOfItsRecall() throws {
    let path = try file()
    let file = try OpenFile(path)
    try file.seal(breakable)
    #expect(try file.waitForRecall(timeoutMilliseconds: 0) == .notRecalled)
    let breaker = try truncating(path)
    // Begins before the recall or after it, as it happens.
    guard case .recalled(let left) = try file.waitForRecall() else {
      Issue.record("not recalled")
      return
    }
    #expect(left > 0 && left <= 3_600_000)
    // From now on only its end is news.
    var entry = file.pollEntry(.takenAway)
    #expect(poll(&entry, 1, 0) == 0)
    try file.unseal()
    #expect(breaker.wait(seconds: 30) == 0)
    #expect(try file.recallStatus() == .notRecalled)
    #expect(try file.waitForRecall(timeoutMilliseconds: 0) == .notRecalled)
  }

  @Test func aFencedHolderHearsOfThat() throws {
    let path = try file()
    let file = try OpenFile(path)
    var request = breakable
    request.kind = .breakable(graceSeconds: 1)
    try file.seal(request)
    let breaker = try truncating(path)
    guard case .recalled = try file.waitForRecall() else {
      Issue.record("not recalled")
      return
    }
    var entry = file.pollEntry(.takenAway)
    #expect(poll(&entry, 1, 30_000) == 1 && entry.revents & Int16(POLLERR) != 0)
    #expect(try file.recallStatus() == .takenAway)
    #expect(try file.waitForRecall() == .takenAway)
    #expect(throws: ClientError(.seal, path: path, errno: ESTALE)) { try file.seal(request) }
    #expect(throws: ClientError(.unseal, path: path, errno: ESTALE)) { try file.unseal() }
    #expect(breaker.wait(seconds: 30) == 0)
  }

  @Test func pinsAreReleasedOneByOne() throws {
    let file = try OpenFile(try file())
    var pin = SealRequest()
    pin.range = (0, 4096)
    #expect(try file.seal(pin).sealCount == 1)
    pin.range = (8192, 1)
    #expect(try file.seal(pin).sealCount == 2)
    #expect(try file.unseal(range: (0, 100)).sealCount == 1)
    #expect(throws: ClientError(.unseal, path: file.path, errno: ENODATA)) { try file.unseal(range: (0, 4096)) }
    #expect(try file.unseal(range: (8192, 4096)).sealCount == 0)
  }

  @Test func signalsWantAProcessAndABreakableRequest() throws {
    let file = try OpenFile(try file())
    var request = breakable
    request.signal = 10
    #expect(throws: ClientError(.seal, path: file.path, errno: EINVAL)) { try file.seal(request) }
    request.pid = getpid()
    request.signal = 65
    #expect(throws: ClientError(.seal, path: file.path, errno: EINVAL)) { try file.seal(request) }
    request.signal = 10
    request.name = "mine"
    #expect(try file.seal(request).sealCount == 1)
    #expect(try file.unseal(name: "mine", lifetime: .named).sealCount == 0)
  }

  /// More readers than snapshots: each pushes out another's, and all finish.
  @Test func listingsAreReadByMany() throws {
    let file = try OpenFile(try file())
    for index in 0..<200 {
      var request = SealRequest()
      request.name = "reader-\(index)"
      try file.seal(request)
    }
    let children = try (0..<24).map { _ in try Child([TestEnvironment.holdfast, "seals", file.path, "--json"]) }
    for child in children {
      let result = child.finish()
      #expect(result.status == 0 && result.output.hasSuffix("]}\n"), "\(result.errors)")
    }
  }
}
