import HoldfastClient
import HoldfastCommand
import Testing

@Suite struct ExplanationTests {
  private let whole = FileMap(generation: 1, extents: [MappedExtent(logical: 0, physical: 1 << 20, length: 8192)])

  private func reports(_ json: String) throws -> [SealReport] { try SealReport.decode(Array(json.utf8)) }

  @Test func unsealedAndSealable() {
    let lines = Explanation(path: "/f", size: 8192, requests: [], map: whole).lines
    #expect(lines == ["/f: not sealed", "it could be sealed as it stands"])
  }

  @Test func defects() {
    #expect(whole.firstDefect(size: 8192) == nil)
    #expect(whole.firstDefect(size: 8000) == nil)
    #expect(whole.firstDefect(size: 8193) == .init(kind: .hole, offset: 8192, length: 4096))
    #expect(FileMap(generation: 1, extents: []).firstDefect(size: 0) == nil)
    var map = whole
    map.extents.append(MappedExtent(logical: 8192, physical: 0, length: 4096, isUnwritten: true))
    #expect(map.firstDefect(size: 8192) == nil, "preallocation beyond the end is no reason")
    #expect(map.firstDefect(size: 9000) == .init(kind: .unwritten, offset: 8192, length: 4096))
    map.extents.removeFirst()
    #expect(map.firstDefect(size: 9000) == .init(kind: .hole, offset: 0, length: 8192))
    let lines = Explanation(path: "/f", size: 9000, requests: [], map: map).lines
    #expect(lines[1].contains("a hole at byte 0, 8192 bytes long"))
    #expect(lines[2].contains("--fill"))
  }

  @Test func sealedFileNamesHolders() throws {
    let requests = try reports(
      """
      [{"inode":17,"kind":"hard","range":null,"name":"backup","pid":0,"uid":7,"command":"","age_ms":65000,"generation":3,
      "lifetime":"name","handle_bound":false,"ttl_ms":null,"specification":"hard"},
      {"kind":"hard","range":null,"name":"","pid":42,"uid":0,"command":"sleep","age_ms":10,"generation":3,"lifetime":"handle","handle_bound":true}]
      """)
    let text = Explanation(path: "/a b", size: 10, requests: requests, map: whole).lines.joined(separator: "\n")
    #expect(text.contains("sealed (2 requests)"))
    #expect(text.contains("request 'backup' of uid 7, 65 s old"))
    #expect(text.contains("process 42 (sleep), uid 0, 10 ms old, bound to an open handle"))
    #expect(text.contains("past byte 10"))
    #expect(text.contains("holdfast unseal '/a b' --name backup"))
  }

  @Test func theKernelIsAHolder() throws {
    let requests = try reports(
      #"[{"kind":"hard","range":null,"name":"","pid":42,"uid":0,"command":"swapon","age_ms":1,"lifetime":"kernel"}]"#)
    let text = Explanation(path: "/f", size: 8192, requests: requests, map: whole).lines.joined(separator: "\n")
    #expect(text.contains("of the kernel (bmap), asked by process 42 (swapon)"))
    #expect(text.contains("to release it: swapoff /f"))
    #expect(requests[0].lifetime == .kernel)
  }

  @Test func aLayoutIsNamedAsOne() throws {
    let requests = try reports(
      #"[{"kind":"breakable","layout":"shared write","range":null,"name":"","pid":42,"uid":0,"command":"db","age_ms":1}]"#
    )
    let text = Explanation(path: "/f", size: 8192, requests: requests, map: whole).lines.joined(separator: "\n")
    #expect(text.contains("breakable layout (shared write) on the whole file"))
    #expect(try reports(#"[{"kind":"hard","layout":null,"range":null,"name":"","pid":1,"uid":0}]"#)[0].thing == "seal")
  }

  @Test func rangesAndOtherReasons() throws {
    let requests = try reports(
      #"[{"kind":"hard","range":{"offset":4096,"length":4096},"name":"p","pid":0,"uid":0,"age_ms":1}]"#)
    var explanation = Explanation(path: "/f", size: 8192, requests: requests, map: whole)
    explanation.runners = [RunningProgram(pid: 9, command: "prog")]
    explanation.isImmutable = true
    let text = explanation.lines.joined(separator: "\n")
    #expect(text.contains("bytes 4096 to 8191"))
    #expect(text.contains("process 9 (prog) is running it"))
    #expect(text.contains("chattr -i"))
  }

  /// The line that begins so.
  private func line(_ beginning: String, _ explanation: Explanation) throws -> String {
    try #require(explanation.lines.first { $0.drop { $0 == " " }.hasPrefix(beginning) }, "\(explanation.lines)")
  }

  @Test func everyOperationUnderAPin() throws {
    let requests = try reports(
      #"[{"kind":"hard","range":{"offset":4096,"length":8192},"name":"p","pid":0,"uid":0,"lifetime":"name"}]"#)
    let map = FileMap(generation: 1, extents: [MappedExtent(logical: 0, physical: 1 << 20, length: 1 << 20)])
    let explanation = Explanation(path: "/f", size: 1 << 20, requests: requests, map: map)
    #expect(try line("1.", explanation).contains("hard pin on bytes 4096 to 12287"))
    #expect(try line("overwriting", explanation).hasSuffix("  allowed"))
    #expect(try line("writing or appending", explanation).hasSuffix("  allowed"))
    #expect(try line("truncating to less", explanation).hasSuffix("refused to less than 12288 bytes (1)"))
    #expect(try line("truncating to more", explanation).hasSuffix("  allowed"))
    #expect(try line("punching", explanation).hasSuffix("refused in bytes 4096 to 12287 (1)"))
    #expect(try line("preallocating", explanation).hasSuffix("refused in bytes 4096 to 12287 (1)"))
    #expect(!explanation.lines.contains { $0.contains("waits") }, "nobody waits for a hard pin")
    // A pin of the last block, and one that reaches beyond it.
    var last = explanation
    last.size = 12000
    #expect(try line("truncating to less", last).hasSuffix("  refused (1)"))
    #expect(try line("writing or appending", last).hasSuffix("  allowed"))
    last.size = 8192
    #expect(try line("writing or appending", last).hasSuffix("refused in bytes 8192 to 12287 (1)"))
  }

  @Test func breakableRequestsMakeWait() throws {
    var requests = try reports(
      """
      [{"kind":"breakable","range":null,"name":"","pid":42,"uid":7,"command":"warm\\u001b[2Jer","lifetime":"handle",
      "recall_ms":null,"ttl_ms":50000,"specification":"breakable=30"}]
      """)
    var explanation = Explanation(path: "/f", size: 8192, requests: requests, map: whole)
    #expect(try line("truncating to less", explanation).hasSuffix("  waits up to 30 s for (1), then fences it"))
    #expect(try line("truncating to more", explanation).hasSuffix("  waits up to 30 s for (1), then fences it"))
    #expect(try line("overwriting", explanation).hasSuffix("  allowed"))
    #expect(try line("waits:", explanation).contains("EAGAIN"))
    #expect(try line("1.", explanation).contains(#"process 42 (warm\x1b[2Jer), uid 7"#), "control bytes are escaped")
    #expect(try line("1.", explanation).hasSuffix("; ttl 50 s left"))
    #expect(!explanation.lines.contains { $0.hasPrefix("refused:") || $0.hasPrefix("a recall") })

    requests[0].recallMilliseconds = 4_000
    explanation.requests = requests
    #expect(try line("truncating to less", explanation).contains("waits up to 4 s"))
    #expect(try line("1.", explanation).contains("; recalled, 4 s left"))
    #expect(try line("a recall is under way", explanation).contains("nobody may seal"))

    // A hard pin refuses where it is, at once; elsewhere the breakable one is asked.
    explanation.requests += try reports(
      #"[{"kind":"hard","range":{"offset":0,"length":4096},"name":"p","pid":0,"uid":0,"lifetime":"name"}]"#)
    #expect(
      try line("punching", explanation).hasSuffix(
        "refused in bytes 0 to 4095 (2); elsewhere waits up to 4 s for (1), then fences it"))
    #expect(
      try line("truncating to less", explanation).hasSuffix(
        "refused to less than 4096 bytes (2); elsewhere waits up to 4 s for (1), then fences it"))
    explanation.requests += try reports(#"[{"kind":"hard","range":null,"name":"s","pid":0,"uid":0,"lifetime":"name"}]"#)
    #expect(try line("punching", explanation).hasSuffix("  refused (3)"), "a hard seal refuses and recalls nobody")
  }

  @Test func leasesAndUnknownLifetimes() throws {
    let requests = try reports(
      """
      [{"kind":"hard","range":null,"name":"","pid":0,"uid":0,"lifetime":"lease"},
      {"kind":"hard","range":null,"name":"n","pid":0,"uid":5,"lifetime":"moon\\u0007phase"}]
      """)
    let explanation = Explanation(path: "/f", size: 8192, requests: requests, map: whole)
    #expect(try line("1.", explanation).contains("of a process not known, by a lease on the image"))
    #expect(try line("2.", explanation).contains(#"bound to: moon\x07phase"#))
    let text = explanation.lines.joined(separator: "\n")
    #expect(text.contains("/proc/locks") && text.contains("kept from everybody: holdfast revoke /f"))
    #expect(text.contains("uid 5 runs holdfast unseal /f --name n"))
  }

  @Test func tenThousandPinsStayReadable() throws {
    let pins = (0..<10_000).map {
      #"{"kind":"hard","range":{"offset":\#($0 * 8192),"length":4096},"name":"n\#($0)","pid":0,"uid":\#($0),"lifetime":"name"}"#
    }
    let requests = try reports("[\(pins.joined(separator: ","))]")
    let lines = Explanation(path: "/f", size: 1 << 30, requests: requests, map: nil).lines
    #expect(lines.count < 70)
    #expect(lines.contains { $0.contains("and 9980 more: holdfast seals /f") })
    #expect(lines.contains { $0.contains("and 9996 more ranges") })
  }

  @Test func aStoppedVolumeComesFirst() throws {
    var explanation = Explanation(path: "/f", size: 8192, requests: [], map: whole)
    explanation.volume = VolumeState(json: Array(#"{"state":"sound","failure":"","pid":3}"#.utf8))
    #expect(explanation.lines[0] == "/f: not sealed")
    explanation.volume = VolumeState(json: Array(#"{"state":"read-only","failure":"device: \u0007"}"#.utf8))
    #expect(explanation.lines[0].contains("became read-only after an error (device: \\x07)"))
    explanation.volume = VolumeState(state: "shut-down", failure: "x")
    #expect(explanation.lines[0].contains("shut down after an error (x)"))
    #expect(VolumeState(json: Array("[]".utf8)) == nil)
  }

  @Test func theLastRefusal() throws {
    var explanation = Explanation(path: "/f", size: 8192, requests: [], map: whole)
    let json =
      #"{"change":"truncate","pid":9,"uid":7,"age_ms":3000,"request":{"name":"db","uid":0,"pid":4}}"#
    explanation.lastRefusal = RefusalReport(json: Array(json.utf8))
    #expect(
      explanation.lines.last
        == "last refused: truncating by process 9, uid 7, 3 s ago, because of request 'db' of uid 0, taken by process 4"
    )
  }

  @Test func nonsenseFromTheDaemonIsAnError() {
    #expect(throws: CommandError.self) { _ = try SealReport.decode(Array("{}".utf8)) }
  }
}
