/// The device fails at a file's data: whoever reads or writes it is told, everything else goes on.

import CMountedSupport
import Glibc
import Testing

@Suite("Faults: data", .needsMount, .deadline())
struct DataFaultTests {
  private func expectSound(_ volume: Volume) throws {
    let information = try volume.information()
    #expect(information.state == "sound" && information.failure == "" && !information.readOnly, "\(volume.log)")
  }

  @Test func aReadThatFails() throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    let faults = try Faults(volume)
    try volume.mount(faults: faults)
    let (bad, good) = (volume.root / "bad", volume.root / "good")
    try bad.create(pattern(50_000))
    try good.create(pattern(50_000, seed: 3))
    faults.fail(.read, try bad.placeInImage())
    #expect(throws: Errno(EIO)) { try bad.storedContents() }
    #expect(try good.storedContents() == pattern(50_000, seed: 3))
    try good.create(pattern(1000))
    #expect(faults.failures > 0)
    try expectSound(volume)
    #expect(volume.log.contains("read of inode") && volume.log.contains("Input/output error"), "\(volume.log)")
    faults.stop()
    #expect(try bad.storedContents() == pattern(50_000))
    volume.finish()
  }

  enum Way: CaseIterable { case cached, direct, append, hole, synchronous }

  @Test(arguments: Way.allCases, [EIO, ENOSPC])
  func aWriteThatFails(_ way: Way, _ code: Int32) throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    let layout = try ImageLayout(volume)
    let faults = try Faults(volume)
    try volume.mount(faults: faults)
    let path = volume.root / "file"
    try path.create(pattern(20_480))
    try path.truncate(100_000)
    faults.fail(.write, layout.nodes.upperBound..<UInt64.max, error: code)
    let file = try path.open(
      O_RDWR | (way == .direct ? hmt_o_direct : 0) | (way == .append ? O_APPEND : 0)
        | (way == .synchronous ? O_SYNC : 0))
    #expect(throws: Errno(code)) {
      switch way {
      case .cached, .synchronous: try file.write(pattern(4096, seed: 9), at: 4096)
      case .direct: try file.writeDirectly(pattern(4096, seed: 9), at: 4096)
      case .append: try file.write(pattern(4096, seed: 9))
      case .hole: try file.write(pattern(4096, seed: 9), at: 40_960)
      }
    }
    #expect(faults.failures > 0)
    faults.stop()
    // The failed call is its writer's; nothing of it is counted as written.
    try file.sync()
    #expect(try path.size() == 100_000)
    let expected = pattern(20_480) + zeros(100_000 - 20_480)
    #expect(try path.storedContents() == expected)
    #expect(try eventually { try path.contents() == expected })
    try file.write(pattern(4096, seed: 5), at: 0)
    file.close()
    try expectSound(volume)
    volume.finish()
  }

  /// A store through a mapping has no call to fail: msync or fsync tells.
  @Test func aMappedStoreThatFails() throws {
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    let faults = try Faults(volume)
    try volume.mount(faults: faults)
    let path = volume.root / "file"
    try path.create(pattern(65_536))
    faults.fail(.write, try path.placeInImage())
    let file = try path.open(O_RDWR)
    var isTold = false
    try file.withMapping(65_536) { memory in
      memory[30_000] = 0x55
      isTold = msync(memory.baseAddress, memory.count, Int32(MS_SYNC)) != 0
    }
    if !isTold { isTold = (try? file.sync()) == nil }
    #expect(isTold && faults.failures > 0)
    faults.stop()
    file.close()
    try expectSound(volume)
    volume.finish()
  }
}
