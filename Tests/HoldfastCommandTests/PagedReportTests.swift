import Glibc
import HoldfastClient
import Testing

/// Reading a listing page by page from a daemon that drops snapshots.
@Suite struct PagedReportTests {
  /// Hands out `text` in pages of 10 bytes; the calls in `stale` find their snapshot dropped.
  private func read(_ text: String, stale: Set<Int>) throws(ClientError) -> (text: String, calls: Int) {
    let bytes = Array(text.utf8)
    var calls = 0
    let read = try PagedReport.read(.seals, path: "/mnt") { (cookie, offset, out) throws(ClientError) in
      calls += 1
      if cookie != 0 && stale.contains(calls) { throw ClientError(.seals, path: "/mnt", errno: ESTALE) }
      out += bytes.dropFirst(Int(offset)).prefix(10)
      return (7, UInt64(bytes.count))
    }
    return (String(decoding: read, as: UTF8.self), calls)
  }

  private let text = "0123456789abcdefghijklmnopqrstuvwxyz"

  @Test func pagesAreJoined() throws {
    let (read, calls) = try read(text, stale: [])
    #expect(read == text && calls == 4)
    #expect(try self.read("", stale: []).calls == 1)
  }

  @Test func aDroppedSnapshotIsStartedOver() throws {
    let (read, calls) = try read(text, stale: [2, 5, 8])
    #expect(read == text && calls == 2 + 3 + 3 + 4)
  }

  @Test func butNotForEver() {
    #expect(throws: ClientError(.seals, path: "/mnt", errno: ESTALE)) {
      _ = try read(text, stale: Set(1...100_000))
    }
  }

  @Test func aShortAnswerIsAnError() {
    #expect(throws: ClientError(.seals, path: "/mnt", errno: EIO)) {
      _ = try PagedReport.read(.seals, path: "/mnt") { _, _, _ in (1, 100) }
    }
  }
}
