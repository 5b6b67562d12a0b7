/// Swap files: memory that is really swapped out to blocks of a sealed file, past the daemon, without it, and back.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("The kernel as a holder: swap", .needsSwap, .deadline(seconds: 300), .serialized)
struct SwapTests {
  private static let fileBytes = 32 << 20
  private static let memoryBytes = 16 << 20

  /// A volume with a sealed swap file, not swapped to yet; and a process with memory.
  private final class Scene {
    let volume: BlockVolume
    let path: Path
    let agent: Agent
    /// Of the agent, where the machine has them.
    let group = MemoryGroup()

    init(options: String = "blkdev") throws {
      volume = try mountedBlockVolume(options: options)
      path = volume.root / "swap"
      do {
        try path.create([UInt8](repeating: 0, count: SwapTests.fileBytes), mode: 0o600)
        let sealed = try holdfast("seal", path.text, "--fill")
        guard sealed.status == 0 else { throw Trouble("seal: \(sealed.errorLine)") }
        let made = try run(["mkswap", path.text])
        guard made.status == 0 else { throw Trouble("mkswap: \(made.errorLine)") }
        agent = try Agent()
        try group?.add(agent.pid)
        try agent.call("fill-memory", SwapTests.memoryBytes)
      } catch {
        volume.remove()
        throw error
      }
    }

    func remove() {
      agent.kill()
      group?.remove()
      volume.remove()
    }

    /// The process's memory is in swap, most of it.
    func swapOut(sourceLocation: SourceLocation = #_sourceLocation) throws {
      try agent.call("page-out")
      group?.reclaim()
      let swapped = try agent.call("swapped")
      #expect(swapped << 10 > SwapTests.memoryBytes / 2, "\(swapped) KiB", sourceLocation: sourceLocation)
    }

    /// All of it, read from the device where it was swapped out.
    func expectMemoryIntact(sourceLocation: SourceLocation = #_sourceLocation) throws {
      let (swapped, faults) = (try agent.call("swapped"), try agent.call("major-faults"))
      #expect(try agent.call("check-memory") == 0, sourceLocation: sourceLocation)
      if group != nil, swapped > 0 {
        #expect(try agent.call("major-faults") > faults, "nothing was read back", sourceLocation: sourceLocation)
      }
    }

    var isSwappedTo: Bool {
      get throws { try Path("/proc/swaps").contentsOfStream().contains(path.text) }
    }

    /// Blocks of the swap file, read from the device itself, that hold a page of the process.
    func pagesOnDevice() throws -> Int {
      let image = try Path(volume.device).open(O_RDONLY | hmt_o_direct)
      defer { image.close() }
      let start = aligned_alloc(4096, 4096)!
      defer { free(start) }
      var found = 0
      for place in Extents(try path.extents()).blocks(in: 0..<SwapTests.fileBytes) {
        guard pread(image.descriptor, start, 4096, place.physical) == 4096 else { throw Errno(errno) }
        let word = start.load(fromByteOffset: 2048, as: UInt64.self) &- 0x686f_6c64_6661_7374
        if word < UInt64(SwapTests.memoryBytes / 4096) { found += 1 }
      }
      return found
    }
  }

  @Test func anUnsealedFileIsNoSwapFile() throws {
    let volume = try mountedBlockVolume()
    defer { volume.remove() }
    let path = volume.root / "swap"
    try path.create([UInt8](repeating: 0, count: 1 << 20), mode: 0o600)
    _ = try run(["mkswap", path.text])
    #expect(throws: Errno(EINVAL)) { try volume.swapOn(path) }
    try path.seal("breakable=5")
    #expect(throws: Errno(EINVAL)) { try volume.swapOn(path) }
    // What was tried left nothing behind.
    try path.unseal()
    #expect(try path.sealCount() == 0)
    try path.truncate(0)
    try volume.finish()
  }

  @Test func memoryGoesToTheSealedBlocksAndBack() throws {
    let scene = try Scene()
    defer { scene.remove() }
    let (volume, path) = (scene.volume, scene.path)
    let map = try path.extents()
    try volume.swapOn(path)
    #expect(try scene.isSwappedTo)
    #expect(try path.sealCount() == 2)
    try scene.swapOut()
    #expect(try scene.pagesOnDevice() > SwapTests.memoryBytes / 4096 / 2)

    // Unsealed under swap: the kernel's request keeps the map.
    let unsealed = try holdfast("unseal", path.text)
    #expect(unsealed.status == 0, "\(unsealed.errors)")
    #expect(try path.sealCount() == 1)
    #expect(throws: Errno(ETXTBSY)) { try path.truncate(0) }
    #expect(throws: Errno(EPERM)) { try path.unlink() }
    #expect(throws: Errno(EPERM)) { try path.unseal() }
    let why = try holdfast("why", path.text)
    #expect(why.output.contains("swapoff"), "\(why.output)")
    let busy = try holdfast("unmount", volume.mountPoint)
    #expect(busy.status == 1 && busy.errors.contains("swapoff"), "\(busy.errors)")
    // Others' writes and commits all the while.
    try (volume.root / "other").create(pattern(8 << 20))
    #expect(try path.extents() == map)
    try scene.expectMemoryIntact()
    try scene.swapOut()

    try volume.swapOff(path)
    #expect(try path.sealCount() == 0, "on fuseblk close(2) waits for the daemon")
    try scene.expectMemoryIntact()
    #expect(try agentSwapped(scene) == 0)
    try path.truncate(0)
    try volume.finish()
  }

  private func agentSwapped(_ scene: Scene) throws -> Int { try scene.agent.call("swapped") }

  /// What was written before swapon and not synced waits in the device's page cache: it must not come to the device later
  /// than what was swapped out.
  @Test func lateWritebackDoesNotMeetSwap() throws {
    // No commit of the background's, which would make it durable.
    let scene = try Scene(options: "blkdev,commit=3600")
    defer { scene.remove() }
    let file = try scene.path.open(O_RDWR)
    let header = try file.read(4096, at: 0)
    try file.writeAll([UInt8](repeating: 0x55, count: SwapTests.fileBytes - 4096), at: 4096)
    try file.writeAll(header)
    file.close()
    try scene.volume.swapOn(scene.path)
    try scene.swapOut()
    let image = try Path(scene.volume.device).open(O_RDWR)
    try image.sync()
    image.close()
    #expect(try scene.pagesOnDevice() > SwapTests.memoryBytes / 4096 / 2)
    try scene.expectMemoryIntact()
    try scene.volume.swapOff(scene.path)
    try scene.volume.finish()
  }

  @Test func killedDaemon() throws {
    let scene = try Scene()
    defer { scene.remove() }
    let (volume, path) = (scene.volume, scene.path)
    try volume.swapOn(path)
    #expect(eventually { volume.hasGuard })
    try scene.swapOut()
    try volume.killDaemon()
    // The kernel needs no daemon.
    try scene.expectMemoryIntact()
    try scene.swapOut()

    // Nobody else gets the device, under whichever name.
    let other = volume.folder + "/other"
    try Path(other).makeDirectory()
    for image in [volume.device, volume.image] {
      for arguments in [["mount", image, other], ["mount", image, other, "-o", "ro,blkdev"], ["fsck", "-y", image]] {
        if image == volume.image, arguments.contains("ro,blkdev") { continue }
        let result = try run([TestEnvironment.holdfast] + arguments)
        #expect(result.status == (arguments[0] == "fsck" ? 8 : 1), "\(arguments)")
        #expect(result.errors.contains("swapoff"), "\(arguments): \(result.errors)")
      }
      let made = try holdfast("mkfs", image, "--force")
      #expect(made.status == 1, "\(made.output)")
    }
    let looked = try holdfast("fsck", "-n", volume.device)
    #expect(looked.status == 0, "\(looked.output)\(looked.errors)")
    try scene.expectMemoryIntact()
    try scene.swapOut()

    // The guard lets swapoff find its file, and nothing else.
    #expect(throws: Errno(ENOTCONN)) { try (volume.root / "swap").open(O_RDONLY) }
    try volume.swapOff(path)
    try scene.expectMemoryIntact()
    volume.dropConnection()
    let unmounted = try holdfast("unmount", volume.mountPoint)
    #expect(unmounted.status == 1 && unmounted.errors.contains("daemon"), "\(unmounted.errors)")

    try volume.mount()
    #expect(try path.size() == SwapTests.fileBytes)
    try path.truncate(0)
    try volume.finish()
  }

  @Test func aSignalWaitsForSwapoff() throws {
    let scene = try Scene()
    defer { scene.remove() }
    let volume = scene.volume
    try volume.swapOn(scene.path)
    kill(volume.daemon, SIGTERM)
    #expect(eventually { volume.log.contains("put off") })
    #expect(try volume.information().pid == volume.daemon)
    try volume.swapOff(scene.path)
    volume.dropConnection()
    #expect(eventually(within: 20) { kill(volume.daemon, 0) != 0 })
    #expect(try !Path("/proc/self/mounts").contentsOfStream().contains(volume.mountPoint))
    let checked = try holdfast("fsck", volume.device, "-n")
    #expect(checked.status == 0, "\(checked.output)")
    try volume.mount()
    try volume.finish()
  }
}
