/// Many threads on one table: the counts come out right and nothing is lost.

import Glibc
import HoldfastBase
import Testing

@testable import HoldfastSeal

/// Runs `body` on `count` threads and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  final class Job: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  let threads = (0..<count).map { number in
    var thread = pthread_t()
    let job = Unmanaged.passRetained(Job { body(number) })
    let status = pthread_create(
      &thread, nil,
      { job in
        Unmanaged<Job>.fromOpaque(job!).takeRetainedValue().body()
        return nil
      }, job.toOpaque())
    precondition(status == 0)
    return thread
  }
  for thread in threads { pthread_join(thread, nil) }
}

@Suite struct ConcurrencyTests {
  @Test func manyThreads() {
    let table = SealTable()
    let seed = SeededGenerator().seed
    onThreads(4) { number in
      var generator = SeededGenerator(seed: seed &+ UInt64(number))
      let me = Credentials(uid: UInt32(100 + number), gid: 0, pid: Int32(100 + number))
      for round in 0..<3_000 {
        let inode = InodeNumber.random(in: 1...8, using: &generator)
        let name = "n\(Int.random(in: 0..<4, using: &generator))"
        let handle = UInt64(number * 1000 + round % 10)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0: _ = try? table.release(.named(uid: me.uid, name: name), inode: inode, by: me)
        case 1: table.handleClosed(handle)
        case 2: table.processDied(me.pid)
        case 3: _ = table.conflict(.truncate(toByteCount: 0), inode: inode, by: Actor(credentials: me, handle: nil))
        case 4: try? table.ask(.reclaim, inode: inode, by: Actor(credentials: me, handle: handle))
        case 5:
          #expect(JSON(table.holdersJSON(of: inode)) != nil, "seed \(seed)")
          table.releaseExpired()
        default:
          let lifetimes: [SealLifetime] = [.name, .handle(handle), .process(me.pid), .persistent]
          let lifetime = lifetimes.randomElement(using: &generator)!
          _ = try? table.take(request(name, lifetime: lifetime, taker: me, ttl: round % 3 == 0 ? 1 : nil), on: inode)
        }
      }
    }
    table.checkInvariants()
    let sum = (InodeNumber(1)...8).reduce(0) { $0 + table.count($1) }
    #expect(sum == table.totalCount && table.allRequests().count == sum, "seed \(seed)")
    table.revoke(.all)
    #expect(table.totalCount == 0, "seed \(seed)")
    table.checkInvariants()
  }

  /// Rule 10: while one thread replaces its request again and again, no other ever sees the file unsealed.
  @Test func replacementIsAtomic() throws {
    let table = SealTable()
    try table.take(request("x"), on: 1)
    let unsealed = Recorder<Int>()
    onThreads(2) { number in
      for round in 0..<20_000 {
        if number == 0 {
          _ = try? table.take(request("x", ttl: round % 2 == 0 ? nil : 1000), on: 1)
        } else if table.count(1) != 1 || table.conflict(.reclaim, inode: 1, by: .daemon) == nil {
          unsealed.add(round)
        }
      }
    }
    #expect(unsealed.all.isEmpty)
  }
}
