import HoldfastBase
import Synchronization
import Testing

@testable import HoldfastSeal

/// A layout for writing ends under the table's lock, and who drops its pages hears of it a moment later. Nothing gets in
/// between.
@Suite struct LayoutEndTests {
  private let table = SealTable()
  private let first = BlockRange(from: 0, to: 16)

  private func take(_ access: LayoutAccess, handle: UInt64 = 9) throws -> UInt64 {
    var request = SealRequest(
      scope: .range(byteOffset: 0, byteCount: 16 << 12), lifetime: .handle(handle), name: "", taker: alice)
    request.layout = access
    return try table.insert(request, inode: 5, createOnly: false, generation: 1).id
  }

  @Test func itCountsUntilItsEndHasBeenTold() throws {
    let told = Mutex<[(use: PageCacheUse, isRefused: Bool, isElsewhereRefused: Bool, mayStore: Bool)]>([])
    table.onWriteLayoutEnded = { [table, first] inode, blocks in
      #expect(inode == 5 && blocks == first)
      let seen = (
        table.pageCacheUse(of: 5), table.refusesWriteback(of: 5, first),
        table.refusesWriteback(of: 5, BlockRange(from: 16, to: 17)), table.hasWriteLayouts
      )
      told.withLock { $0.append(seen) }
    }
    let id = try take(.write)
    #expect(table.pageCacheUse(of: 5) == .none && !table.refusesWriteback(of: 5, first), "not flushed yet")
    try table.setFlushed(id, ofHandle: 9, inode: 5)
    #expect(table.refusesWriteback(of: 5, first))
    table.handleClosed(9)
    let seen = told.withLock { $0 }
    #expect(seen.count == 1)
    #expect(seen[0].use == .closeToOpen && seen[0].isRefused && !seen[0].isElsewhereRefused && seen[0].mayStore)
    #expect(table.pageCacheUse(of: 5) == .free && !table.refusesWriteback(of: 5, first) && !table.hasWriteLayouts)
    table.checkInvariants()
  }

  @Test func oneThatWasNeverFlushedDropsNothing() throws {
    let told = Mutex(0)
    table.onWriteLayoutEnded = { _, _ in told.withLock { $0 += 1 } }
    _ = try take(.sharedWrite)
    table.handleClosed(9)
    #expect(told.withLock { $0 } == 0 && table.pageCacheUse(of: 5) == .free)
  }

  @Test func oneThatTakesTheOthersPlaceProtectsItsStoresAtOnce() throws {
    try table.setFlushed(try take(.write), ofHandle: 9, inode: 5)
    _ = try take(.sharedWrite)
    #expect(table.refusesWriteback(of: 5, first))
    _ = try take(.read)
    #expect(!table.refusesWriteback(of: 5, first))
  }

  /// Its taker waits for a flush, and that may wait for a page which the breaker has locked.
  @Test func oneThatIsBeingGrantedGivesWayAtOnce() throws {
    func breakable(_ handle: UInt64) throws -> UInt64 {
      var request = SealRequest(
        kind: .breakable(graceSeconds: 60), lifetime: .handle(handle), name: "", taker: alice)
      request.layout = .sharedWrite
      return try table.insert(request, inode: 5, createOnly: false, generation: 1).id
    }
    let granted = try breakable(9)
    try table.setFlushed(granted, ofHandle: 9, inode: 5)
    let pending = try breakable(10)
    let breaker = Actor(credentials: byAlice().credentials, handle: 11, waits: true)
    // The one that was granted is waited for; the other is in nobody's way, now or when the wait is over.
    #expect(throws: FSError.self) { _ = try table.authorize(.truncate(toByteCount: 0), inode: 5, by: breaker) }
    try table.release(.layout(handle: 9, pinned: nil), inode: 5, by: alice)
    #expect(table.recallMilliseconds(ofHandle: 10) == nil)
    _ = try table.authorize(.truncate(toByteCount: 0), inode: 5, by: breaker)
    #expect(throws: FSError.recallInFlight) { try table.setFlushed(pending, ofHandle: 10, inode: 5) }
    #expect(!table.isStale(10) && table.count(5) == 0)
  }
}
