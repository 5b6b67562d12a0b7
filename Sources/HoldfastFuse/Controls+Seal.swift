/// The ioctls that take and release requests, and those that tell of them. Their structures are in
/// include/holdfast.h.

import CHoldfast
import HoldfastBase
import HoldfastSeal
import HoldfastStore

extension MountSession {
  /// SEAL (the whole file) and PIN (a range): bound to the handle, or as setfattr would with HOLDFAST_SEAL_NAMED.
  func take(_ call: ControlCall, pin: Bool) throws(FSError) -> ControlAnswer {
    try checkSealRight(call.inode, of: call.caller, holdsWriteHandle: handles[call.handle]?.isWriting ?? false)
    var argument = try call.argument(holdfast_seal.self)
    let known =
      HOLDFAST_SEAL_BREAKABLE | HOLDFAST_SEAL_FILL | HOLDFAST_SEAL_AS_IS | HOLDFAST_SEAL_PERSISTENT
      | HOLDFAST_SEAL_CREATE | HOLDFAST_SEAL_NAMED
    guard argument.flags & ~UInt32(known) == 0, argument.hasRange == pin else { throw .invalid(.argument) }
    let specification = try SealSpecification(argument)
    let isNamed = argument.has(HOLDFAST_SEAL_NAMED) || specification.pid != nil
    guard isNamed || !specification.isPersistent else { throw .invalid(.sealSpecification) }
    do throws(FSError) {
      let grant = try takeSeal(
        specification, name: try argument.requestName(), handle: isNamed ? nil : call.handle,
        createOnly: argument.has(HOLDFAST_SEAL_CREATE), of: call.inode, by: call.caller)
      argument.generation = grant.generation
      argument.seal_count = UInt64(grant.sealCount)
      return ControlAnswer(argument)
    } catch .invalid(.unsealableRange(let defect, let offset, let count)) {
      argument.defect = defect.number
      argument.defect_offset = offset
      argument.defect_length = count
      argument.generation = try store.mapGeneration(of: call.inode)
      argument.seal_count = UInt64(store.seals.count(call.inode))
      return ControlAnswer(
        argument, error: .invalid(.unsealableRange(defect, byteOffset: offset, byteCount: count)))
    }
  }

  /// UNSEAL and UNPIN.
  func release(_ call: ControlCall, pin: Bool) throws(FSError) -> ControlAnswer {
    var argument = try call.argument(holdfast_seal.self)
    guard argument.flags & ~UInt32(HOLDFAST_SEAL_NAMED) == 0, argument.signal == 0, argument.hasRange == pin
    else { throw .invalid(.argument) }
    let name = try argument.requestName()
    let pinned = pin ? try argument.scope().blocks : nil
    let identity: RequestIdentity
    if argument.has(HOLDFAST_SEAL_NAMED) {
      identity = .named(uid: call.caller.uid, name: name)
      // A name has one request, whatever its scope; UNPIN wants that of the range it names.
      if pin, let standing = store.seals.request(identity, inode: call.inode),
        standing.request.scope.blocks != pinned
      {
        throw .noData
      }
    } else {
      identity = .handle(call.handle, name: name, pinned: pinned)
    }
    try releaseSeal(identity, of: call.inode, by: call.caller)
    argument.generation = try store.mapGeneration(of: call.inode)
    argument.seal_count = UInt64(store.seals.count(call.inode))
    return ControlAnswer(argument)
  }

  func recallStatus(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    var argument = try call.argument(holdfast_recall_status.self)
    if store.seals.isStale(call.handle) { throw .stale }
    let remaining = store.seals.recallMilliseconds(ofHandle: call.handle)
    argument.recalled = remaining == nil ? 0 : 1
    argument.remaining_ms = remaining ?? 0
    return ControlAnswer(argument)
  }

  func revoke(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    guard isAdministrator(call.caller) else { throw .notPermitted }
    var argument = try call.argument(holdfast_revoke.self)
    let known =
      HOLDFAST_REVOKE_ALL_FILES | HOLDFAST_REVOKE_BY_NAME | HOLDFAST_REVOKE_BY_PID | HOLDFAST_REVOKE_BY_INODE
    guard argument.flags & ~UInt32(known) == 0, argument.reserved == 0 else { throw .invalid(.argument) }
    var selection = RevokeSelection()
    if argument.flags & UInt32(HOLDFAST_REVOKE_BY_INODE) != 0 {
      selection.inode = argument.inode
    } else if argument.flags & UInt32(HOLDFAST_REVOKE_ALL_FILES) == 0 {
      selection.inode = call.inode
    }
    if argument.flags & UInt32(HOLDFAST_REVOKE_BY_NAME) != 0 { selection.name = try Text.name(in: argument.name) }
    if argument.flags & UInt32(HOLDFAST_REVOKE_BY_PID) != 0 { selection.pid = argument.pid }
    let revoked = try store.revoke(selection)
    argument.revoked = UInt64(revoked.count)
    return ControlAnswer(argument)
  }
}

extension holdfast_seal {
  func has(_ flag: UInt32) -> Bool { flags & flag != 0 }

  var hasRange: Bool { offset != 0 || length != 0 }

  /// Of PIN and UNPIN: bytes, not none, none beyond the largest file.
  func scope() throws(FSError) -> SealScope {
    if !hasRange { return .wholeFile }
    guard length > 0, offset <= Limits.fileBytes, length <= Limits.fileBytes - offset else {
      throw .invalid(.argument)
    }
    return .range(byteOffset: offset, byteCount: length)
  }

  /// "" for the default request.
  func requestName() throws(FSError) -> String {
    let name = try Text.name(in: self.name)
    guard SealName.isValidOrDefault(name) else { throw .invalid(.sealSpecification) }
    return name
  }
}

extension SealSpecification {
  /// What an argument of SEAL or PIN asks for: the words of `holdfast.seal` in binary.
  init(_ argument: holdfast_seal) throws(FSError) {
    self.init()
    guard argument.grace_seconds <= Self.maximumGraceSeconds else { throw .invalid(.argument) }
    if argument.has(HOLDFAST_SEAL_BREAKABLE) {
      kind = .breakable(graceSeconds: argument.grace_seconds == 0 ? nil : argument.grace_seconds)
    } else if argument.grace_seconds != 0 {
      throw .invalid(.argument)
    }
    guard argument.pid >= 0 else { throw .invalid(.argument) }
    if argument.pid > 0 { pid = argument.pid }
    if argument.signal > 0 {
      guard argument.signal <= Self.highestSignal else { throw .invalid(.argument) }
      signal = Int32(argument.signal)
    }
    guard signal == nil || allowsSignal else { throw .invalid(.sealSpecification) }
    scope = try argument.scope()
    if argument.ttl_seconds > 0 { ttlSeconds = argument.ttl_seconds }
    isPersistent = argument.has(HOLDFAST_SEAL_PERSISTENT)
    switch (argument.has(HOLDFAST_SEAL_FILL), argument.has(HOLDFAST_SEAL_AS_IS)) {
    case (true, true): throw .invalid(.sealSpecification)
    case (true, false): preparation = .fill
    case (false, true): preparation = .asIs
    case (false, false): preparation = .verify
    }
    if pid != nil, isPersistent { throw .invalid(.sealSpecification) }
  }
}

extension FSError.MapDefect {
  var number: UInt32 {
    switch self {
    case .hole: UInt32(HOLDFAST_DEFECT_HOLE)
    case .unwritten: UInt32(HOLDFAST_DEFECT_UNWRITTEN)
    case .shared: UInt32(HOLDFAST_DEFECT_SHARED)
    }
  }
}

/// Text in a structure's fixed array of characters.
enum Text {
  /// Up to the NUL that must be there.
  static func name<Characters>(in characters: Characters) throws(FSError) -> String {
    let bytes = withUnsafeBytes(of: characters) { Array($0) }
    guard let end = bytes.firstIndex(of: 0) else { throw .invalid(.argument) }
    return String(decoding: bytes[..<end], as: UTF8.self)
  }
}
