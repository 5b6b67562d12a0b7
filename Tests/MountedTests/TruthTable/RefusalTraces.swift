/// Rule 5: a refused operation leaves no trace. Here on a file with `security.capability`, which changes of contents
/// take away: when a change is refused, it stays. Where the kernel itself removes it before it asks us (as it does for
/// every filesystem, REMOVEXATTR and then the change), that is its doing; all else stays there, too.

import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: refusals leave no trace", .needsMount, .mounted(), .deadline())
struct RefusalTraces {
  /// CAP_NET_RAW, permitted and effective, as capabilities(7) lays it out.
  private static let capability: [UInt8] = [1, 0, 0, 2, 0, 0x20, 0, 0] + zeros(12)
  private static let name = "security.capability"

  enum Change: CaseIterable {
    case truncateByName, truncateByHandle, grow, openTruncating, append, writeBehindTheEnd, fillHole
    case directWriteBehindTheEnd, copy, mappedStore

    /// Changes the kernel prepares by removing the attribute.
    var isPreparedByKernel: Bool { self != .openTruncating && self != .mappedStore }

    func perform(on path: Path, _ source: Path) throws(Errno) {
      switch self {
      case .truncateByName: try path.truncate(100)
      case .grow: try path.truncate(900_000)
      case .openTruncating: try path.open(O_WRONLY | O_TRUNC).close()
      default: break
      }
      let file = try path.open(O_RDWR | (self == .directWriteBehindTheEnd ? hmt_o_direct : 0))
      defer { file.close() }
      switch self {
      case .truncateByHandle: try file.truncate(4096)
      case .append: try file.write([1], at: try file.size())
      case .writeBehindTheEnd: try file.write([1], at: 1_000_000)
      case .fillHole: try file.write([1], at: 40_000)
      case .directWriteBehindTheEnd: try file.writeDirectly(pattern(8192), at: 1 << 20)
      case .copy:
        let other = try source.open()
        defer { other.close() }
        try other.copyRange(at: 0, 5000, to: file, at: 39_000)
      case .mappedStore:
        do {
          try file.withMapping(65_536) { memory in
            memory[45_000] = 1
            try check(msync(memory.baseAddress, memory.count, Int32(MS_SYNC)))
          }
        } catch {
          throw error as? Errno ?? Errno(EBADMSG)
        }
      case .truncateByName, .grow, .openTruncating: break
      }
    }
  }

  /// 128 KiB with a hole of 64 KiB in the middle, and the attribute.
  private func file(in folder: Path, _ name: String) throws -> Path {
    let path = folder / name
    let file = try path.open(O_CREAT | O_RDWR)
    defer { file.close() }
    try file.writeAll(pattern(16_384))
    try file.write(pattern(16_384), at: 98_304)
    try file.truncate(131_072)
    try file.sync()
    try path.setAttribute(Self.name, Self.capability)
    return path
  }

  @Test(arguments: Change.allCases) func aCapabilityStaysWithARefusal(_ change: Change) throws {
    let folder = try sharedVolume().freshFolder()
    let path = try file(in: folder, "file")
    let source = folder / "source"
    try source.create(pattern(5000))
    try path.seal("as-is")
    let before = try path.status()
    let contents = try path.storedContents()
    let refusal = #expect(throws: Errno.self) { try change.perform(on: path, source) }
    // A mapped store is told at msync, by whatever errno the kernel has for that.
    if change != .mappedStore { #expect(refusal == Errno(ETXTBSY)) }
    if change.isPreparedByKernel {
      #expect(throws: Errno(ENODATA)) { try path.attribute(Self.name) }
      try path.setAttribute(Self.name, Self.capability)
    }
    #expect(try path.attribute(Self.name) == Self.capability)
    #expect(try path.storedContents() == contents)
    let after = try path.status()
    #expect(after.st_size == before.st_size && after.st_blocks == before.st_blocks)
    #expect(after.st_mtim.tv_sec == before.st_mtim.tv_sec && after.st_mtim.tv_nsec == before.st_mtim.tv_nsec)
    // Once more without the seal: now it goes.
    try path.unseal()
    try change.perform(on: path, source)
    #expect(throws: Errno(ENODATA)) { try path.attribute(Self.name) }
  }
}
