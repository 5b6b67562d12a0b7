import Glibc
import HoldfastCommand
import Testing

/// The helpers of mount-helpers/, with a command in place of holdfast that only tells its arguments.
@Suite struct HelperTests {
  private static let helpers = {
    let file = #filePath
    let root = file.split(separator: "/").dropLast(3).joined(separator: "/")
    return "/\(root)/mount-helpers"
  }()

  private func run(_ line: String) throws -> Shell {
    var result: Shell?
    try inTemporaryFolder { folder in
      _ = try Shell(
        """
        mkdir \(folder)/bin \(folder)/sbin; cp -a \(Self.helpers)/*.holdfast \(folder)/sbin
        printf '#!/bin/sh\\nprintf "%%s|" "$@"; echo\\n' > \(folder)/bin/holdfast; chmod +x \(folder)/bin/holdfast
        printf '#!/bin/sh\\nprintf "mount:"; printf "%%s|" "$@"; echo\\n' > \(folder)/bin/mount; chmod +x \(folder)/bin/mount
        """)
      result = try Shell("export PATH=\(folder)/bin:$PATH; \(folder)/sbin/\(line)")
    }
    return try #require(result)
  }

  @Test(arguments: [
    ("mount.holdfast /i /m", "mount|-o|rw,|--|/i|/m|"),
    ("mount.holdfast /i /m -o rw,noatime,commit=3", "mount|-o|rw,commit=3,noatime|--|/i|/m|"),
    ("mount.fuse.holdfast '/a b' /m -o ro,nofail,x-systemd.automount,user", "mount|-o|ro,|--|/a b|/m|"),
    ("mount.fuseblk.holdfast /dev/i /m -o noatime", "mount|-o|rw,blkdev,noatime|--|/dev/i|/m|"),
    ("mount.holdfast /i /m -s -v -f -o ro", "mount.holdfast: "),
    (
      "mount.holdfast /i /m -n -t holdfast -o nosuid -o nodev,allow_other",
      "mount|-o|rw,allow_other,nosuid,nodev|--|/i|/m|"
    ),
  ])
  func mounts(_ line: String, _ expected: String) throws {
    let shell = try run(line)
    #expect(shell.status == 0)
    #expect(shell.output.hasPrefix(expected), "\(shell.output)")
  }

  @Test func remounts() throws {
    let readOnly = try run(
      "mount.holdfast /i /m -o rw,relatime,user_id=0,group_id=0,default_permissions,allow_other,remount,ro,commit=9")
    #expect(
      readOnly.output == """
        remount|/m|-o|commit=9,relatime|
        mount:-i|--options-mode|ignore|-o|remount,ro,relatime|--|/i|/m|
        remount|/m|-o|ro|
        """)
    let writable = try run("mount.holdfast /i /m -o ro,noatime,remount,relatime,rw")
    #expect(
      writable.output == """
        remount|/m|-o|relatime|
        remount|/m|-o|rw|
        mount:-i|--options-mode|ignore|-o|remount,rw,relatime|--|/i|/m|
        """)
  }

  @Test(arguments: [
    ("mount.holdfast /i", 1), ("mount.holdfast /i /m -o bind", 1), ("mount.holdfast /i /m -N 3", 1),
    ("fsck.holdfast", 16), ("fsck.holdfast -q /i", 16), ("fsck.holdfast /i /j", 16),
  ])
  func misuse(_ line: String, _ status: Int32) throws {
    #expect(try run(line).status == status)
  }

  @Test(arguments: [
    ("fsck.holdfast /i", "fsck|--|/i|"), ("fsck.holdfast -a -C 5 /i", "fsck|-p|--|/i|"),
    ("fsck.holdfast -C5 -T -f -y -V", "--version|"), ("fsck.holdfast -np /i", "fsck|-n|--|/i|"),
    ("fsck.holdfast -y -f -C5 /i", "fsck|-y|--|/i|"),
    ("fsck.holdfast -t holdfast -- '/a b'", "fsck|--|/a b|"),
    ("mkfs.holdfast -L 'a b' -f /i", "mkfs|--label|a b|--force|/i|"),
    ("mkfs.holdfast /i 65536", "mkfs|/i|--size|65536K|"),
    ("mkfs.holdfast --size 1G /i", "mkfs|--size|1G|/i|"),
  ])
  func checksAndMakes(_ line: String, _ expected: String) throws {
    #expect(try run(line).output == expected)
  }
}
