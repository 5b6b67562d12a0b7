/// The standing requests of a mount, indexed by inode, identity, handle, process and user. No lock of its own:
/// it is part of SealTable's state.
///
/// Requests live in slots of flat arrays; every index holds slot numbers. A list keeps the order of taking, so
/// removing newest first costs O(1) per list, and a holder's n requests go in O(n).
///
/// Invariants (`checkInvariants`): every standing request is in the lists of its inode and, by lifetime, of its
/// handle or process; no list is empty; `usage` and `wholeFileCount` are the sums over the standing requests.

import HoldfastBase

struct RequestIndex {
  typealias Slot = Int

  struct Standing {
    var id: UInt64
    var inode: InodeNumber
    var request: SealRequest
    /// Of the file's map when granted.
    var generation: UInt64
  }

  /// What a user holds.
  struct Usage: Equatable {
    var requests = 0
    var pinnedBytes: UInt64 = 0
  }

  private struct IdentityKey: Hashable {
    var inode: InodeNumber
    var identity: RequestIdentity
  }

  private struct InodeEntry {
    var slots: [Slot] = []
    var wholeFileCount = 0
  }

  private var standing: [Standing?] = []
  /// Parallel to `standing`; what the conflict rule reads, free of reference counts.
  private var claims: [Claim] = []
  private var freeSlots: [Slot] = []
  private var inodes: [InodeNumber: InodeEntry] = [:]
  private var identities: [IdentityKey: Slot] = [:]
  private var handles: [UInt64: [Slot]] = [:]
  private var processes: [Int32: [Slot]] = [:]
  private var users: [UInt32: Usage] = [:]
  private var lastID: UInt64 = 0

  var count: Int { standing.count - freeSlots.count }

  subscript(slot: Slot) -> Standing { standing[slot]! }
  func claim(_ slot: Slot) -> Claim { claims[slot] }

  /// Slots in the order the requests were taken.
  func slots(of inode: InodeNumber) -> [Slot] { inodes[inode]?.slots ?? [] }
  func slots(ofHandle handle: UInt64) -> [Slot] { handles[handle] ?? [] }
  func slots(ofProcess pid: Int32) -> [Slot] { processes[pid] ?? [] }
  func allSlots() -> [Slot] { standing.indices.filter { standing[$0] != nil } }
  func count(of inode: InodeNumber) -> Int { inodes[inode]?.slots.count ?? 0 }
  func wholeFileCount(of inode: InodeNumber) -> Int { inodes[inode]?.wholeFileCount ?? 0 }
  func usage(of uid: UInt32) -> Usage { users[uid] ?? Usage() }
  var processCount: Int { processes.count }

  func slot(_ identity: RequestIdentity, _ inode: InodeNumber) -> Slot? {
    identities[IdentityKey(inode: inode, identity: identity)]
  }

  /// The request in `slot`, unless it is gone and another took its place.
  func standing(at slot: Slot, id: UInt64) -> Standing? {
    guard standing.indices.contains(slot), let found = standing[slot], found.id == id else { return nil }
    return found
  }

  /// Adds a request whose identity does not stand on this inode.
  mutating func add(_ request: SealRequest, inode: InodeNumber, generation: UInt64) -> Slot {
    lastID += 1
    let entry = Standing(id: lastID, inode: inode, request: request, generation: generation)
    let slot: Slot
    if let free = freeSlots.popLast() {
      slot = free
      standing[slot] = entry
      claims[slot] = request.claim
    } else {
      slot = standing.count
      standing.append(entry)
      claims.append(request.claim)
    }
    let previous = identities.updateValue(slot, forKey: IdentityKey(inode: inode, identity: request.identity))
    precondition(previous == nil, "a request of this identity stands already")
    inodes[inode, default: InodeEntry()].slots.append(slot)
    if request.scope == .wholeFile { inodes[inode]!.wholeFileCount += 1 }
    switch request.lifetime {
    case .handle(let handle): handles[handle, default: []].append(slot)
    case .process(let pid): processes[pid, default: []].append(slot)
    case .name, .persistent: break
    }
    users[request.uid, default: Usage()].requests += 1
    users[request.uid]!.pinnedBytes &+= request.pinnedBytes
    return slot
  }

  @discardableResult
  mutating func remove(_ slot: Slot) -> Standing {
    let entry = standing[slot]!
    let request = entry.request
    standing[slot] = nil
    freeSlots.append(slot)
    identities[IdentityKey(inode: entry.inode, identity: request.identity)] = nil
    Self.drop(slot, from: &inodes[entry.inode]!.slots)
    if request.scope == .wholeFile { inodes[entry.inode]!.wholeFileCount -= 1 }
    if inodes[entry.inode]!.slots.isEmpty { inodes[entry.inode] = nil }
    switch request.lifetime {
    case .handle(let handle):
      Self.drop(slot, from: &handles[handle]!)
      if handles[handle]!.isEmpty { handles[handle] = nil }
    case .process(let pid):
      Self.drop(slot, from: &processes[pid]!)
      if processes[pid]!.isEmpty { processes[pid] = nil }
    case .name, .persistent: break
    }
    users[request.uid]!.requests -= 1
    users[request.uid]!.pinnedBytes &-= request.pinnedBytes
    if users[request.uid]!.requests == 0 { users[request.uid] = nil }
    return entry
  }

  /// Removes several, newest first, which is cheapest; returns them in the order given.
  mutating func remove(all slots: [Slot]) -> [Standing] {
    var removed: [Standing] = []
    removed.reserveCapacity(slots.count)
    for slot in slots.reversed() { removed.append(remove(slot)) }
    removed.reverse()
    return removed
  }

  private static func drop(_ slot: Slot, from list: inout [Slot]) {
    list.remove(at: list.lastIndex(of: slot)!)
  }

  /// Traps where an index disagrees with the requests. For tests.
  func checkInvariants() {
    var recount: [UInt32: Usage] = [:]
    var whole: [InodeNumber: Int] = [:]
    for slot in allSlots() {
      let entry = self[slot]
      precondition(claims[slot] == entry.request.claim)
      precondition(self.slot(entry.request.identity, entry.inode) == slot)
      precondition(inodes[entry.inode]!.slots.filter { $0 == slot }.count == 1)
      if entry.request.scope == .wholeFile { whole[entry.inode, default: 0] += 1 }
      switch entry.request.lifetime {
      case .handle(let handle): precondition(handles[handle]!.contains(slot))
      case .process(let pid): precondition(processes[pid]!.contains(slot))
      case .name, .persistent: break
      }
      recount[entry.request.uid, default: Usage()].requests += 1
      recount[entry.request.uid]!.pinnedBytes += entry.request.pinnedBytes
    }
    precondition(recount == users)
    precondition(identities.count == count && inodes.values.reduce(0) { $0 + $1.slots.count } == count)
    precondition(inodes.allSatisfy { !$1.slots.isEmpty && $1.wholeFileCount == whole[$0] ?? 0 })
    precondition(handles.values.allSatisfy { !$0.isEmpty } && processes.values.allSatisfy { !$0.isEmpty })
  }
}
