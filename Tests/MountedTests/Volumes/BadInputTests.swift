/// The list of bad input: one clear line each, a status that is not 0, and nothing changed.

import CMountedSupport
import Glibc
import Testing

@Suite("Volumes: bad input", .needsMount, .deadline())
struct BadInputTests {
  /// A failure told in one line that begins with the command's name and contains one of `words`.
  private func expectRefusal(
    _ arguments: [String], status: Int32 = 1, saying words: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let result = try run([TestEnvironment.holdfast] + arguments, seconds: 90)
    #expect(result.status == status, "\(arguments): \(result.errors)", sourceLocation: sourceLocation)
    #expect(result.errors.hasPrefix("holdfast: "), "\(result.errors)", sourceLocation: sourceLocation)
    #expect(
      result.errors.split(separator: "\n").count == 1, "\(arguments): \(result.errors)", sourceLocation: sourceLocation)
    #expect(
      words.contains { result.errors.contains($0) }, "\(arguments): \(result.errors)", sourceLocation: sourceLocation)
  }

  private func bytes(_ path: String) throws -> [UInt8] { try Path(path).contents() }

  @Test func notAnImage() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    for contents in [[], pattern(100), pattern(1 << 20), zeros(1 << 20)] {
      let path = volume.folder + "/file"
      try Path(path).create(contents)
      let words = ["not a Holdfast image", "too small", "cut short"]
      try expectRefusal(["mount", path, volume.mountPoint], saying: words)
      try expectRefusal(["fsck", path], status: 8, saying: words)
      try expectRefusal(["info", path], saying: words)
      #expect(try bytes(path) == contents)
    }
    try expectRefusal(["mount", volume.folder + "/none", volume.mountPoint], saying: ["No such file"])
    try expectRefusal(["mount", volume.mountPoint, volume.mountPoint], saying: ["directory", "neither"])
    #expect(try Path(volume.mountPoint).names().count == 2)
  }

  @Test(arguments: [4096, 8192, 1 << 20, (16 << 20) - 4096])
  func truncatedImages(_ size: Int) throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    try Path(volume.image).truncate(size)
    let before = try bytes(volume.image)
    let words = ["cut short", "not a Holdfast image", "too small"]
    try expectRefusal(["mount", volume.image, volume.mountPoint], saying: words)
    let check = try holdfast("fsck", volume.image)
    #expect(check.status == 4 || check.status == 8)
    #expect(try bytes(volume.image) == before)
  }

  @Test func imagesOfANewerFormat() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    let superblock = Superblocks(volume.image)
    try superblock.setIncompatible(1 << 40)
    let before = try bytes(volume.image)
    try expectRefusal(["mount", volume.image, volume.mountPoint], saying: ["newer"])
    try expectRefusal(["mount", "-o", "ro", volume.image, volume.mountPoint], saying: ["newer"])
    try expectRefusal(["fsck", volume.image], status: 8, saying: ["newer"])
    #expect(try bytes(volume.image) == before)
  }

  @Test func badMountPoints() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    try expectRefusal(["mount", volume.image, volume.image], saying: ["not a directory"])
    try expectRefusal(["mount", volume.image, volume.folder + "/none"], saying: ["No such file"])
    try expectRefusal(["unmount", volume.mountPoint], saying: ["no Holdfast"])
    #expect(try volume.fsck().status == 0)
  }

  @Test(arguments: [
    "nonsense", "ro,nonsense=5", "cache=x", "commit=0", "seal_policy=nobody", "grace=-1", "errors=panic",
  ])
  func unknownMountOptions(_ options: String) throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    let before = try bytes(volume.image)
    let name = String(options.split(separator: ",").last!.split(separator: "=")[0])
    try expectRefusal(["mount", volume.image, volume.mountPoint, "-o", options], status: 64, saying: [name])
    #expect(try bytes(volume.image) == before)
  }

  @Test func mkfsDestroysNoFilesystem() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    let path = volume.folder + "/ext4"
    try Path(path).create()
    try Path(path).truncate(16 << 20)
    #expect(try run(["mkfs.ext4", "-q", path]).status == 0)
    let before = try bytes(path)
    try expectRefusal(["mkfs", path], saying: ["ext4", "ext2"])
    #expect(try bytes(path) == before)
    try expectRefusal(["mkfs", volume.image], saying: ["Holdfast", "holdfast"])
    #expect(try volume.fsck().status == 0)
    #expect(try holdfast("mkfs", path, "--force").status == 0)
    #expect(try holdfast("fsck", path).status == 0)
    try expectRefusal(["mkfs", volume.folder + "/none/image", "--size", "16M"], saying: ["No such file"])
    try expectRefusal(["mkfs", volume.folder + "/new"], saying: ["size"])
    #expect(!Path(volume.folder + "/new").exists)
  }

  /// A block that is damaged is an error and a log line, not a crash.
  @Test func damagedImagesAreErrors() throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    try volume.mount()
    for index in 0..<300 { try (volume.root / "file-\(index)").create(pattern(index)) }
    try volume.unmount()
    let sound = try bytes(volume.image)
    var seed: UInt64 = 99
    for _ in 0..<12 {
      var image = sound
      for _ in 0..<200 {
        seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        // Behind the superblocks, where the first trees and the journal are.
        let place = 8192 + Int(seed >> 24) % (2 << 20)
        image[place] ^= UInt8(truncatingIfNeeded: seed >> 16) | 1
      }
      try Path(volume.image).create(image)
      #expect([0, 4].contains(try holdfast("fsck", volume.image).status))
      let result = try holdfast("mount", volume.image, volume.mountPoint, "--log", volume.logFile)
      #expect(result.status == 0 || result.errors.hasPrefix("holdfast: "))
      guard result.status == 0 else { continue }
      let names = (try? volume.root.names()) ?? []
      for name in names { _ = try? (volume.root / name).contents() }
      #expect(try volume.root.statistics().f_bsize == 4096, "the daemon is gone:\n\(volume.log)")
      _ = try holdfast("unmount", volume.mountPoint)
      _ = hmt_umount(volume.mountPoint, 1)
    }
  }
}
