/// The kernel as a holder: what it is told, and how long that counts.

import HoldfastBase
import Synchronization
import Testing

@testable import HoldfastSeal

@Suite struct KernelHolderTests {
  let table = SealTable()
  private let swapon = Credentials(uid: 0, gid: 0, pid: 77)

  @discardableResult
  private func ask(_ inode: InodeNumber, _ handles: UInt64...) throws(FSError) -> Bool {
    try table.holdForKernel(inode, handles: handles, asker: swapon, generation: 9)
  }

  private func kernel(_ inode: InodeNumber) -> RequestInfo? { table.request(.kernel, inode: inode) }

  @Test func onlyAHardSealOfSomebodysLetsItAsk() throws {
    #expect(throws: FSError.invalid(.notSealed)) { try ask(5, 1) }
    try table.take(request("a", kind: .breakable(graceSeconds: 1)), on: 5)
    try table.take(request("b", scope: .range(byteOffset: 0, byteCount: 1 << 40)), on: 5)
    table.restore(SealRequest(leasedBy: 0), inode: 5, generation: 1)
    #expect(throws: FSError.invalid(.notSealed)) { try ask(5, 1) }
    #expect(!table.isKnownToKernel(5) && table.count(5) == 3)
    try table.take(request("c"), on: 5)
    // Beside who stores into the blocks, nobody swaps to them; nor the other way round.
    #expect(throws: FSError.laidOut) { try ask(5, 1) }
    table.leaseEnded(5)
    try ask(5, 1)
    var layout = SealRequest(lifetime: .handle(9), name: "", taker: alice)
    layout.layout = .write
    #expect(throws: FSError.knownToKernel) { try table.take(layout, on: 5) }
    layout.layout = .read
    try table.take(layout, on: 5)
    let standing = try #require(kernel(5))
    #expect(standing.request.kind == .hard && standing.request.scope == .wholeFile)
    #expect(standing.request.uid == 0 && standing.request.holderPid == 77 && standing.generation == 9)
    #expect(standing.request.lifetime.description == "kernel")
    #expect(table.isKnownToKernel(5) && !table.isKnownToKernel(6))
    table.checkInvariants()
  }

  @Test func itStandsUntilTheLastHandleOfThenIsClosed() throws {
    try table.take(request(), on: 5)
    try ask(5, 1, 2)
    try ask(5, 1, 2, 3)
    #expect(table.count(5) == 2, "one for the inode")
    try table.release(.named(uid: alice.uid, name: ""), inode: 5, by: alice)
    #expect(thrown { () throws(FSError) in try table.ask(.truncate(toByteCount: 0), inode: 5, by: byAlice()) } != nil)
    // Nobody's to release: not by name, not by a handle it counts for.
    for identity in [RequestIdentity.named(uid: 0, name: ""), .handle(1, name: "")] {
      #expect(throws: FSError.notPermitted) { try table.release(identity, inode: 5, by: root) }
    }
    #expect(throws: FSError.invalid(.notSealed)) { try ask(5, 1, 4) }
    for handle in UInt64(1)...2 {
      table.handleClosed(handle)
      #expect(kernel(5) != nil)
    }
    table.checkInvariants()
    table.handleClosed(3)
    #expect(kernel(5) == nil && !table.isKnownToKernel(5) && !table.kernelHoldsAny)
    try table.ask(.truncate(toByteCount: 0), inode: 5, by: byAlice())
    table.checkInvariants()
  }

  @Test func whatItKnowsOutlivesARevoke() throws {
    try table.take(request(), on: 5)
    try ask(5, 1)
    table.kernelIsSettled(5)
    #expect(table.revoke(RevokeSelection(inode: 5)).count == 2)
    #expect(kernel(5) == nil && table.isKnownToKernel(5))
    #expect(!table.isStale(1), "the handle held nothing")
    // Sealed again, it may ask again, and what was settled still is.
    try table.take(request(), on: 5)
    #expect(try ask(5, 1, 2))
    #expect(kernel(5) != nil)
    table.inodeEvicted(5)
    #expect(table.isKnownToKernel(5), "evicted with handles open: at the end of a mount in use")
    table.handleClosed(1)
    table.handleClosed(2)
    #expect(!table.isKnownToKernel(5))
    table.checkInvariants()
  }

  @Test func itIsToldOfTheFirstAndTheLast() throws {
    final class Told: Sendable {
      let values = Mutex<[Bool]>([])
    }
    let told = Told()
    table.onKernelHolding = { holds in told.values.withLock { $0.append(holds) } }
    for inode in InodeNumber(5)...6 { try table.take(request(), on: inode) }
    try ask(5, 1)
    try ask(6, 2)
    table.handleClosed(1)
    #expect(told.values.withLock { $0 } == [true])
    table.handleClosed(2)
    #expect(told.values.withLock { $0 } == [true, false])
    try ask(5, 3)
    #expect(told.values.withLock { $0 } == [true, false, true])
  }

  /// A request begun while a recall is in flight would cheat whoever waits (row 21).
  @Test func notDuringARecall() throws {
    try table.take(request("a", lifetime: .handle(1), kind: .breakable(graceSeconds: 60)), on: 5)
    table.recallAll(of: 5)
    table.restore(request("b"), inode: 5, generation: 1)
    #expect(throws: FSError.recallInFlight) { try ask(5, 2) }
    #expect(!table.isKnownToKernel(5))
  }
}
