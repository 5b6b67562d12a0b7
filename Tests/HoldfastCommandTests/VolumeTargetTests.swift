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
