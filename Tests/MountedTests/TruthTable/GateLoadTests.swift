/// The promise under load: processes that write, cut, punch and preallocate without pause, and a map that stays put
/// each time it is sealed. (fstat's size is not compared: a truncation done just before the grant may reach the kernel's
/// copy of the size just after it.)

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Truth table: under load", .needsMount, .mounted(), .deadline())
struct GateLoadTests {
  @Test func aSealedMapStaysPut() throws {
    let folder = try sharedVolume().freshFolder()
    let path = folder / "f"
    try path.create(pattern(200_000))
    let other = folder / "other"
    try other.create(pattern(64 << 10))
    let loops = [
      "truncate -s $((i * 7919 % 300000)) f", "head -c 5000 other >> f; truncate -s 250000 f",
      "fallocate -p -o $((i * 4096 % 200000)) -l 8192 f; fallocate -o $((i * 8192 % 200000)) -l 20000 f",
      "dd if=other of=f bs=4096 count=3 seek=$((i % 50)) conv=notrunc status=none",
    ]
    let workers = try loops.map { body in
      try Child(["sh", "-c", "cd \(folder); i=0; while :; do i=$((i+1)); \(body); done 2>/dev/null"])
    }
    defer { for worker in workers { worker.signal(SIGKILL) } }
    let holder = try path.open()
    defer { holder.close() }
    var generations = Set<UInt64>()
    let end = now() + 4
    var rounds = 0
    while now() < end {
      let grant = try holder.seal(HOLDFAST_SEAL_AS_IS)
      let before = try holder.map().map(Piece.init)
      usleep(3000)
      let after = try holder.map().map(Piece.init)
      #expect(after == before)
      #expect(try path.generation() == grant.generation)
      generations.insert(grant.generation)
      try holder.unseal()
      rounds += 1
      usleep(2000)
    }
    #expect(rounds > 10)
    #expect(generations.count > 3, "the load changed next to nothing in \(rounds) rounds")
  }

  private struct Piece: Equatable {
    var logical: UInt64
    var physical: UInt64
    var length: UInt64
    var flags: UInt32

    init(_ extent: holdfast_extent) {
      logical = extent.logical
      physical = extent.physical
      length = extent.length
      flags = extent.flags
    }
  }
}
