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
      "lifetime":"named","handle_bound":false,"ttl_ms":null,"specification":"hard"},
      {"kind":"hard","range":null,"name":"","pid":42,"uid":0,"command":"sleep","age_ms":10,"generation":3,"handle_bound":true}]
      """)
    let text = Explanation(path: "/a b", size: 10, requests: requests, map: whole).lines.joined(separator: "\n")
    #expect(text.contains("sealed (2 requests)"))
    #expect(text.contains("request 'backup' of uid 7, 65 s old"))
    #expect(text.contains("process 42 (sleep), uid 0, 10 ms old, bound to an open handle"))
    #expect(text.contains("past byte 10"))
    #expect(text.contains("holdfast unseal '/a b' --name backup"))
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

  @Test func nonsenseFromTheDaemonIsAnError() {
    #expect(throws: CommandError.self) { _ = try SealReport.decode(Array("{}".utf8)) }
  }
}
