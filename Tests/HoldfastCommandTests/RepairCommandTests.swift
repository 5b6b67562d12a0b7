import Glibc
import HoldfastCommand
import Testing

/// `holdfast fsck` with and without -n, -p and -y: exit statuses as fsck(8) wants them, and what is written when.
@Suite(.enabled(if: Shell.command != nil, "the command is not built beside the tests"))
struct RepairCommandTests {
  private let command = Shell.command ?? ""

  private func fsck(_ arguments: String) throws -> Shell { try Shell("\(command) fsck \(arguments)") }

  /// A new volume of 32 MiB and a copy of it, damaged by `damage`: a shell line over $image.
  private func withDamaged(
    _ damage: String, _ body: (_ image: String, _ sum: () throws -> String) throws -> Void
  ) throws {
    try inTemporaryFolder { folder in
      let image = folder + "/a.img"
      #expect(try Shell("\(command) mkfs \(image) --size 32M").status == 0)
      let damaged = try Shell("image=\(image); \(damage)")
      #expect(damaged.status == 0, "\(damaged.output)")
      try body(image) { try Shell("sha256sum < \(image)").output }
    }
  }

  private static let zeroSecondSuperblock =
    "dd if=/dev/zero of=$image bs=4096 seek=256 count=1 conv=notrunc status=none"
  /// The root node's number stands at byte 112 of the superblock.
  private static let zeroRoot = """
    dd if=/dev/zero of=$image bs=4096 count=1 conv=notrunc status=none seek=$(od -An -t u8 -j 112 -N 8 $image | tr -d ' ')
    """

  @Test func harmlessDamage() throws {
    for option in ["-p", "-a", "-y"] {
      try withDamaged(Self.zeroSecondSuperblock) { image, sum in
        let before = try sum()
        for look in ["", "-n", "-n -f", "--json"] {
          #expect(try fsck("\(look) \(image)").status == 4, "\(look)")
        }
        #expect(try sum() == before)
        let repaired = try fsck("\(option) \(image)")
        #expect(repaired.status == 1 && repaired.output.hasSuffix("repaired, nothing lost"), "\(repaired.output)")
        let after = try sum()
        let again = try fsck("\(option) -f \(image)")
        #expect(again.status == 0 && again.output.hasSuffix("clean"), "\(again.output)")
        #expect(try sum() == after)
      }
    }
  }

  @Test func damageThatLosesSomething() throws {
    try withDamaged(Self.zeroRoot) { image, sum in
      let before = try sum()
      let preened = try fsck("-p \(image)")
      #expect(preened.status == 4 && preened.output.contains("would be lost: "), "\(preened.output)")
      #expect(preened.output.contains("nothing changed: -y"), "\(preened.output)")
      #expect(try sum() == before)
      let repaired = try fsck("-y \(image)")
      #expect(repaired.status == 1 && repaired.output.contains("\nlost: "), "\(repaired.output)")
      #expect(try fsck("\(image)").status == 0)
    }
  }

  @Test func asJSON() throws {
    try withDamaged(Self.zeroRoot) { image, _ in
      let looked = try fsck("--json \(image)")
      #expect(looked.status == 4 && !looked.output.contains(#""repair":"#))
      let refused = try fsck("-p --json \(image)")
      #expect(refused.status == 4 && refused.output.contains(#""outcome":"needs-decision""#), "\(refused.output)")
      let repaired = try fsck("-y --json \(image)")
      #expect(repaired.status == 1 && repaired.output.hasPrefix("{") && repaired.output.hasSuffix("}"))
      #expect(repaired.output.contains(#""outcome":"repaired""#) && repaired.output.contains(#""kind":"recordsLost""#))
      let again = try fsck("-y --json \(image)")
      #expect(again.status == 0 && again.output.contains(#""outcome":"not-needed""#))
    }
  }

  @Test func whatCannotBeRepaired() throws {
    try withDamaged("truncate -s 20M $image") { image, sum in
      let before = try sum()
      let refused = try fsck("-y \(image)")
      #expect(refused.status == 4 && refused.output.contains("cut short"), "\(refused.output)")
      #expect(try sum() == before)
    }
    let both = Self.zeroSecondSuperblock + "; printf x | dd of=$image bs=1 seek=300 conv=notrunc status=none"
    try withDamaged(both) { image, sum in
      let before = try sum()
      let refused = try fsck("-y \(image)")
      #expect(refused.status == 8 && refused.output.contains("neither superblock copy"), "\(refused.output)")
      #expect(try sum() == before)
    }
    try withDamaged(":") { image, _ in
      #expect(try fsck("-y /dev/null").status == 8)
      #expect(try fsck("-p -y \(image)").status == 16)
      let locked = try Shell("flock -s \(image) timeout 3 \(command) fsck -y \(image)")
      #expect(locked.status != 0 && locked.output.contains("waiting for"), "\(locked.output)")
    }
  }

  /// Closed standard descriptors are not the image's: nothing we say is written over it.
  @Test func closedStandardDescriptors() throws {
    try withDamaged("true") { image, sum in
      let before = try sum()
      for closed in [">&-", "2>&-", "<&-", "<&- >&- 2>&-"] {
        #expect(try Shell("(\(command) fsck -y --json \(image) \(closed))").status == 0, "\(closed)")
        #expect(try sum() == before, "\(closed)")
      }
      // A report nobody gets is no check.
      #expect(try Shell("(\(command) fsck -n \(image) > /dev/full)").status == 8)
    }
  }

  @Test func neitherSuperblock() throws {
    try withDamaged(
      // All of the checksum: one byte of it may be an x already.
      "for block in 0 256; do printf xxxx | dd of=$image bs=4 seek=$((block * 1024)) conv=notrunc status=none; done"
    ) { image, sum in
      let before = try sum()
      for option in ["-n", "-p", "-y"] {
        let result = try fsck("\(option) \(image)")
        #expect(result.status == 8 && result.output.contains("neither superblock copy can be used"), "\(result.output)")
      }
      #expect(try sum() == before)
    }
  }

  @Test func aPipeIsNotWaitedFor() throws {
    try inTemporaryFolder { folder in
      let result = try Shell("mkfifo \(folder)/pipe; \(command) fsck -n \(folder)/pipe")
      #expect(result.status == 8, "\(result.output)")
    }
  }
}
