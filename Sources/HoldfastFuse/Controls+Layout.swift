/// LAYOUT_GET and LAYOUT_RETURN (docs/decisions/0009-layouts.md).
///
///     LAYOUT_GET ── request inserted ── other cached handles? ── EBUSY
///                                              │ none
///                      pages may be cached? ── flushed by a layout notifier ── answered there
///                              │ none
///                         answered here
///
/// The request stands from its insertion on, so that opens and map changes see it; nothing is written back over it from
/// the flush on. A LAYOUT_RETURN is answered behind the flush of what was cached meanwhile.

import CHoldfast
import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

extension MountSession {
  func getLayout(_ reply: consuming Reply<Control>, _ call: ControlCall) {
    counters.count(.ioctl)
    var argument: holdfast_layout
    do throws(FSError) {
      argument = try call.argument(holdfast_layout.self)
      if argument.has(HOLDFAST_LAYOUT_PAGE) {
        let layout = try pagedLayout(call, argument)
        try fill(&argument, layout, from: argument.cursor)
        return send(ControlAnswer(argument), reply, of: call.inode)
      }
      argument.layout_id = try takeLayout(call, argument)
    } catch {
      return refuseLayout(reply, call, error)
    }
    let inode = call.inode
    let handle = call.handle
    guard cachedPages.take(inode) else { return grantLayout(reply, argument, inode, handle) }
    let held = HeldReply(reply)
    layoutNotifier(of: inode).flushPages(of: inode) { [unowned self, argument] isFlushed in
      cachedPages.flushed(inode)
      if isFlushed {
        grantLayout(held.take(), argument, inode, handle)
      } else {
        failGrant(held.take(), .interrupted, argument.layout_id, inode, handle)
      }
    }
  }

  // MARK: Grant

  /// Inserts the request, unless somebody else uses the page cache.
  /// - Returns: its id.
  private func takeLayout(_ call: ControlCall, _ argument: holdfast_layout) throws(FSError) -> UInt64 {
    guard let handle = handles[call.handle] else { throw .badHandle }
    try checkSealRight(call.inode, of: call.caller, holdsWriteHandle: handle.isWriting)
    let specification = try SealSpecification(argument)
    let access: LayoutAccess =
      !argument.has(HOLDFAST_LAYOUT_WRITE) ? .read : argument.has(HOLDFAST_LAYOUT_SHARED) ? .sharedWrite : .write
    guard access.isWriting ? handle.isWriting : handle.flags & O_ACCMODE != O_WRONLY else { throw .badHandle }
    if access.isWriting { try store.checkStorable(call.inode) }
    // Asked before, so that what the handle has of these blocks is not lost over it; and once more behind, where opens see
    // the request.
    if access == .write, cachingOthers(of: call.inode, than: call.handle).count > 0 { throw .cachedByOthers }
    let grant = try takeSeal(
      specification, name: "", handle: call.handle, layout: access, createOnly: false, of: call.inode, by: call.caller)
    do throws(FSError) {
      if access == .write, cachingOthers(of: call.inode, than: call.handle).count > 0 { throw .cachedByOthers }
      if access.isWriting { try dropPrivileges(call) }
    } catch {
      endLayout(grant.id, call.inode, call.handle)
      throw error
    }
    return grant.id
  }

  /// Who else than this handle uses the page cache of a file and has no layout of it.
  private func cachingOthers(of inode: InodeNumber, than handle: UInt64) -> (count: Int, openers: [Int32]) {
    // As a rule there is nobody, and no need to know who has layouts.
    guard handles.isCached(inode, besides: handle) else { return (0, []) }
    let holders = store.seals.layoutHandles(of: inode).union([handle])
    return handles.caching(inode, except: holders, limit: Int(HOLDFAST_LAYOUT_BUSY))
  }

  /// As a write by this caller would.
  private func dropPrivileges(_ call: ControlCall) throws(FSError) {
    let hasPrivileges = try store.attributes(of: call.inode).record.mode & 0o6000 != 0
    let capability = clearsPrivileges ? capabilities.mark(of: call.inode) : nil
    guard hasPrivileges || capability != nil, !isAdministrator(call.caller) else { return }
    try store.dropPrivilegesForStores(into: call.inode)
    if let capability { capabilities.forget(call.inode, capability) }
    notifier.invalidateAttributes(of: call.inode)
  }

  private func grantLayout(
    _ reply: consuming Reply<Control>, _ argument: holdfast_layout, _ inode: InodeNumber, _ handle: UInt64
  ) {
    var argument = argument
    do throws(FSError) {
      let layout = try store.seals.setFlushed(argument.layout_id, ofHandle: handle, inode: inode)
      try fill(&argument, layout, from: 0)
    } catch {
      return failGrant(reply, error, argument.layout_id, inode, handle)
    }
    send(ControlAnswer(argument), reply, of: inode)
  }

  /// Nobody learns of this layout: it does not stay.
  private func failGrant(
    _ reply: consuming Reply<Control>, _ error: FSError, _ id: UInt64, _ inode: InodeNumber, _ handle: UInt64
  ) {
    endLayout(id, inode, handle)
    fail(reply, error, .ioctl, inode)
  }

  private func endLayout(_ id: UInt64, _ inode: InodeNumber, _ handle: UInt64) {
    guard let layout = try? store.seals.layout(id, ofHandle: handle, inode: inode) else { return }
    _ = try? store.seals.release(layout.request.identity, inode: inode, by: .daemon)
  }

  /// Errors that come with more than a number.
  private func refuseLayout(_ reply: consuming Reply<Control>, _ call: ControlCall, _ error: FSError) {
    guard var argument = try? call.argument(holdfast_layout.self) else {
      return fail(reply, error, .ioctl, call.inode)
    }
    switch error {
    case .invalid(.unsealableRange(let defect, let offset, let count)):
      argument.defect = defect.number
      argument.defect_offset = offset
      argument.defect_length = count
    case .cachedByOthers:
      let others = cachingOthers(of: call.inode, than: call.handle)
      argument.busy_count = UInt32(clamping: others.count)
      withUnsafeMutableBytes(of: &argument.busy_pid) { pids in
        for (pid, opener) in zip(pids.bindMemory(to: Int32.self).indices, others.openers) {
          pids.bindMemory(to: Int32.self)[pid] = ProcessInfo.process(ofThread: opener) ?? opener
        }
      }
    default: return fail(reply, error, .ioctl, call.inode)
    }
    send(ControlAnswer(argument, error: error), reply, of: call.inode)
  }

  // MARK: What is told

  private func pagedLayout(_ call: ControlCall, _ argument: holdfast_layout) throws(FSError) -> RequestInfo {
    guard argument.flags == HOLDFAST_LAYOUT_PAGE, argument.cursor <= Limits.fileBytes else { throw .invalid(.argument) }
    return try store.seals.layout(argument.layout_id, ofHandle: call.handle, inode: call.inode)
  }

  private func fill(_ argument: inout holdfast_layout, _ layout: RequestInfo, from cursor: UInt64) throws(FSError) {
    let record = try store.attributes(of: layout.inode).record
    let image = store.imageIdentity
    let volume = store.superblock
    argument.generation = layout.generation
    argument.inode = layout.inode
    argument.file_size = record.size
    argument.lease_offset = HOLDFAST_LEASE_OFFSET + layout.inode
    argument.image_device = image?.device ?? 0
    argument.image_inode = image?.inode ?? 0
    argument.image_rdev = image?.rdev ?? 0
    argument.image_bytes = volume.totalBlocks << UInt64(Block.shift)
    withUnsafeMutableBytes(of: &argument.volume_uuid) { bytes in
      bytes.storeBytes(of: volume.id.high.bigEndian, as: UInt64.self)
      bytes.storeBytes(of: volume.id.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    let (extents, next) = try store.layoutExtents(
      of: layout.inode, layout.request.scope, from: cursor, limit: Int(HOLDFAST_LAYOUT_EXTENTS))
    argument.extent_count = UInt32(extents.count)
    argument.cursor = next ?? 0
    withUnsafeMutableBytes(of: &argument.extents) { bytes in
      let places = bytes.bindMemory(to: holdfast_extent.self)
      for (index, extent) in extents.enumerated() { places[index] = holdfast_extent(extent) }
    }
  }

  func send(_ answer: ControlAnswer, _ reply: consuming Reply<Control>, of inode: InodeNumber) {
    if let error = answer.error {
      counters.countFailure(.ioctl)
      log.note(error, operation: .ioctl, inode: inode)
    }
    reply.send(answer.bytes, result: -(answer.error?.errno ?? 0))
  }

  // MARK: The page cache

  func layoutNotifier(of inode: InodeNumber) -> Notifier { layoutNotifiers[Int(inode % UInt64(layoutNotifiers.count))] }

  /// A layout for writing has ended: what was cached beside it is not what the file holds.
  func dropPages(of inode: InodeNumber, _ blocks: BlockRange) {
    store.holderMayHaveStored()
    guard cachedPages.takeOutdated(inode, blocks) else { return }
    layoutNotifier(of: inode).flushPages(of: inode) { [unowned self] _ in cachedPages.updated(inode) }
  }

  /// Whether dirty pages are dropped rather than written over what a holder has stored.
  func refusesWriteback(of inode: InodeNumber, _ offset: UInt64, _ byteCount: UInt64) -> Bool {
    let blocks = BlockRange.covering(byteOffset: offset, byteCount: byteCount)
    return store.seals.refusesWriteback(of: inode, blocks) || cachedPages.isOutdated(inode, blocks)
  }

  // MARK: Return

  struct LayoutReturnCall: MapChangingCall, @unchecked Sendable {
    typealias Answer = Control
    var inode: InodeNumber
    var handle: UInt64
    var argument: holdfast_layout_return
    var caller: Credentials
    var operation: Operation { .ioctl }

    init(_ call: ControlCall) throws(FSError) {
      inode = call.inode
      handle = call.handle
      caller = call.caller
      argument = try call.argument(holdfast_layout_return.self)
      guard argument.flags & ~UInt32(HOLDFAST_LAYOUT_SET_SIZE | HOLDFAST_LAYOUT_SET_TIMES) == 0,
        argument.flags & HOLDFAST_LAYOUT_SET_SIZE != 0 || argument.size == 0
      else { throw .invalid(.argument) }
    }

    func make(in session: MountSession) throws(FSError) -> holdfast_layout_return {
      let (generation, size) = try session.store.returnLayout(
        Store.LayoutReturn(
          id: argument.layout_id, handle: handle,
          size: argument.flags & HOLDFAST_LAYOUT_SET_SIZE != 0 ? argument.size : nil,
          touches: argument.flags & HOLDFAST_LAYOUT_SET_TIMES != 0),
        of: inode, by: session.caller(caller, changing: inode), waits: session.waits(handle))
      if argument.flags != 0 { session.notifier.invalidateAttributes(of: inode) }
      var answer = argument
      answer.generation = generation
      answer.file_size = size
      return answer
    }

    /// Whoever has returned a layout reads what was stored: not before what was cached is gone.
    func answer(_ reply: consuming Reply<Control>, _ result: holdfast_layout_return, in session: MountSession) {
      let bytes = ControlAnswer(result).bytes
      guard session.cachedPages.isOutdated(inode) else { return reply.send(bytes, result: 0) }
      let held = HeldReply(reply)
      session.layoutNotifier(of: inode).call { held.take().send(bytes, result: 0) }
    }
  }
}

extension holdfast_layout {
  fileprivate func has(_ flag: UInt32) -> Bool { flags & flag != 0 }
}

extension SealSpecification {
  fileprivate init(_ argument: holdfast_layout) throws(FSError) {
    self.init()
    let known =
      HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_BREAKABLE | HOLDFAST_LAYOUT_SHARED | HOLDFAST_LAYOUT_AS_IS
    guard argument.flags & ~UInt32(known) == 0, argument.cursor == 0, argument.layout_id == 0,
      argument.has(HOLDFAST_LAYOUT_WRITE) || !argument.has(HOLDFAST_LAYOUT_SHARED),
      argument.has(HOLDFAST_LAYOUT_BREAKABLE) || argument.grace_seconds == 0,
      argument.grace_seconds <= Self.maximumGraceSeconds,
      argument.offset <= Limits.fileBytes, argument.length <= Limits.fileBytes - argument.offset,
      argument.length > 0 || argument.offset == 0
    else { throw .invalid(.argument) }
    if argument.has(HOLDFAST_LAYOUT_BREAKABLE) {
      kind = .breakable(graceSeconds: argument.grace_seconds == 0 ? nil : argument.grace_seconds)
    }
    if argument.length > 0 { scope = .range(byteOffset: argument.offset, byteCount: argument.length) }
    if argument.ttl_seconds > 0 { ttlSeconds = argument.ttl_seconds }
    if argument.has(HOLDFAST_LAYOUT_AS_IS) { preparation = .asIs }
  }
}
