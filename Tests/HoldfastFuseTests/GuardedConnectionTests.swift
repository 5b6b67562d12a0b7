import CFuse3
import Glibc
import Testing

@testable import HoldfastFuse

/// What the swap guard answers when the daemon is dead, over a socket in the kernel's place.
@Suite struct GuardedConnectionTests {
  private struct Answer: Equatable {
    var error: Int32
    var unique: UInt64
    var bytes: Int
  }

  /// The answers to these requests, each an opcode and the first word behind its header.
  private func answers(_ requests: [(opcode: UInt32, flags: Int32)]) throws -> [Answer] {
    var ends: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) == 0)
    for (index, request) in requests.enumerated() {
      var bytes = [UInt8](repeating: 0, count: 48)
      bytes.withUnsafeMutableBytes {
        $0.storeBytes(of: 48, as: UInt32.self)
        $0.storeBytes(of: request.opcode, toByteOffset: 4, as: UInt32.self)
        $0.storeBytes(of: UInt64(index + 1), toByteOffset: 8, as: UInt64.self)
        $0.storeBytes(of: request.flags, toByteOffset: 40, as: Int32.self)
      }
      try #require(send(ends[0], bytes, bytes.count, 0) == 48)
    }
    // The mount is gone.
    shutdown(ends[0], Int32(SHUT_WR))
    GuardedConnection.serve(ends[1])
    close(ends[1])
    defer { close(ends[0]) }
    var found: [Answer] = []
    var bytes = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = recv(ends[0], &bytes, bytes.count, 0)
      guard count > 0 else { return found }
      bytes.withUnsafeBytes {
        #expect($0.load(as: UInt32.self) == UInt32(count))
        found.append(
          Answer(
            error: $0.load(fromByteOffset: 4, as: Int32.self), unique: $0.load(fromByteOffset: 8, as: UInt64.self),
            bytes: count))
      }
    }
  }

  @Test func swapFilesOpenAndClose() throws {
    let found = try answers([(14, O_RDWR), (18, 0), (29, 0), (38, 0)])
    #expect(found.map(\.error) == [0, 0, 0, 0])
    #expect(found.map(\.unique) == [1, 2, 3, 4])
    #expect(found.map(\.bytes) == [32, 16, 16, 16])
  }

  @Test func everythingElseIsWithoutADaemon() throws {
    let requests: [(UInt32, Int32)] = [
      (14, O_RDONLY), (14, O_RDWR | O_TRUNC), (1, 0), (3, 0), (15, 0), (16, 0), (20, 0), (37, 0),
    ]
    let found = try answers(requests)
    #expect(found == (1...requests.count).map { Answer(error: -ENOTCONN, unique: UInt64($0), bytes: 16) })
  }

  @Test func whatHasNoAnswerGetsNone() throws {
    #expect(try answers([(2, 0), (42, 0), (36, 0), (18, 0)]).map(\.unique) == [4])
  }
}
