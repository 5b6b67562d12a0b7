/// Seals, pins, preparation, maps and recalls of a descriptor the program has.

import CHoldfast
import CPlatform
import Glibc
import HoldfastClient

private func text(_ name: UnsafePointer<CChar>?) -> String { name.map { String(cString: $0) } ?? "" }

private func request(_ flags: UInt32, _ name: UnsafePointer<CChar>?) -> SealRequest? {
  let known =
    HOLDFAST_SEAL_BREAKABLE | HOLDFAST_SEAL_FILL | HOLDFAST_SEAL_AS_IS | HOLDFAST_SEAL_PERSISTENT
    | HOLDFAST_SEAL_CREATE | HOLDFAST_SEAL_NAMED
  let hasBothPreparations = flags & HOLDFAST_SEAL_FILL != 0 && flags & HOLDFAST_SEAL_AS_IS != 0
  // Else it would be taken by name, and released as the handle's: as the ioctl has it.
  let lacksName = flags & (HOLDFAST_SEAL_PERSISTENT | HOLDFAST_SEAL_NAMED) == HOLDFAST_SEAL_PERSISTENT
  guard flags & ~known == 0, !hasBothPreparations, !lacksName else { return nil }
  var request = SealRequest()
  request.name = text(name)
  if flags & HOLDFAST_SEAL_BREAKABLE != 0 { request.kind = .breakable(graceSeconds: nil) }
  if flags & HOLDFAST_SEAL_FILL != 0 { request.preparation = .fill }
  if flags & HOLDFAST_SEAL_AS_IS != 0 { request.preparation = .asIs }
  if flags & HOLDFAST_SEAL_NAMED != 0 { request.lifetime = .named }
  if flags & HOLDFAST_SEAL_PERSISTENT != 0 { request.lifetime = .persistent }
  request.onlyIfNew = flags & HOLDFAST_SEAL_CREATE != 0
  return request
}

private func take(
  _ fd: Int32, _ flags: UInt32, _ name: UnsafePointer<CChar>?, _ range: (offset: UInt64, length: UInt64)?
) -> Int32 {
  status { () throws(ClientError) in
    let file = try OpenFile(duplicating: fd)
    guard var request = request(flags, name) else { throw ClientError(.seal, path: file.path, errno: EINVAL) }
    request.range = range
    try file.seal(request)
  }
}

private func release(
  _ fd: Int32, _ flags: UInt32, _ name: UnsafePointer<CChar>?, _ range: (offset: UInt64, length: UInt64)?
) -> Int32 {
  status { () throws(ClientError) in
    let file = try OpenFile(duplicating: fd)
    try file.unseal(
      name: text(name), lifetime: flags & HOLDFAST_SEAL_NAMED == 0 ? .handle : .named, range: range)
  }
}

@_cdecl("holdfast_seal")
public func sealFile(_ fd: Int32, _ flags: UInt32, _ name: UnsafePointer<CChar>?) -> Int32 {
  take(fd, flags, name, nil)
}

@_cdecl("holdfast_unseal")
public func unsealFile(_ fd: Int32, _ flags: UInt32, _ name: UnsafePointer<CChar>?) -> Int32 {
  release(fd, flags, name, nil)
}

@_cdecl("holdfast_pin")
public func pinRange(
  _ fd: Int32, _ offset: UInt64, _ length: UInt64, _ flags: UInt32, _ name: UnsafePointer<CChar>?
) -> Int32 { take(fd, flags, name, (offset, length)) }

@_cdecl("holdfast_unpin")
public func unpinRange(
  _ fd: Int32, _ offset: UInt64, _ length: UInt64, _ flags: UInt32, _ name: UnsafePointer<CChar>?
) -> Int32 { release(fd, flags, name, (offset, length)) }

@_cdecl("holdfast_prepare")
public func prepareRange(_ fd: Int32, _ offset: UInt64, _ length: UInt64) -> Int32 {
  status { () throws(ClientError) in try OpenFile(duplicating: fd).prepare(offset: offset, length: length) }
}

@_cdecl("holdfast_extents")
public func fileExtents(
  _ fd: Int32, _ extents: UnsafeMutableRawPointer?, _ capacity: Int, _ generation: UnsafeMutablePointer<UInt64>?
) -> Int {
  answer { () throws(ClientError) in
    let map = try OpenFile(duplicating: fd).map()
    generation?.pointee = map.generation
    for (index, extent) in map.extents.prefix(extents == nil ? 0 : capacity).enumerated() {
      let flags = (extent.isUnwritten ? HOLDFAST_EXTENT_UNWRITTEN : 0) | (extent.isShared ? HOLDFAST_EXTENT_SHARED : 0)
      store(extents!, index, extent.logical, extent.physical, extent.length, flags)
    }
    return map.extents.count
  } ?? -1
}

/// A `struct holdfast_extent` of an array.
func store(
  _ extents: UnsafeMutableRawPointer, _ index: Int, _ logical: UInt64, _ physical: UInt64, _ length: UInt64,
  _ flags: UInt32
) {
  extents.assumingMemoryBound(to: holdfast_extent.self)[index] = holdfast_extent(
    logical: logical, physical: physical, length: length, flags: flags, reserved: 0)
}

@_cdecl("holdfast_recall_fd")
public func recallDescriptor(_ fd: Int32) -> Int32 {
  answer { () throws(ClientError) in try RecallDescriptor(path: "descriptor \(fd)", watching: fd).release() } ?? -1
}

@_cdecl("holdfast_recall_status")
public func recallStatus(_ fd: Int32, _ remaining: UnsafeMutablePointer<UInt64>?) -> Int32 {
  answer { () throws(ClientError) in
    let file = try OpenFile(duplicating: fd)
    return try number(try file.recallStatus(), path: file.path, remaining)
  } ?? -1
}

/// 0 or 1, as the header says; a request that was taken away is an error.
func number(
  _ status: RecallStatus, path: String, _ remaining: UnsafeMutablePointer<UInt64>?
) throws(ClientError) -> Int32 {
  switch status {
  case .notRecalled:
    remaining?.pointee = 0
    return 0
  case .recalled(let milliseconds):
    remaining?.pointee = milliseconds
    return 1
  case .takenAway: throw ClientError(.recallStatus, path: path, errno: ESTALE)
  }
}
