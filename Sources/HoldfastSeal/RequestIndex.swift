/// The standing requests of a mount, indexed by inode, identity, handle, process and user. No lock of its own:
/// it is part of SealTable's state.
///
/// Requests live in slots of flat arrays; every index holds slot numbers. Adding and removing one costs O(1), O(log n)
/// for a pin among n of its file; finding what meets a change O(log n) and as much for each one found.
///
/// Invariants (`checkInvariants`): every standing request is in the sets of its inode and, by lifetime, of its
/// handle or process; no set is empty; `users` and `usage` are the sums over the standing requests.

import HoldfastBase

struct RequestIndex {
  typealias Slot = Int

  struct Standing {
    var id: UInt64
    var inode: InodeNumber
    var request: SealRequest
    /// Of the file's map when granted.
    var generation: UInt64
    /// When it is fenced, on the monotonic clock; nil while nobody has asked for it back.
    var fencedAt: Int64?
    /// A layout whose page cache has been flushed: what is written back from now on would overwrite its stores.
    var isFlushed = false

    /// A layout whose taker has had no answer yet.
    var isBeingGranted: Bool { request.layout != nil && !isFlushed }
  }

  /// What a user holds, or all; the daemon's own requests, for leases and for the kernel, are nobody's.
  struct Usage: Equatable {
    var requests = 0
    var pinnedBytes: UInt64 = 0

    mutating func add(_ request: SealRequest) {
      requests += 1
      pinnedBytes &+= request.pinnedBytes
    }

    mutating func subtract(_ request: SealRequest) {
      requests -= 1
      pinnedBytes &-= request.pinnedBytes
    }

    func hasRoom(for request: SealRequest, requests limit: Int, pinnedBytes byteLimit: UInt64) -> Bool {
      let (bytes, overflowed) = pinnedBytes.addingReportingOverflow(request.pinnedBytes)
      return requests < limit && !overflowed && bytes <= byteLimit
    }
  }

  private struct IdentityKey: Hashable {
    var inode: InodeNumber
    var identity: RequestIdentity
  }

  /// The requests of one inode: all of them, and by what the gate asks for.
  private struct InodeEntry {
    /// Requests of one kind.
    struct Group {
      var wholeFile = SlotSet()
      var pins = IntervalIndex()
    }

    var all = SlotSet()
    var hard = Group()
    var breakable = Group()
    /// Requests bound to a process.
    var processBound = 0
    /// Those that are layouts.
    var layouts = SlotSet()

    subscript(isBreakable: Bool) -> Group {
      get { isBreakable ? breakable : hard }
      _modify { if isBreakable { yield &breakable } else { yield &hard } }
    }
  }

  private var standing: [Standing?] = []
  /// Parallel to `standing`; what the conflict rule reads, free of reference counts.
  private var claims: [Claim] = []
  private var freeSlots: [Slot] = []
  private var inodes: [InodeNumber: InodeEntry] = [:]
  private var identities: [IdentityKey: Slot] = [:]
  private var handles: [UInt64: SlotSet] = [:]
  private var processes: [Int32: SlotSet] = [:]
  /// Layouts on the mount.
  private(set) var layoutCount = 0
  /// Of those, the ones for writing.
  private(set) var writeLayoutCount = 0
  /// Of users who have limits.
  private var users: [UInt32: Usage] = [:]
  /// Of all those users together.
  private(set) var usage = Usage()
  private var lastID: UInt64 = 0

  var count: Int { standing.count - freeSlots.count }

  subscript(slot: Slot) -> Standing { standing[slot]! }
  func claim(_ slot: Slot) -> Claim { claims[slot] }

  /// Slots in the order the requests were taken; sorts them.
  func slots(of inode: InodeNumber) -> [Slot] { inOrder(inodes[inode]?.all) }
  func slots(ofHandle handle: UInt64) -> [Slot] { inOrder(handles[handle]) }
  func slots(ofProcess pid: Int32) -> [Slot] { inOrder(processes[pid]) }
  func allSlots() -> [Slot] { standing.indices.filter { standing[$0] != nil } }
  func count(of inode: InodeNumber) -> Int { inodes[inode]?.all.count ?? 0 }

  /// Whether any request of the inode is bound to somebody who may still be there.
  func hasHolders(of inode: InodeNumber) -> Bool {
    inodes[inode]?.all.slots.contains { standing[$0]!.request.hasHolder } ?? false
  }

  /// When the first of a handle's recalled requests is fenced; nil when none is recalled.
  func fencedAt(ofHandle handle: UInt64) -> Int64? {
    handles[handle]?.slots.lazy.compactMap { self.standing[$0]!.fencedAt }.min()
  }

  private func inOrder(_ set: SlotSet?) -> [Slot] {
    guard let set else { return [] }
    return set.count < 2 ? set.slots : set.slots.sorted { standing[$0]!.id < standing[$1]!.id }
  }

  /// Requests that cover the whole file.
  func wholeFileCount(of inode: InodeNumber) -> Int {
    guard let entry = inodes[inode] else { return 0 }
    return entry.hard.wholeFile.count + entry.breakable.wholeFile.count
  }

  /// Whether a hard request covers the whole file that is not the daemon's own.
  func hasSealOfSomebodys(_ inode: InodeNumber) -> Bool {
    inodes[inode]?.hard.wholeFile.slots.contains {
      let lifetime = standing[$0]!.request.lifetime
      return lifetime != .lease && lifetime != .kernel
    } ?? false
  }

  func processBoundCount(of inode: InodeNumber) -> Int { inodes[inode]?.processBound ?? 0 }

  /// Calls `body` with the requests of `inode` within `reach`, the hard ones first, until it returns false.
  func visit(_ inode: InodeNumber, within reach: MapChange.Reach, _ body: (Slot) -> Bool) {
    guard let entry = inodes[inode] else { return }
    for isBreakable in [false, true] {
      var goesOn = true
      if reach.meetsWholeFile {
        for slot in entry[isBreakable].wholeFile.slots {
          goesOn = body(slot)
          if !goesOn { return }
        }
      }
      entry[isBreakable].pins.forEachOverlap(reach.pins) { slot in
        goesOn = body(slot)
        return goesOn
      }
      if !goesOn { return }
    }
  }

  /// Layouts on the inode, in no order.
  func layouts(of inode: InodeNumber) -> [Slot] { inodes[inode]?.layouts.slots ?? [] }

  func hasWriteLayouts(_ inode: InodeNumber) -> Bool {
    layouts(of: inode).contains { standing[$0]!.request.layout?.isWriting == true }
  }

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
    // Of a lease that was found nothing has been cached yet.
    let entry = Standing(
      id: lastID, inode: inode, request: request, generation: generation, isFlushed: request.lifetime == .lease)
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
    inodes[inode, default: InodeEntry()].all.insert(slot)
    if let pinned = claims[slot].pinned {
      inodes[inode]![request.isBreakable].pins.insert(pinned, slot)
    } else {
      inodes[inode]![request.isBreakable].wholeFile.insert(slot)
    }
    if let layout = request.layout {
      inodes[inode]!.layouts.insert(slot)
      layoutCount += 1
      if layout.isWriting { writeLayoutCount += 1 }
    }
    switch request.lifetime {
    case .handle(let handle): handles[handle, default: SlotSet()].insert(slot)
    case .process(let pid):
      processes[pid, default: SlotSet()].insert(slot)
      inodes[inode]!.processBound += 1
    case .name, .persistent, .lease, .kernel: break
    }
    if request.isCounted {
      users[request.uid, default: Usage()].add(request)
      usage.add(request)
    }
    return slot
  }

  /// Its holder is asked to let go until `deadline`.
  mutating func recall(_ slot: Slot, until deadline: Int64) { standing[slot]!.fencedAt = deadline }

  /// A layout's page cache has been flushed.
  mutating func setFlushed(_ slot: Slot) { standing[slot]!.isFlushed = true }

  @discardableResult
  mutating func remove(_ slot: Slot) -> Standing {
    let entry = standing[slot]!
    let request = entry.request
    standing[slot] = nil
    freeSlots.append(slot)
    identities[IdentityKey(inode: entry.inode, identity: request.identity)] = nil
    inodes[entry.inode]!.all.remove(slot)
    if let layout = request.layout {
      inodes[entry.inode]!.layouts.remove(slot)
      layoutCount -= 1
      if layout.isWriting { writeLayoutCount -= 1 }
    }
    if claims[slot].ownerProcess != nil { inodes[entry.inode]!.processBound -= 1 }
    if inodes[entry.inode]!.all.isEmpty {
      inodes[entry.inode] = nil
    } else if let pinned = claims[slot].pinned {
      inodes[entry.inode]![request.isBreakable].pins.remove(pinned, slot)
    } else {
      inodes[entry.inode]![request.isBreakable].wholeFile.remove(slot)
    }
    switch request.lifetime {
    case .handle(let handle):
      handles[handle]!.remove(slot)
      if handles[handle]!.isEmpty { handles[handle] = nil }
    case .process(let pid):
      processes[pid]!.remove(slot)
      if processes[pid]!.isEmpty { processes[pid] = nil }
    case .name, .persistent, .lease, .kernel: break
    }
    if request.isCounted {
      users[request.uid]!.subtract(request)
      usage.subtract(request)
      if users[request.uid]!.requests == 0 { users[request.uid] = nil }
    }
    return entry
  }

  /// Removes several; returns them in the order given.
  mutating func remove(all slots: [Slot]) -> [Standing] { slots.map { remove($0) } }

  /// Traps where an index disagrees with the requests. For tests.
  func checkInvariants() {
    var recount: [UInt32: Usage] = [:]
    for slot in allSlots() {
      let entry = self[slot]
      precondition(claims[slot] == entry.request.claim)
      precondition(self.slot(entry.request.identity, entry.inode) == slot)
      let group = inodes[entry.inode]![entry.request.isBreakable]
      precondition(inodes[entry.inode]!.all.slots.contains(slot))
      if let pinned = claims[slot].pinned {
        var isFound = false
        group.pins.forEachOverlap(pinned) {
          isFound = isFound || $0 == slot
          return true
        }
        precondition(isFound)
      } else {
        precondition(group.wholeFile.slots.contains(slot))
      }
      switch entry.request.lifetime {
      case .handle(let handle): precondition(handles[handle]!.slots.contains(slot))
      case .process(let pid): precondition(processes[pid]!.slots.contains(slot))
      case .name, .persistent, .lease, .kernel: break
      }
      if entry.request.isCounted { recount[entry.request.uid, default: Usage()].add(entry.request) }
    }
    precondition(recount == users && usage.requests == users.values.reduce(0) { $0 + $1.requests })
    precondition(identities.count == count && inodes.values.reduce(0) { $0 + $1.all.count } == count)
    for entry in inodes.values {
      let groups = [entry.hard, entry.breakable]
      precondition(entry.all.count > 0)
      precondition(groups.reduce(0) { $0 + $1.wholeFile.count + $1.pins.count } == entry.all.count)
      precondition(entry.all.slots.count { claims[$0].ownerProcess != nil } == entry.processBound)
      precondition(
        entry.layouts.slots.sorted() == entry.all.slots.filter { self[$0].request.layout != nil }.sorted())
    }
    precondition(layoutCount == inodes.values.reduce(0) { $0 + $1.layouts.count })
    precondition(handles.values.allSatisfy { !$0.isEmpty } && processes.values.allSatisfy { !$0.isEmpty })
  }
}

extension SealRequest {
  /// Against the limits, which root has none of.
  fileprivate var isCounted: Bool { uid != 0 }
}
