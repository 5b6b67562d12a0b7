import Glibc
import HoldfastBase
import HoldfastCommand
import HoldfastDevice
import Testing

@Suite struct VolumeTargetTests {
  private func size(_ path: String) -> (bytes: Int64, blocks: Int64)? {
    var status = stat()
    return stat(path, &status) == 0 ? (Int64(status.st_size), Int64(status.st_blocks)) : nil
  }

  private func message(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch {
      return "\(error)"
    }
  }

  /// A file that is there is cut to the size asked for, and can be written to afterwards.
  @Test func anExistingFileIsCut() throws {
    try inTemporaryFolder { folder in
      let path = folder + "/large.img"
      #expect(try Shell("truncate -s 64M \(path)").status == 0)
      let target = try VolumeTarget(path, size: 32 << 20)
      let device = try target.claim { _ in }
      let block = AlignedBuffer(byteCount: 4096)
      try device.write(UnsafeRawBufferPointer(block.bytes), at: 1 << 20)
      try device.barrier()
      #expect(device.byteCount == 32 << 20 && size(path)?.bytes == 32 << 20)
    }
  }

  /// The file under a loop device, the device, and another one over the same file are one image to whoever locks it.
  @Test(.enabled(if: geteuid() == 0 && access("/dev/loop-control", R_OK) == 0, "needs root and loop devices"))
  func aLoopDeviceAndItsFileAreOneImage() throws {
    try inTemporaryFolder { folder in
      let path = folder + "/a.img"
      let made = try Shell("truncate -s 16M \(path) && losetup -f --show \(path) && losetup -f --show \(path)")
      let loops = made.output.split(separator: "\n").map(String.init)
      defer { for loop in loops { _ = try? Shell("losetup -d \(loop)") } }
      try #require(made.status == 0 && loops.count == 2, "\(made.output)")
      let ways = [path] + loops
      for first in ways {
        for second in ways where second != first {
          let held = try ImageFile(path: first, mode: .readWrite)
          #expect(throws: FSError.imageBusy, "\(first), then \(second)") {
            try ImageFile(path: second, mode: .readWrite)
          }
          #expect(throws: FSError.imageBusy) { try ImageFile(path: second, mode: .readOnly) }
          withExtendedLifetime(held) {}
        }
        // Readers share.
        let reader = try ImageFile(path: first, mode: .readOnly)
        for second in ways { _ = try ImageFile(path: second, mode: .readOnly) }
        withExtendedLifetime(reader) {}
      }
    }
  }

  @Test func newFileIsPreallocatedAndGoesUnlessKept() throws {
    try inTemporaryFolder { folder in
      let path = folder + "/new.img"
      do {
        let target = try VolumeTarget(path, size: (32 << 20) + 5)
        #expect(target.contents.isEmpty)
        #expect(target.byteCount == 32 << 20)
        let device = try target.claim { _ in }
        #expect(device.byteCount == 32 << 20)
        let made = try #require(size(path))
        #expect(made.bytes == 32 << 20)
        #expect(made.blocks * 512 >= 32 << 20)
        withExtendedLifetime(target) {}
      }
      #expect(size(path) == nil)
      try VolumeTarget(path, size: 16 << 20).keep()
      #expect(size(path) != nil)
    }
  }

  @Test func refusals() throws {
    try inTemporaryFolder { folder in
      let missing = folder + "/missing"
      #expect(
        message { _ = try VolumeTarget(missing, size: nil) } == "\(missing): no such file: give --size to make one")
      #expect(message { _ = try VolumeTarget(missing, size: 4096) }?.contains("too small") == true)
      #expect(size(missing) == nil, "nothing is left of a refused size")
      #expect(message { _ = try VolumeTarget(folder, size: nil) }?.contains("is a directory") == true)
      #expect(message { _ = try VolumeTarget("/dev/null", size: 16 << 20) }?.contains("neither") == true)
      #expect(message { _ = try VolumeTarget(folder + "/no/such", size: 16 << 20) }?.contains("No such") == true)
      let locked = folder + "/locked"
      try TextFile.write(String(repeating: "\u{0}", count: 16 << 20), to: locked)
      let holder = try ImageFile(path: locked, mode: .readWrite)
      #expect(message { _ = try VolumeTarget(locked, size: nil) }?.contains("in use") == true)
      withExtendedLifetime(holder) {}
      #expect(size(locked)?.bytes == 16 << 20)
    }
  }

  @Test func existingContentsAreSeenAndLeft() throws {
    try inTemporaryFolder { folder in
      let path = folder + "/xfs"
      let text = "XFSB" + String(repeating: "\u{0}", count: (16 << 20) - 4)
      try TextFile.write(text, to: path)
      #expect(try VolumeTarget(path, size: nil).contents == ["an XFS filesystem"])
      #expect(try TextFile.bytes(path) == Array(text.utf8))
    }
  }
}
