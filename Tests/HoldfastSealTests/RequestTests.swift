/// Taking, replacing and releasing: rows 20–25, rules 2, 9, 10.

import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct RequestTests {
  let table = SealTable()
  let file: InodeNumber = 42

  /// Row 20 and rule 2: requests count; the map is frozen until the last is gone.
  @Test func requestsOfManyCount() throws {
    #expect(!table.hasRequests(file) && !table.isImmutable(file) && table.count(file) == 0)
    #expect(try table.take(request(), on: file).sealCount == 1)
    #expect(try table.take(request(taker: bob), on: file).sealCount == 2)
    #expect(try table.take(request("x"), on: file).sealCount == 3)
    #expect(try table.take(request(lifetime: .handle(9)), on: file).sealCount == 4)
    #expect(try table.take(request("x", lifetime: .handle(9)), on: file).sealCount == 5)
    #expect(table.isImmutable(file) && table.totalCount == 5 && !table.hasRequests(file + 1))
    for identity in table.requests(of: file).map(\.request.identity) {
      #expect(thrown { () throws(FSError) in try table.ask(.reclaim, inode: file, by: .daemon) } != nil)
      let holder = if case .named(bob.uid, _) = identity { bob } else { alice }
      try table.release(identity, inode: file, by: holder)
    }
    try table.ask(.reclaim, inode: file, by: .daemon)
    #expect(table.count(file) == 0 && table.totalCount == 0 && !table.isImmutable(file))
    table.checkInvariants()
  }

  @Test func grantTellsGeneration() throws {
    let first = try table.insert(request(), inode: file, createOnly: false, generation: 77)
    #expect(first.generation == 77 && first.replaced == nil)
    #expect(table.requests(of: file).map(\.generation) == [77])
    let second = try table.insert(request("b"), inode: file, createOnly: true, generation: 78)
    #expect(second.id != first.id)
  }

  /// Rule 10: setting again replaces, and two users never collide.
  @Test func sameIdentityReplaces() throws {
    let first = try table.take(request("x", ttl: 100), on: file)
    let second = try table.take(request("x", lifetime: .process(12)), on: file)
    #expect(second.sealCount == 1 && second.replaced?.id == first.id)
    #expect(table.specification(of: .named(uid: alice.uid, name: "x"), inode: file) == "hard,pid=12")
    #expect(table.specification(of: .named(uid: bob.uid, name: "x"), inode: file) == nil)
    #expect(try table.take(request("x", taker: bob), on: file).sealCount == 2)
    // A persistent one replaced by one that is not: the Store learns it from the grant.
    try table.take(request("p", lifetime: .persistent), on: file)
    #expect(try table.take(request("p"), on: file).replaced?.request.isPersistent == true)
    // The replaced request's process and ttl mean nothing any more.
    try table.take(request("x"), on: file)
    table.processDied(12)
    table.releaseExpired(now: .max)
    #expect(table.count(file) == 3)
    table.checkInvariants()
  }

  /// A replacement that fails leaves what stood.
  @Test func failedReplacementChangesNothing() throws {
    try table.take(request("x"), on: file)
    let before = table.requests(of: file).map(\.id)
    #expect(
      thrown { () throws(FSError) in
        try table.insert(request("x"), inode: file, createOnly: true, generation: 2)
      } == .exists)
    #expect(
      thrown { () throws(FSError) in try table.take(request("a name"), on: file) } == .invalid(.sealSpecification))
    #expect(table.requests(of: file).map(\.id) == before)
  }

  @Test func createOnly() throws {
    try table.insert(request("x"), inode: file, createOnly: true, generation: 1)
    #expect(
      thrown { () throws(FSError) in
        try table.insert(request("x"), inode: file, createOnly: true, generation: 1)
      } == .exists)
    try table.insert(request("x", taker: bob), inode: file, createOnly: true, generation: 1)
    try table.insert(request("x"), inode: file + 1, createOnly: true, generation: 1)
    try table.insert(request("x", lifetime: .handle(1)), inode: file, createOnly: true, generation: 1)
  }

  /// Pins of one handle are told apart by their blocks, and count each; asked for again, one replaces itself.
  @Test func pinsOfOneHandle() throws {
    func pin(_ offset: UInt64, _ count: UInt64) -> SealRequest {
      request(lifetime: .handle(5), scope: .range(byteOffset: offset, byteCount: count))
    }
    func release(_ blocks: BlockRange?) -> FSError? {
      thrown { () throws(FSError) in
        try table.release(.handle(5, name: "", pinned: blocks), inode: file, by: alice)
      }
    }
    #expect(try table.take(pin(4096, 1), on: file).sealCount == 1)
    #expect(try table.take(pin(4096, 8192), on: file).sealCount == 2)
    #expect(try table.take(pin(5000, 10), on: file).sealCount == 2, "the same block again")
    #expect(try table.take(request(lifetime: .handle(5)), on: file).sealCount == 3, "the whole file is another scope")
    #expect(release(nil) == nil)
    #expect(release(BlockRange(start: 1, count: 3)) == .noData)
    #expect(release(BlockRange(start: 1, count: 2)) == nil)
    #expect(release(BlockRange(start: 1, count: 2)) == .noData, "another pin of its own is not somebody else's")
    #expect(release(BlockRange(start: 1, count: 1)) == nil)
    #expect(!table.hasRequests(file))
    table.checkInvariants()
  }

  /// Row 23: the limits of all users together; root is neither counted nor refused.
  @Test func limitsOfAll() throws {
    var options = SealOptions()
    options.limits.allRequests = 3
    options.limits.allPinnedBytes = 10_000
    let table = SealTable(options: options)
    try table.take(request("a", taker: root, pinnedBytes: .max), on: file)
    try table.take(request("b", taker: bob, pinnedBytes: 9000), on: file)
    #expect(
      thrown { () throws(FSError) in try table.take(request("c", pinnedBytes: 1001), on: file) } == .quotaExceeded)
    try table.take(request("c", pinnedBytes: 1000), on: file)
    try table.take(request("c", pinnedBytes: 500), on: file)
    try table.take(request("d"), on: file)
    #expect(thrown { () throws(FSError) in try table.take(request("e"), on: file) } == .quotaExceeded)
    // As much again in its place is no more.
    try table.take(request("c", pinnedBytes: 1000), on: file)
    try table.take(request("f", taker: root, pinnedBytes: .max), on: file)
    #expect(table.refusals.requests.overQuota == 2)
    table.checkInvariants()
  }

  /// Rows 24 and 25.
  @Test func release() throws {
    func releasing(_ identity: RequestIdentity, by caller: Credentials) -> FSError? {
      thrown { () throws(FSError) in try table.release(identity, inode: file, by: caller) }
    }
    let mine = RequestIdentity.named(uid: alice.uid, name: "x")
    #expect(releasing(mine, by: alice) == .noData)
    try table.take(request("x"), on: file)
    try table.take(request("h", lifetime: .handle(5)), on: file)
    // Somebody else's: under their own name, or claiming to be alice; root too.
    #expect(releasing(.named(uid: bob.uid, name: "x"), by: bob) == .notPermitted)
    #expect(releasing(.named(uid: root.uid, name: "x"), by: root) == .notPermitted)
    #expect(releasing(mine, by: bob) == .notPermitted)
    #expect(releasing(mine, by: root) == .notPermitted)
    #expect(releasing(.handle(6, name: "h"), by: alice) == .notPermitted)
    #expect(releasing(.named(uid: alice.uid, name: "h"), by: alice) == .notPermitted)
    // Nobody's.
    #expect(releasing(.named(uid: alice.uid, name: "y"), by: alice) == .noData)
    #expect(releasing(.handle(5, name: ""), by: alice) == .noData)
    #expect(table.count(file) == 2)
    // The holder's. A handle's requests are whoever's has the handle.
    #expect(try table.release(mine, inode: file, by: alice).request.name == "x")
    #expect(releasing(.handle(5, name: "h"), by: bob) == nil)
    #expect(table.count(file) == 0)
    #expect(releasing(mine, by: alice) == .noData)
    table.checkInvariants()
  }

  /// Row 22, rule 9.
  @Test func rights() {
    func right(_ taker: Credentials, admin: Bool = false, writer: Bool = false) -> FSError? {
      thrown { () throws(FSError) in
        try table.checkRight(
          taker: taker, isAdministrator: admin, fileOwner: alice.uid, holdsWriteHandle: writer)
      }
    }
    var options = SealOptions()
    for (policy, owner, writer, stranger) in [
      (SealPolicy.owner, true, false, false), (.writer, true, true, false), (.admin, false, false, false),
    ] {
      options.policy = policy
      table.setOptions(options)
      #expect((right(alice) == nil) == owner, "\(policy)")
      #expect((right(bob, writer: true) == nil) == writer, "\(policy)")
      #expect((right(bob) == nil) == stranger, "\(policy)")
      #expect(right(bob, admin: true) == nil, "\(policy)")
      if !stranger { #expect(right(bob) == .notPermitted) }
    }
  }

  /// Row 23.
  @Test func quotaOfRequests() throws {
    var options = SealOptions()
    options.limits.requests = 3
    table.setOptions(options)
    for name in ["a", "b", "c"] { try table.take(request(name), on: file) }
    #expect(thrown { () throws(FSError) in try table.take(request("d"), on: file + 1) } == .quotaExceeded)
    // Replacing needs no more; others and root have their own; a release makes room.
    try table.take(request("c"), on: file)
    try table.take(request("d", taker: bob), on: file)
    for number in 0..<10 { try table.take(request("r\(number)", taker: root), on: file) }
    try table.release(.named(uid: alice.uid, name: "a"), inode: file, by: alice)
    try table.take(request("d"), on: file + 1)
    #expect(thrown { () throws(FSError) in try table.take(request("e"), on: file) } == .quotaExceeded)
    table.checkInvariants()
  }

  @Test func quotaOfBytes() throws {
    var options = SealOptions()
    options.limits.pinnedBytes = 100
    table.setOptions(options)
    try table.take(request("a", pinnedBytes: 60), on: file)
    try table.take(request("b", pinnedBytes: 40), on: file)
    #expect(thrown { () throws(FSError) in try table.take(request("c", pinnedBytes: 1), on: file) } == .quotaExceeded)
    #expect(
      thrown { () throws(FSError) in try table.take(request("c", pinnedBytes: .max), on: file) } == .quotaExceeded)
    try table.take(request("a", pinnedBytes: 10), on: file)
    try table.take(request("c", pinnedBytes: 50), on: file)
    try table.take(request(taker: root, pinnedBytes: .max), on: file)
    table.checkInvariants()
  }

  /// What the disk says stands, whatever the limits are now.
  @Test func restoring() throws {
    var options = SealOptions()
    options.limits.requests = 1
    table.setOptions(options)
    for name in ["a", "b"] {
      table.restore(request(name, lifetime: .persistent, ttl: 100), inode: file, generation: 5)
    }
    let pin = request("c", lifetime: .persistent, scope: .range(byteOffset: 0, byteCount: 1))
    table.restore(pin, inode: 8, generation: 5)
    #expect(table.count(file) == 2 && table.count(8) == 1 && table.isImmutable(file))
    #expect(thrown { () throws(FSError) in try table.take(request("d"), on: file) } == .quotaExceeded)
    table.releaseExpired(now: .max)
    #expect(table.totalCount == 1)
    table.checkInvariants()
  }

  @Test func badNamesAreRefused() {
    for name in ["a.b", String(repeating: "x", count: 65), "a\0"] {
      #expect(
        thrown { () throws(FSError) in try table.take(request(name), on: file) } == .invalid(.sealSpecification))
    }
  }
}
