/// Layouts of the C library: a `holdfast_direct *` is where a `Layout` lies.

import CHoldfast
import CPlatform
import Glibc
import HoldfastClient

/// `struct holdfast_layout_request` of include/holdfast-client.h, which Swift does not read: field by field the same.
private struct RequestFields {
  static let flags = 0, graceSeconds = 4, ttlSeconds = 8, reserved = 12, offset = 16, length = 24, image = 32
  /// HOLDFAST_LAYOUT_UNCACHED
  static let uncached: UInt32 = 0x8000_0000
}

public typealias LayoutPointer = UnsafeMutableRawPointer

private func layout(_ pointer: LayoutPointer) -> UnsafeMutablePointer<Layout> {
  pointer.assumingMemoryBound(to: Layout.self)
}

@_cdecl("holdfast_layout_get")
public func getLayout(_ fd: Int32, _ argument: UnsafeRawPointer?) -> LayoutPointer? {
  answer { () throws(ClientError) in
    let file = try OpenFile(duplicating: fd)
    var request = LayoutRequest()
    var image: String?
    var isUncached = false
    if let argument {
      let flags = argument.load(fromByteOffset: RequestFields.flags, as: UInt32.self)
      let known =
        HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_BREAKABLE | HOLDFAST_LAYOUT_SHARED | HOLDFAST_LAYOUT_AS_IS
        | RequestFields.uncached
      guard flags & ~known == 0, argument.load(fromByteOffset: RequestFields.reserved, as: UInt32.self) == 0 else {
        throw ClientError(.layout, path: file.path, errno: EINVAL)
      }
      request.isWrite = flags & HOLDFAST_LAYOUT_WRITE != 0
      request.isBreakable = flags & HOLDFAST_LAYOUT_BREAKABLE != 0
      request.isShared = flags & HOLDFAST_LAYOUT_SHARED != 0
      request.isAsIs = flags & HOLDFAST_LAYOUT_AS_IS != 0
      isUncached = flags & RequestFields.uncached != 0
      request.graceSeconds = argument.load(fromByteOffset: RequestFields.graceSeconds, as: UInt32.self)
      request.ttlSeconds = argument.load(fromByteOffset: RequestFields.ttlSeconds, as: UInt32.self)
      request.offset = argument.load(fromByteOffset: RequestFields.offset, as: UInt64.self)
      request.length = argument.load(fromByteOffset: RequestFields.length, as: UInt64.self)
      image = argument.load(fromByteOffset: RequestFields.image, as: UnsafePointer<CChar>?.self)
        .map { String(cString: $0) }
    }
    let pointer = UnsafeMutablePointer<Layout>.allocate(capacity: 1)
    do throws(ClientError) {
      pointer.initialize(to: try Layout(file, request, image: image, uncached: isUncached))
    } catch {
      pointer.deallocate()
      throw error
    }
    return LayoutPointer(pointer)
  }
}

@_cdecl("holdfast_layout_return")
public func returnLayout(_ pointer: LayoutPointer?, _ flags: UInt32, _ size: UInt64) -> Int32 {
  guard let pointer else {
    return status { () throws(ClientError) in throw ClientError(.layoutReturn, path: "NULL", errno: EINVAL) }
  }
  let isKnown = flags & ~(HOLDFAST_LAYOUT_SET_SIZE | HOLDFAST_LAYOUT_SET_TIMES) == 0
  let place = layout(pointer)
  let path = place.pointee.file.path
  return status { () throws(ClientError) in
    defer { place.deallocate() }
    _ = try place.move().giveBack(
      size: isKnown && flags & HOLDFAST_LAYOUT_SET_SIZE != 0 ? size : nil,
      setTimes: flags & HOLDFAST_LAYOUT_SET_TIMES != 0 ? true : nil)
    if !isKnown { throw ClientError(.layoutReturn, path: path, errno: EINVAL) }
  }
}

@_cdecl("holdfast_layout_size")
public func layoutSize(_ pointer: LayoutPointer) -> UInt64 { layout(pointer).pointee.fileSize }

@_cdecl("holdfast_layout_generation")
public func layoutGeneration(_ pointer: LayoutPointer) -> UInt64 { layout(pointer).pointee.generation }

@_cdecl("holdfast_layout_extents")
public func layoutExtents(_ pointer: LayoutPointer, _ extents: UnsafeMutableRawPointer?, _ capacity: Int) -> Int {
  let found = layout(pointer).pointee.extents
  for (index, extent) in found.prefix(extents == nil ? 0 : capacity).enumerated() {
    let flags =
      switch extent.state {
      case .written, .prepared: 0 as UInt32
      case .unwritten: HOLDFAST_EXTENT_UNWRITTEN
      case .shared: HOLDFAST_EXTENT_SHARED
      }
    store(extents!, index, extent.logical, extent.physical, extent.length, flags)
  }
  return found.count
}

@_cdecl("holdfast_layout_recall_fd")
public func layoutRecallDescriptor(_ pointer: LayoutPointer) -> Int32 {
  answer { () throws(ClientError) in try layout(pointer).pointee.recallDescriptor().release() } ?? -1
}

@_cdecl("holdfast_layout_recall_status")
public func layoutRecallStatus(_ pointer: LayoutPointer, _ remaining: UnsafeMutablePointer<UInt64>?) -> Int32 {
  answer { () throws(ClientError) in
    let place = layout(pointer)
    return try number(try place.pointee.recallStatus(), path: place.pointee.file.path, remaining)
  } ?? -1
}

@_cdecl("holdfast_pread")
public func readLayout(
  _ pointer: LayoutPointer, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ offset: UInt64
) -> Int {
  answer { () throws(ClientError) in
    let place = layout(pointer)
    try check(bytes.map { UnsafeRawPointer($0) }, count, .read, place.pointee.file.path)
    return try place.pointee.read(into: UnsafeMutableRawBufferPointer(start: bytes, count: count), at: offset)
  } ?? -1
}

@_cdecl("holdfast_pwrite")
public func writeLayout(
  _ pointer: LayoutPointer, _ bytes: UnsafeRawPointer?, _ count: Int, _ offset: UInt64
) -> Int {
  answer { () throws(ClientError) in
    let place = layout(pointer)
    try check(bytes, count, .write, place.pointee.file.path)
    return try place.pointee.write(UnsafeRawBufferPointer(start: bytes, count: count), at: offset)
  } ?? -1
}

@_cdecl("holdfast_preadv")
public func readLayoutVector(
  _ pointer: LayoutPointer, _ parts: UnsafeRawPointer?, _ count: Int32, _ offset: UInt64
) -> Int {
  answer { () throws(ClientError) in
    let place = layout(pointer)
    return try place.pointee.read(try vector(parts, count, .read, place.pointee.file.path), at: offset)
  } ?? -1
}

@_cdecl("holdfast_pwritev")
public func writeLayoutVector(
  _ pointer: LayoutPointer, _ parts: UnsafeRawPointer?, _ count: Int32, _ offset: UInt64
) -> Int {
  answer { () throws(ClientError) in
    let place = layout(pointer)
    return try place.pointee.write(try vector(parts, count, .write, place.pointee.file.path), at: offset)
  } ?? -1
}

/// A size_t above SSIZE_MAX is negative here.
private func check(
  _ bytes: UnsafeRawPointer?, _ count: Int, _ operation: ClientError.Operation, _ path: String
) throws(ClientError) {
  guard count >= 0 else { throw ClientError(operation, path: path, errno: EINVAL) }
  guard bytes != nil || count == 0 else { throw ClientError(operation, path: path, errno: EFAULT) }
}

/// IOV_MAX of Linux.
private let maximumParts: Int32 = 1024

private func vector(
  _ parts: UnsafeRawPointer?, _ count: Int32, _ operation: ClientError.Operation, _ path: String
) throws(ClientError) -> UnsafeBufferPointer<iovec> {
  guard count <= maximumParts else { throw ClientError(operation, path: path, errno: EINVAL) }
  try check(parts, Int(count), operation, path)
  let vector = UnsafeBufferPointer(start: parts?.assumingMemoryBound(to: iovec.self), count: Int(count))
  var total = 0
  for part in vector {
    try check(part.iov_base.map { UnsafeRawPointer($0) }, part.iov_len, operation, path)
    let (sum, overflows) = total.addingReportingOverflow(part.iov_len)
    guard !overflows else { throw ClientError(operation, path: path, errno: EINVAL) }
    total = sum
  }
  return vector
}

@_cdecl("holdfast_layout_sync")
public func syncLayout(_ pointer: LayoutPointer) -> Int32 {
  status { () throws(ClientError) in try layout(pointer).pointee.synchronize() }
}

@_cdecl("holdfast_map")
public func mapLayout(
  _ pointer: LayoutPointer, _ offset: UInt64, _ length: Int, _ protection: Int32, _ flags: UInt32
) -> UnsafeMutableRawPointer? {
  answer { () throws(ClientError) in
    let place = layout(pointer)
    let known = MapOptions([.populate, .sync, .direct]).rawValue
    guard flags & ~known == 0, protection == PROT_READ || protection == PROT_READ | PROT_WRITE, length > 0,
      offset <= UInt64(Int64.max), let end = Optional(offset &+ UInt64(length)), end > offset
    else { throw ClientError(.directMap, path: place.pointee.file.path, errno: EINVAL) }
    return try place.pointee.map(
      offset..<end, protection & PROT_WRITE == 0 ? .read : .readWrite, options: MapOptions(rawValue: flags)
    ).release().baseAddress!
  }
}

@_cdecl("holdfast_layout_pinnable")
public func isLayoutPinnable(_ pointer: LayoutPointer) -> Int32 {
  status { () throws(ClientError) in
    let place = layout(pointer)
    if let obstacle = place.pointee.pinningObstacle {
      throw ClientError(pinning: obstacle, path: place.pointee.file.path)
    }
  }
}

@_cdecl("holdfast_unmap")
public func unmap(_ start: UnsafeMutableRawPointer?, _ length: Int) -> Int32 {
  status { () throws(ClientError) in
    // As it was mapped: whole pages.
    let (sum, overflows) = length.addingReportingOverflow(4095)
    guard length >= 0, !overflows else { throw ClientError(.directUnmap, path: "memory", errno: EINVAL) }
    guard munmap(start, sum & ~4095) == 0 else { throw ClientError(.directUnmap, path: "memory", errno: errno) }
  }
}
