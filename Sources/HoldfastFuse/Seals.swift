/// Taking and releasing requests for callers of xattrs and ioctls: who they are, what they may, what lives with what.
///
/// Owns: nothing. The process a request is bound to is watched from before the request exists, so that an exit in
/// between is not missed.

import HoldfastBase
import HoldfastSeal
import HoldfastStore

extension MountSession {
  /// Row 22: whether `caller` may take requests on a file at all. Asked first: no right comes before malformed
  /// (SEMANTICS, order of precedence).
  func checkSealRight(
    _ inode: InodeNumber, of caller: Credentials, holdsWriteHandle: Bool
  ) throws(FSError) {
    let record = try store.attributes(of: inode).record
    try store.seals.checkRight(
      taker: caller, isAdministrator: isAdministrator(caller), fileOwner: record.uid,
      holdsWriteHandle: holdsWriteHandle)
    guard record.isRegular else { throw record.isDirectory ? .isDirectory : .invalid(.argument) }
  }

  /// Takes the request `specification` describes. With `handle` it is bound to that handle, unless the
  /// specification says otherwise; without, it is the caller's named one.
  /// - Precondition: `checkSealRight` passed.
  /// - Throws: `.notPermitted` also for a process of another user and for a longer grace than the mount's.
  func takeSeal(
    _ specification: SealSpecification, name: String, handle: UInt64?, layout: LayoutAccess? = nil, createOnly: Bool,
    of inode: InodeNumber, by caller: Credentials
  ) throws(FSError) -> SealGrant {
    if specification.isPersistent || specification.preparation == .fill { try checkNotReadOnly() }
    let known = handles.taker(handle, thread: caller.pid)
    let taker = Credentials(uid: caller.uid, gid: caller.gid, pid: known.process)
    var request = SealRequest(
      specification, name: name, handle: handle, taker: taker,
      defaultGraceSeconds: store.seals.options.defaultGraceSeconds, command: known.command)
    request.layout = layout
    if case .breakable(let grace) = request.kind, grace > store.seals.options.defaultGraceSeconds,
      !isAdministrator(caller)
    {
      // So long others' operations may have to wait: that is the administrator's to say.
      throw .notPermitted
    }
    guard let pid = specification.pid else { return try take(request, createOnly, inode) }
    return try processWatcher.whileWatching(pid) { process throws(FSError) in
      // Blocks that are taken from it wait for its end: that is for who could end it.
      guard ProcessInfo.mayBeSignalled(process, by: caller.uid) || isAdministrator(caller) else { throw .notPermitted }
      var bound = request
      bound.lifetime = .process(process)
      return try take(bound, createOnly, inode)
    }
  }

  func releaseSeal(_ identity: RequestIdentity, of inode: InodeNumber, by caller: Credentials) throws(FSError) {
    try store.unseal(identity, of: inode, by: caller)
  }

  func isAdministrator(_ caller: Credentials) -> Bool {
    ProcessInfo.isAdministrator(pid: caller.pid, uid: caller.uid)
  }

  private func take(
    _ request: SealRequest, _ createOnly: Bool, _ inode: InodeNumber
  ) throws(FSError) -> SealGrant {
    let before = try store.attributes(of: inode).record.blocks
    let grant = try store.seal(request, createOnly: createOnly, of: inode)
    // Filling takes blocks and sealing trims preallocation, which the kernel did not see.
    if try store.attributes(of: inode).record.blocks != before { notifier.invalidateAttributes(of: inode) }
    return grant
  }
}
