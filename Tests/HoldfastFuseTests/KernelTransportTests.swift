import Testing

@testable import HoldfastFuse

/// Requests and replies as the kernel's ABI lays them out.
@Suite struct KernelTransportTests {
  /// A request of `opcode` with `body`.
  private func request(_ opcode: UInt32, unique: UInt64 = 7, _ body: [UInt8]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 40) + body
    bytes.withUnsafeMutableBytes {
      $0.storeBytes(of: UInt32(40 + body.count), as: UInt32.self)
      $0.storeBytes(of: opcode, toByteOffset: 4, as: UInt32.self)
      $0.storeBytes(of: unique, toByteOffset: 8, as: UInt64.self)
    }
    return bytes
  }

  private func words(_ values: UInt32...) -> [UInt8] { values.flatMap { withUnsafeBytes(of: $0) { Array($0) } } }

  private func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
  }

  private func rewrite(_ transport: KernelTransport, _ bytes: inout [UInt8]) {
    let count = bytes.withUnsafeMutableBytes { transport.rewriteRequest($0.baseAddress!, count: $0.count) }
    bytes.removeLast(bytes.count - count)
  }

  /// A transport after INIT with a kernel that offers `flags` and `flags2`; and the reply as completed.
  private func negotiated(_ flags: UInt32, _ flags2: UInt32, reply: UInt32 = 0x1) -> (KernelTransport, [UInt8]) {
    let transport = KernelTransport()
    var initialize = request(26, unique: 2, words(7, 45, 131072, flags, flags2))
    rewrite(transport, &initialize)
    var header = words(80, 0, 2, 0)
    var body = words(7, 31, 131072, reply) + [UInt8](repeating: 0, count: 48)
    let isInit = header.withUnsafeMutableBytes { header in
      body.withUnsafeMutableBytes {
        transport.completeReply(header: header.baseAddress!, body: $0.baseAddress!, bodyBytes: $0.count)
      }
    }
    #expect(isInit)
    return (transport, body)
  }

  @Test func initReplyGetsWhatTheKernelOffered() {
    let (transport, reply) = negotiated(1 << 28 | 1 << 29 | 1 << 30, 1 << 4)
    #expect(transport.added == .wanted)
    // Bit 36, shared mappings of direct_io opens, was offered too, and is not wanted (decision 9).
    #expect(word(reply, 12) == 0x1 | 1 << 28 | 1 << 29)
    #expect(word(reply, 32) == 0)
  }

  @Test func anOldKernelGetsNothingItDidNotOffer() {
    // flags2 means something only with INIT_EXT.
    let (transport, reply) = negotiated(1 << 28, 0xffff_ffff)
    #expect(transport.added == .handleKillPrivilegesV2)
    #expect(word(reply, 12) == 0x1 | 1 << 28)
    #expect(word(reply, 32) == 0)
    let (older, plain) = negotiated(0x3ff, 0)
    #expect(older.added == [])
    #expect(word(plain, 12) == 0x1)
  }

  @Test func otherRepliesAreLeftAlone() {
    let transport = KernelTransport()
    var initialize = request(26, unique: 2, words(7, 45, 0, 1 << 28, 0))
    rewrite(transport, &initialize)
    var body = [UInt8](repeating: 0, count: 64)
    for header in [words(80, 0, 3, 0), words(16, UInt32(bitPattern: -71), 2, 0)] {
      let isInit = header.withUnsafeBytes { header in
        body.withUnsafeMutableBytes {
          transport.completeReply(header: header.baseAddress!, body: $0.baseAddress!, bodyBytes: $0.count)
        }
      }
      #expect(!isInit)
    }
    #expect(body.allSatisfy { $0 == 0 })
  }

  @Test func initializedIsToldOnce() {
    let (transport, _) = negotiated(0, 0)
    var calls = 0
    transport.onInitialized = { calls += 1 }
    #expect(!transport.isInitialized)
    transport.initialized()
    #expect(transport.isInitialized && calls == 1)
  }

  @Test func tmpfileBecomesCreate() {
    let body = words(0o20100002, 0o100644, 0o22, 0) + [UInt8(ascii: "/"), 0]
    var bytes = request(51, body)
    rewrite(KernelTransport(), &bytes)
    #expect(bytes == request(35, body))
  }

  @Test func writeCarriesTheWishToDropPrivileges() {
    for (flags, carried) in [(UInt32(0), false), (0x1, false), (0x4, true), (0x5, true)] {
      // fh, offset, size, write_flags, lock_owner, flags, padding; data
      var bytes = request(16, words(1, 0, 0, 0, 3, flags, 9, 9, 0x8001, 0) + [1, 2, 3])
      let before = bytes
      rewrite(KernelTransport(), &bytes)
      #expect(word(bytes, 40 + 32) == (carried ? 0x8001 | 1 << 30 : 0x8001))
      #expect(bytes[80...] == before[80...] && bytes[..<72] == before[..<72])
    }
  }

  @Test func openCarriesItToo() {
    var bytes = request(14, words(0x8201, 1))
    rewrite(KernelTransport(), &bytes)
    #expect(word(bytes, 40) == 0x8201 | 1 << 30)
    bytes = request(14, words(0x8201, 0))
    rewrite(KernelTransport(), &bytes)
    #expect(word(bytes, 40) == 0x8201)
  }

  @Test func extendedSetXattrIsShortened() {
    let rest = Array("user.a\0value".utf8)
    let (transport, _) = negotiated(1 << 29, 0)
    var bytes = request(21, words(5, 2, 1, 0) + rest)
    rewrite(transport, &bytes)
    #expect(bytes == request(21, words(5, 2 | 1 << 30) + rest))
    bytes = request(21, words(5, 2, 0, 0) + rest)
    rewrite(transport, &bytes)
    #expect(bytes == request(21, words(5, 2) + rest))
    // Not negotiated: the short form comes as it is.
    bytes = request(21, words(5, 2) + rest)
    rewrite(KernelTransport(), &bytes)
    #expect(bytes == request(21, words(5, 2) + rest))
  }

  @Test func whatIsTooShortIsNotTouched() {
    let transport = KernelTransport()
    for opcode: UInt32 in [14, 16, 21, 26, 51] {
      for length in 0..<16 where opcode != 51 {
        var bytes = request(opcode, [UInt8](repeating: 0xff, count: length))
        let before = bytes
        if opcode == 14, length >= 8 { continue }
        rewrite(transport, &bytes)
        #expect(bytes == before)
      }
      var stub = Array(request(opcode, []).prefix(20))
      rewrite(transport, &stub)
      #expect(stub.count == 20)
    }
  }
}
