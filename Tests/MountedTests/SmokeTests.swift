import Testing

@Suite(.needsMount, .mounted(), .deadline()) struct SmokeTests {
  @Test func aFileReadsBack() throws {
    let folder = try sharedVolume().freshFolder()
    try (folder / "file").create(pattern(10_000))
    #expect(try (folder / "file").contents() == pattern(10_000))
    #expect(try (folder / "file").storedContents() == pattern(10_000))
    try (folder / "file").seal()
    #expect(throws: Errno(26)) { try (folder / "file").truncate(0) }
    #expect(try (folder / "file").holders().count == 1)
    let agent = try Agent(uid: Agent.user)
    #expect(throws: Errno(13)) { try agent.open(folder / "x", 0o101) }
    agent.exit()
  }
}
