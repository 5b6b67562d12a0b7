import Testing

@testable import HoldfastSimulation

@Suite struct OperationTests {
  static let samples: [Operation] = [
    .create(Place(1, 2), handle: 3, mode: 0o644), .open(Place(0, 0), handle: 1, [.write, .append]), .close(handle: 0),
    .makeDirectory(Place(0, 1), slot: 2), .removeDirectory(Place(2, 1)), .unlink(Place(0, 9)),
    .rename(Place(0, 1), to: Place(2, 3), flags: 2), .link(Place(0, 1), to: Place(0, 2)),
    .symlink(Place(0, 4), length: 77, tag: 12), .readSymlink(Place(1, 1)), .list(directory: 3), .status(Place(3, 3)),
    .read(handle: 1, offset: 2, length: 3), .write(handle: 4, offset: 5, length: 6, tag: 7),
    .append(handle: 1, length: 2, tag: 3), .truncate(handle: 1, size: 0), .truncateName(Place(1, 1), size: 9),
    .allocate(handle: 1, mode: 3, offset: 4096, length: 8192),
    .copy(handle: 1, offset: 2, to: 3, toOffset: 4, length: 5), .seek(handle: 1, offset: 2, hole: true),
    .sync(handle: 1, dataOnly: true), .syncDirectory(2), .syncAll, .mapRead(handle: 1, offset: 2, length: 3),
    .mapWrite(handle: 1, offset: 2, length: 3, tag: 4), .setMode(handle: 1, mode: 0o600),
    .setXattr(handle: 1, name: 2, length: 3, tag: 4, mode: 1), .getXattr(handle: 1, name: 2),
    .removeXattr(handle: 1, name: 2), .listXattrs(handle: 1),
    .seal(handle: 1, name: 2, SealSpec(.fill, createOnly: true)), .unseal(handle: 1, name: 2),
    .sealNamed(handle: 1, user: 2, name: 0, SealSpec(.asIs, persistent: true)),
    .seal(handle: 3, name: 0, SealSpec(.strict, breakable: true, range: 5000..<9000)),
    .unpin(handle: 3, name: 0, range: 4096..<12288), .fence, .revoke(handle: 2), .become(process: 4),
    .waiting(.truncate(handle: 1, size: 77), .interrupted),
    .unsealNamed(handle: 1, user: 2, name: 1), .sealProcess(handle: 1, name: 2, process: 3, SealSpec(.strict)),
    .endProcess(process: 1), .sealTimed(handle: 1, name: 2, SealSpec(.asIs)),
    .holderExit(Place(1, 2), SealSpec(.asIs), killed: true), .housekeep, .resize(mebibytes: 33), .remount,
    .crash(events: 12, seed: 34), .deviceError(kind: 2, after: 5, seed: 6),
    .mediaFault(kind: 3, choice: 7, length: 40),
  ]

  @Test(arguments: samples) func aLineReadsBack(_ operation: HoldfastSimulation.Operation) {
    #expect(Operation(line: operation.description) == operation)
  }

  @Test(arguments: [
    "", "writ h1 2 3 4", "write h1 2 3", "write 1 2 3 4", "write h1 2 3 4 5", "stat 1", "read h1 -2 3",
    "waiting 3 syncAll", "waiting 0 waiting 0 sync-all", "seal h1 0 1:0:0",
  ])
  func otherLinesAreNone(_ line: String) { #expect(Operation(line: line) == nil) }

  @Test func namesAreToldApart() {
    for number in 0..<40 {
      #expect(Names.bytes(number).withUnsafeBytes { Names.number($0) } == number)
    }
    #expect(Array("other".utf8).withUnsafeBytes { Names.number($0) } == nil)
  }

  @Test func bytesTellTheirWriter() {
    var bytes = [UInt8](repeating: 0, count: 64)
    bytes.withUnsafeMutableBytes { Pattern.fill($0, tag: PatternTag(job: 5, number: 70_000), offset: 4099) }
    let word = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 5, as: UInt64.self) }
    let (tag, offset) = Pattern.decode(word)
    #expect(tag == PatternTag(job: 5, number: 70_000) && offset == 4104)
    // Any piece of it carries the same bytes.
    var piece = [UInt8](repeating: 0, count: 20)
    piece.withUnsafeMutableBytes { Pattern.fill($0, tag: PatternTag(job: 5, number: 70_000), offset: 4110) }
    #expect(piece == Array(bytes[11..<31]))
  }
}
