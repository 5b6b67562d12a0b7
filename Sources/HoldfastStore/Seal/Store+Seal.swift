/// Taking and releasing seals: the part that knows extent maps. Who may, who holds and what conflicts is HoldfastSeal's.
///
/// A grant needs a map that is as wanted, durable, and cannot change between the look and the grant: all under the
/// inode's exclusive lock. What makes it durable is done before, without the lock, and looked at again.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal

extension Store {
  /// Takes a request on `inode`. The caller has checked the right (`SealTable.checkRight`).
  /// - Throws: `.invalid(.unsealableRange…)` naming the first range that is no plain written extent (preparation
  ///   `.verify`), and what `SealTable.insert` throws.
  public func seal(_ request: SealRequest, createOnly: Bool, of inode: InodeNumber) throws(FSError) -> SealGrant {
    if request.isPersistent { try reading { () throws(FSError) in try checkWritable() } }
    // The limits are looked at before anything is filled for a request they refuse.
    var request = request
    request.pinnedBytes = request.scope.byteCount(
      ofFile: try reading { () throws(FSError) in try self.inode(inode).size })
    do throws(FSError) {
      try seals.precheck(request, inode: inode, createOnly: createOnly)
    } catch .quotaExceeded {
      try checkMap(request, inode)
      throw .quotaExceeded
    } catch .recallInFlight {
      if request.preparation == .verify { try checkMap(request, inode) }
      throw .recallInFlight
    }
    let zeroedGeneration = try zeroBehindEnd(for: request, inode)
    if request.preparation == .fill {
      try checkBehindEnd(request.scope, inode)
      var handle: UInt64?
      if case .handle(let id) = request.lifetime { handle = id }
      // Its own breakable requests end with the filling; others' are recalled, and the taker told to try again.
      try prepare(inode, request.scope, Actor(credentials: request.taker, handle: handle))
    }
    // Each round makes durable what the one before found; writers that never pause lose to the last, which waits
    // for its commit under the lock.
    for attempt in 0..<3 {
      try syncAll()
      let grant = try inodeLocks.exclusive(inode) { () throws(FSError) -> SealGrant? in
        try trimLocked(inode)
        let (record, isDurable) = try reading { () throws(FSError) in
          let record = try self.inode(inode)
          guard record.isRegular else { throw .invalid(.argument) }
          return (record, isDurableNow)
        }
        if !isDurable {
          guard attempt == 2 else { return nil }
          try syncAll()
        }
        if request.preparation != .asIs { try verify(inode, record, request) }
        if zeroedGeneration != nil, zeroedGeneration != record.mapGeneration {
          try zeroBehindEndLocked(inode, record, request.scope)
        }
        request.pinnedBytes = request.scope.byteCount(ofFile: record.size)
        return try insertDurably(request, createOnly: createOnly, of: inode, generation: currentGeneration(record))
      }
      if let grant { return grant }
    }
    preconditionFailure("the third attempt grants or throws")
  }

  /// Filling writes nothing behind the end: what it cannot make sealable refuses it before it begins.
  private func checkBehindEnd(_ scope: SealScope, _ inode: InodeNumber) throws(FSError) {
    try inodeLocks.exclusive(inode) { () throws(FSError) in
      let record = try reading { () throws(FSError) in try self.inode(inode) }
      let end = Block.count(covering: record.size)
      guard record.isRegular, let pinned = scope.blocks, pinned.end > end else { return }
      try verify(inode, BlockRange(from: max(pinned.start, end), to: pinned.end))
    }
  }

  /// What of the map would refuse a request that is refused anyhow: EINVAL is told before EAGAIN, and with ETXTBSY before
  /// EDQUOT. Nothing changes.
  private func checkMap(_ request: SealRequest, _ inode: InodeNumber) throws(FSError) {
    if request.preparation == .asIs { return }
    try syncAll()
    try inodeLocks.exclusive(inode) { () throws(FSError) in
      let record = try reading { () throws(FSError) in try self.inode(inode) }
      guard record.isRegular else { throw .invalid(.argument) }
      guard request.preparation == .fill else { return try verify(inode, record, request) }
      let blocks = request.scope.blocks(ofFile: record.size)
      for run in try runs(of: inode, in: blocks, .contents) {
        let actor = Actor(credentials: request.taker, handle: nil)
        if let refusal = seals.conflict(.fill(run), inode: inode, by: actor) { throw .sealed(refusal) }
      }
    }
  }

  /// Everything so far is on the device. Under the tree lock.
  private var isDurableNow: Bool {
    let data = dataWrites.load(ordering: .acquiring)
    return commitState.lock.withLock { commitState.durableTicket >= ticket && commitState.durableData >= data }
  }

  /// Inserts and, where the disk must know, writes and commits the record; a failure takes the request back.
  private func insertDurably(
    _ request: SealRequest, createOnly: Bool, of inode: InodeNumber, generation: UInt64
  ) throws(FSError) -> SealGrant {
    let grant = try seals.insert(request, inode: inode, createOnly: createOnly, generation: generation)
    let wasPersistent = grant.replaced?.request.isPersistent ?? false
    guard request.isPersistent || wasPersistent else { return grant }
    do throws(FSError) {
      try transaction(keys: 1, request.isPersistent ? .growing : .shrinking) { () throws(FSError) in
        if request.isPersistent { try putPersistent(request, inode) } else { try delete(persistentKey(request, inode)) }
      }
      try syncAll()
    } catch {
      _ = try? seals.release(
        request.identity, inode: inode, by: Credentials(uid: request.uid, gid: request.gid, pid: request.pid))
      if let replaced = grant.replaced { seals.restore(replaced.request, inode: inode, generation: generation) }
      throw error
    }
    return grant
  }

  /// Releases a request (rows 24, 25).
  public func unseal(_ identity: RequestIdentity, of inode: InodeNumber, by caller: Credentials) throws(FSError) {
    let released = try seals.release(identity, inode: inode, by: caller)
    try forgetPersistent([released])
  }

  /// Row 28. The caller has checked that an administrator asks. Durable, where the disk knows of requests.
  public func revoke(_ selection: RevokeSelection) throws(FSError) -> [RequestInfo] {
    if seals.requests(matching: selection).contains(where: { $0.request.isPersistent }) {
      try reading { () throws(FSError) in try checkWritable() }
    }
    let revoked = seals.revoke(selection)
    if revoked.contains(where: { $0.request.isPersistent }) { try syncAll() }
    return revoked
  }

  /// A withdrawn grant moves the map's generation on, for everybody to see.
  func advanceGeneration(of inode: InodeNumber) {
    do throws(FSError) {
      try transaction(keys: 1, .shrinking) { () throws(FSError) in
        guard try tree.lookup(.inode(inode)) != nil else { return }
        var record = try self.inode(inode)
        touchMap(&record)
        try putInode(inode, record)
      }
    } catch {
      // A volume that cannot be written changes no maps either.
    }
  }

  // MARK: The map

  /// `HOLDFAST_IOC_PREPARE` and `fill`: allocates holes and writes zeros to what is unwritten, so that the range can be
  /// sealed. Bytes; `byteCount` 0: to the end of the file. `waits`: see `write`.
  public func prepare(
    _ inode: InodeNumber, offset: UInt64, byteCount: UInt64, handle: UInt64?, by caller: Credentials,
    waits: Bool = false
  ) throws(FSError) {
    try prepare(
      inode, byteCount == 0 && offset == 0 ? .wholeFile : .range(byteOffset: offset, byteCount: byteCount),
      Actor(credentials: caller, handle: handle, waits: waits))
  }

  private func prepare(_ inode: InodeNumber, _ scope: SealScope, _ actor: Actor) throws(FSError) {
    let size = try reading { () throws(FSError) in try writableFile(inode) }.size
    // Nothing written lies behind the end: what is asked for there is left alone.
    var rest = scope.blocks(ofFile: size).intersection(BlockRange(from: 0, to: Block.count(covering: size)))
    // All of it is judged before anything changes: what waits, waits once, and a refusal is whole.
    if rest.count > Store.prepareStep {
      try inodeLocks.exclusive(inode) { () throws(FSError) in
        let record = try reading { () throws(FSError) in try writableFile(inode) }
        _ = try authorizeWrite(inode, record, rest, end: 0, changing: .contents, actor)
      }
    }
    // In pieces, so that others' requests on the inode get their turn: the worst wait is one piece's zeros.
    while !rest.isEmpty {
      let piece = BlockRange(start: rest.start, count: min(rest.count, Store.prepareStep))
      try prepareBlocks(inode, piece, actor)
      rest = BlockRange(from: piece.end, to: rest.end)
    }
  }

  /// Blocks zeroed under one hold of the inode's lock: 64 MiB.
  static let prepareStep: UInt64 = 16384

  private func prepareBlocks(_ inode: InodeNumber, _ asked: BlockRange, _ actor: Actor) throws(FSError) {
    try inodeLocks.exclusive(inode) { () throws(FSError) in
      try trimLocked(inode)
      let record = try reading { () throws(FSError) in try writableFile(inode) }
      // It may have been cut meanwhile.
      let blocks = asked.intersection(BlockRange(from: 0, to: Block.count(covering: record.size)))
      guard try hasUnwritten(inode, blocks) else { return }
      try reading { () throws(FSError) in try checkWritable() }
      let permit = try authorizeWrite(inode, record, blocks, end: 0, changing: .contents, actor)
      try checkMetadataRoom(toSplit: inode, blocks)
      try fill(inode, blocks, growing: false, permit)
      var block = blocks.start
      while block < blocks.end {
        let run = try reading { () throws(FSError) -> MappedExtent? in
          guard case .mapped(let extent) = try piece(of: inode, at: block, limit: blocks.end) else { return nil }
          return extent
        }
        guard let run else { throw .corrupt(structure: .extentRecord, block: inode) }
        let end = min(run.end, blocks.end)
        if !run.isWritten {
          try writeZeros(
            (end - block) << UInt64(Block.shift), at: run.physical(block) << UInt64(Block.shift), of: inode)
        }
        block = end
      }
      try markWritten(inode, blocks, permit)
    }
  }

  private func markWritten(
    _ inode: InodeNumber, _ blocks: BlockRange, _ permit: borrowing MapChangePermit
  ) throws(FSError) {
    var block = blocks.start
    while block < blocks.end {
      block = try transaction(keys: Store.removalStep * Store.keysPerExtentEdit + 1, .shrinking) { () throws(FSError) in
        var record = try self.inode(inode)
        touchMap(&record)
        try putInode(inode, record)
        return try convert(
          of: inode, BlockRange(from: block, to: blocks.end), toWritten: true, limit: Store.removalStep, permit)
      }
    }
  }

  /// Rule 4: holes, unwritten and shared extents in the scope are EINVAL. Preallocation behind the end is no reason, nor is
  /// it for a layout that reaches there.
  private func verify(_ inode: InodeNumber, _ record: InodeRecord, _ request: SealRequest) throws(FSError) {
    let end = Block.count(covering: record.size)
    let blocks = request.scope.blocks(ofFile: record.size)
    guard request.layout != nil else {
      let limit = request.scope.endsWithFile ? end : MapChange.endOfMap
      return try verify(inode, blocks.intersection(BlockRange(from: 0, to: limit)))
    }
    try verify(inode, blocks.intersection(BlockRange(from: 0, to: end)))
    try verifyMapped(inode, blocks.intersection(BlockRange(from: end, to: MapChange.endOfMap)))
  }

  /// Blocks behind the end that a layout names must be there; nobody has written them yet.
  private func verifyMapped(_ inode: InodeNumber, _ blocks: BlockRange) throws(FSError) {
    guard let hole = try runs(of: inode, in: blocks, .mapping, limit: 1).first else { return }
    throw .invalid(
      .unsealableRange(
        .hole, byteOffset: hole.start << UInt64(Block.shift), byteCount: hole.count << UInt64(Block.shift)))
  }

  private func verify(_ inode: InodeNumber, _ blocks: BlockRange) throws(FSError) {
    var block = blocks.start
    try walk(inode, blocks) { (piece) throws(FSError) in
      let next = min(piece.end, blocks.end)
      var defect: FSError.MapDefect?
      switch piece {
      case .hole: defect = .hole
      case .mapped(let extent):
        if extent.record.flags.contains(.unwritten) { defect = .unwritten }
        if extent.record.flags.contains(.shared) { defect = .shared }
      }
      if let defect {
        throw .invalid(
          .unsealableRange(
            defect, byteOffset: block << UInt64(Block.shift), byteCount: (next - block) << UInt64(Block.shift)))
      }
      block = next
      return true
    }
  }

  // MARK: Persistent requests

  private func persistentKey(_ request: SealRequest, _ inode: InodeNumber) -> Key {
    var uid = request.uid.littleEndian
    var bytes = withUnsafeBytes(of: &uid) { Array($0) }
    bytes.append(contentsOf: request.name.utf8)
    let hash = bytes.withUnsafeBytes { NameHash.raw($0, seed: volume.hashSeed) }
    return Key(space: .persistentSeal, object: inode, low: hash)
  }

  private func putPersistent(_ request: SealRequest, _ inode: InodeNumber) throws(FSError) {
    let bytes = request.encodePersistent()
    let encode = { (p: UnsafeMutableRawPointer) in
      bytes.withUnsafeBytes { p.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }
    try withEncoded(bytes.count, encode) { (value) throws(FSError) in try put(persistentKey(request, inode), value) }
  }

  /// Drops the records of persistent ones among released requests, durably: a release must not come back.
  private func forgetPersistent(_ requests: [RequestInfo]) throws(FSError) {
    let persistent = requests.filter { $0.request.isPersistent }
    guard !persistent.isEmpty else { return }
    for info in persistent {
      // The same request may have been taken again since: then the record is the new one's. Takers hold this lock.
      try inodeLocks.exclusive(info.inode) { () throws(FSError) in
        if seals.request(info.request.identity, inode: info.inode)?.request.isPersistent == true { return }
        try transaction(keys: 1, .shrinking) { () throws(FSError) in
          let key = persistentKey(info.request, info.inode)
          if try tree.lookup(key) != nil { try delete(key) }
        }
      }
    }
    try syncAll()
  }

  /// Before persistent requests are taken away. The journal keeps the order: no change that comes after it can be durable
  /// without it. One that was released and taken again meanwhile has a record of its own, which comes after this one's.
  func forgetRecords(ofStanding requests: [RequestInfo]) {
    do throws(FSError) {
      for info in requests {
        try transaction(keys: 1, .shrinking) { () throws(FSError) in
          guard seals.request(info.request.identity, inode: info.inode)?.id == info.id else { return }
          let key = persistentKey(info.request, info.inode)
          if try tree.lookup(key) != nil { try delete(key) }
        }
      }
    } catch {
      // A volume that cannot be written changes no maps either.
    }
  }

  /// Eviction: the records of an inode that is no more.
  func forgetPersistentSeals(of inode: InodeNumber) throws(FSError) {
    let first = Key(space: .persistentSeal, object: inode, low: 0)
    while true {
      let more = try transaction(keys: 1, .shrinking) { () throws(FSError) in
        guard let (key, _) = try tree.first(from: first), key.high == first.high else { return false }
        try delete(key)
        return true
      }
      if !more { return }
    }
  }

  /// Mount: the persistent requests on the disk, and the first inode with a record that cannot be read.
  func persistentSeals() throws(FSError) -> (requests: [(InodeNumber, SealRequest)], unreadable: InodeNumber?) {
    try reading { () throws(FSError) in
      var found: [(InodeNumber, SealRequest)] = []
      var unreadable: InodeNumber?
      var key = Key(space: .persistentSeal, object: 0, low: 0)
      while let (next, value) = try tree.first(from: key), next.space == .persistentSeal {
        key = next.successor
        // A record of an inode that is gone holds nothing: fsck names it.
        guard let request = SealRequest(decodingPersistent: value) else {
          if unreadable == nil, try tree.lookup(.inode(next.object)) != nil { unreadable = next.object }
          continue
        }
        if try tree.lookup(.inode(next.object)) != nil { found.append((next.object, request)) }
      }
      return (found, unreadable)
    }
  }

  /// Mount: nobody can say any more which map that record keeps from changing. So none changes, and what there is can
  /// be read; with `errors=shutdown` the mount is refused.
  func refuseChanges(becauseOfSealRecordOf inode: InodeNumber) throws(FSError) {
    let damage = FSError.corrupt(structure: .sealRecord, block: inode)
    guard options.onError == .remountReadOnly else { throw damage }
    treeLock.withLock { fail(damage) }
  }

  /// Mount: persistent requests stand again, those whose time is over excepted.
  func restore(_ requests: [(InodeNumber, SealRequest)]) throws(FSError) {
    for (inode, request) in requests where !request.isExpired() {
      seals.restore(request, inode: inode, generation: try mapGeneration(of: inode))
    }
    seals.onTakingAway = { [weak self] requests in self?.forgetRecords(ofStanding: requests) }
    seals.onExpiry = { [weak self] expired in
      // A record that stays behind is expired, and skipped, at the next mount.
      try? self?.forgetPersistent(expired)
    }
  }
}

extension SealRequest {
  fileprivate var taker: Credentials { Credentials(uid: uid, gid: gid, pid: pid) }
}

extension SealScope {
  fileprivate var endsWithFile: Bool { self == .wholeFile }

  func blocks(ofFile size: UInt64) -> BlockRange {
    switch self {
    case .wholeFile: BlockRange(from: 0, to: Block.count(covering: size))
    case .range(let offset, let count):
      .covering(byteOffset: offset, byteCount: count == 0 ? size - min(offset, size) : count)
    }
  }

  /// What a request holds in place, in bytes: whole blocks of a range.
  fileprivate func byteCount(ofFile size: UInt64) -> UInt64 {
    if let blocks { blocks.count << UInt64(Block.shift) } else { size }
  }
}
