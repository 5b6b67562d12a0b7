import HoldfastCommand
import Testing

@Suite struct PrintableTextTests {
  @Test(arguments: [
    ("plain grüße 雪", "plain grüße 雪"), ("", ""), ("a\nb\r", #"a\x0ab\x0d"#), ("\u{1b}[31m", #"\x1b[31m"#),
    ("\u{7f}\u{85}", #"\x7f\x85"#), (#"a\x"#, #"a\\x"#), ("a\u{202e}b", #"a\u{202e}b"#), ("\u{2028}", #"\u{2028}"#),
  ])
  func escapes(_ text: String, _ expected: String) { #expect(text.printable == expected) }

  /// The shell itself says what the word is.
  @Test(arguments: ["plain", "/mnt/a b", "it's", "a\nb", "\u{1b}[0m'\\", "", "$HOME `x`", "grüße", "-n"])
  func aShellReadsTheWordBack(_ text: String) throws {
    try inTemporaryFolder { folder in
      try TextFile.write("printf '%s.' " + text.shellQuoted, to: folder + "/script")
      let shell = try Shell("bash \(folder)/script")
      #expect(shell.output == text + "." && shell.status == 0)
    }
  }

  @Test(
    arguments: [
      ("TERM", 15), ("SIGUSR1", 10), ("usr2", 12), ("sighup", 1), ("1", 1), ("64", 64), ("SYS", 31),
      ("0", nil), ("65", nil), ("-1", nil), ("", nil), ("SIG", nil), ("NOPE", nil), ("15 ", nil),
    ] as [(String, Int32?)])
  func signals(_ text: String, _ number: Int32?) {
    #expect(SignalName(text)?.number == number)
  }

  @Test func signalNames() {
    #expect(SignalName("15")?.description == "SIGTERM" && SignalName("34")?.description == "signal 34")
  }
}
