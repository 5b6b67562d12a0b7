import Glibc
import HoldfastCommand
import Testing

/// The built command, without a mount: what it prints, its exit status, and that bad input changes nothing.
@Suite(.enabled(if: Shell.command != nil, "the command is not built beside the tests"))
struct CommandLineTests {
  private let command = Shell.command ?? ""

  private func run(_ arguments: String) throws -> Shell { try Shell("\(command) \(arguments)") }

  /// One line on stderr that begins with the command's name, and this exit status.
  private func expectRefusal(_ arguments: String, status: Int32, _ words: String...) throws {
    let shell = try run(arguments)
    #expect(shell.status == status, "\(arguments): \(shell.output)")
    #expect(shell.output.hasPrefix("holdfast: ") && !shell.output.contains("\n"), "\(shell.output)")
    for word in words { #expect(shell.output.contains(word), "\(arguments): \(shell.output)") }
  }

  @Test func makesChecksAndDescribes() throws {
    try inTemporaryFolder { folder in
      let image = folder + "/a.img"
      let made = try run("mkfs \(image) --size 32M --label 'grüße'")
      #expect(made.status == 0 && made.output.contains("grüße") && made.output.contains("32 MiB"), "\(made.output)")
      let checked = try run("fsck \(image)")
      #expect(checked.status == 0 && checked.output.hasSuffix("clean"), "\(checked.output)")
      for line in ["fsck \(image) --json", "info \(image) --json"] {
        let shell = try run(line)
        #expect(shell.status == 0 && shell.output.hasPrefix("{") && shell.output.hasSuffix("}"), "\(shell.output)")
      }
      #expect(try run("info \(image)").output.contains("33554432 (32 MiB)"))
      let picture = try run("map \(image) --svg -")
      #expect(picture.status == 0 && picture.output.hasSuffix("</svg>"))
      try expectRefusal("mkfs \(image)", status: 1, "Holdfast filesystem", "--force")
      #expect(try run("mkfs \(image) --force").status == 0)
    }
  }

  /// A label is its maker's choice; a terminal must not obey it. In JSON it is escaped as JSON does.
  @Test func labelsDoNotReachTheTerminal() throws {
    try inTemporaryFolder { folder in
      let image = folder + "/a.img"
      let made = try run("mkfs \(image) --size 32M --label \"$(printf 'a\\033[31mb')\"")
      #expect(made.status == 0 && made.output.contains(#"a\x1b[31mb"#), "\(made.output)")
      let shown = try run("info \(image)")
      #expect(shown.output.contains(#"a\x1b[31mb"#) && !shown.output.utf8.contains(0x1b), "\(shown.output)")
    }
  }

  @Test func mkfsRefusesAndLeavesAlone() throws {
    try inTemporaryFolder { folder in
      let image = folder + "/b.img"
      try expectRefusal("mkfs \(image)", status: 1, "--size")
      try expectRefusal("mkfs \(image) --size 1M", status: 1, "too small", "16 MiB")
      for size in ["1.5G", "-1", "1KB", "99999999999T", "''", "G"] {
        try expectRefusal("mkfs \(image) --size=\(size)", status: 64, "--size")
      }
      try expectRefusal("mkfs \(image) --size 32M --journal-size 1K", status: 64, "--journal-size")
      try expectRefusal("mkfs \(image) --size 32M --label \(String(repeating: "x", count: 65))", status: 64, "64 bytes")
      try expectRefusal("mkfs \(folder)", status: 1, "directory")
      try expectRefusal("mkfs /dev/null --size 32M", status: 1, "neither")
      #expect(access(image, F_OK) != 0, "nothing is left behind")
    }
  }

  @Test func whatIsNoImage() throws {
    try inTemporaryFolder { folder in
      let good = folder + "/good.img"
      let zeros = folder + "/zeros"
      let cut = folder + "/cut"
      let empty = folder + "/empty"
      _ = try Shell("truncate -s 32M \(zeros); : > \(empty); mkdir \(folder)/mnt")
      #expect(try run("mkfs \(good) --size 32M").status == 0)
      _ = try Shell("head -c 20M \(good) > \(cut)")
      for path in [zeros, empty] {
        try expectRefusal("info \(path)", status: 1, "not a Holdfast image")
        try expectRefusal("fsck \(path)", status: 8, "not a Holdfast image")
        try expectRefusal("map \(path) --svg \(folder)/out", status: 1, "not a Holdfast image")
        try expectRefusal("mount \(path) \(folder)/mnt", status: 1, "not a Holdfast image")
      }
      try expectRefusal("info \(cut)", status: 1, "cut short")
      try expectRefusal("mount \(cut) \(folder)/mnt", status: 1, "cut short")
      #expect(try run("fsck \(cut)").status == 4)
      try expectRefusal("fsck \(folder)/missing", status: 8, "No such file")
      try expectRefusal("mount \(good) \(good)", status: 1, "not a directory")
      try expectRefusal("mount \(good) \(folder)/missing", status: 1, "No such file")
      #expect(access(folder + "/out", F_OK) != 0)
    }
  }

  @Test func aLockedImageIsBusy() throws {
    try inTemporaryFolder { folder in
      let image = folder + "/a.img"
      #expect(try run("mkfs \(image) --size 32M").status == 0)
      let shell = try Shell("flock -x \(image) \(command) mkfs --force \(image)")
      #expect(shell.status == 1 && shell.output.contains("in use"), "\(shell.output)")
    }
  }

  @Test(arguments: [
    "mount a b -o nonsense", "mount a b -o cache=x", "mount a b -o ro=1", "mount a b -o errors=panic",
  ])
  func mountOptionsAreNamed(_ line: String) throws {
    let option = String(line.split(separator: " ")[4].prefix { $0 != "=" })
    try expectRefusal(line, status: 64, option)
  }

  @Test(arguments: [
    ("", 0), ("help", 0), ("--version", 0), ("mkfs --help", 0), ("nonsense", 64), ("mkfs", 64), ("mkfs a b", 64),
    ("mount a", 64), ("fsck", 16), ("fsck -q x", 16), ("fsck -n -y x", 16), ("hold x", 64), ("hold -- true", 64),
    ("seal", 64), ("seal --name 'a b' x", 64), ("seal --fill --as-is x", 64), ("seal --ttl 0 x", 64),
    ("seal --ttl 99999999999 x", 64), ("seal --grace 3 x", 64), ("seal --breakable --grace 0 x", 64),
    ("seal --signal USR1 --pid 1 x", 64),
    ("seal --signal USR1 --breakable x", 64), ("seal --breakable --pid 1 --signal NOPE x", 64),
    ("seal --breakable --pid 1 --signal 65 x", 64), ("hold --on-recall NOPE x -- true", 64),
    ("hold --pid 1 x -- true", 64), ("seal --range 5 x", 64), ("seal --pid -1 x", 64),
    ("revoke", 64), ("revoke --all --inode 3 x", 64), ("map --json --svg o x", 64),
  ])
  func usage(_ line: String, _ status: Int32) throws {
    let shell = try run(line)
    #expect(shell.status == status, "\(line): \(shell.output)")
    if status != 0 { #expect(!shell.output.contains("\n") && shell.output.hasPrefix("holdfast: "), "\(shell.output)") }
  }

  @Test func everySubcommandHasHelpWithAnExample() throws {
    for name in [
      "mkfs", "mount", "unmount", "fsck", "info", "sync", "seal", "unseal", "hold", "seals", "why", "map", "revoke",
    ] {
      let help = try run("help \(name)")
      #expect(help.status == 0 && help.output.contains("Example"), "\(name)")
    }
  }

  @Test(arguments: ["seal", "unseal", "why", "map", "seals", "revoke"])
  func filesElsewhereAreToldApart(_ name: String) throws {
    try expectRefusal("\(name) /etc/hostname", status: 1, "not a file on a Holdfast mount")
  }
}
