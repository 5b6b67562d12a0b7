/// A layout: the lease, the request that HOLDFAST_IOC_LAYOUT_GET takes on a handle of the mount, and the extents it
/// tells of (docs/ABI.md, Layouts).
///
/// Order: the image is opened, the lease taken, then the layout asked for, then it is made sure that the image is the
/// mounted one. So what the answer says was covered from its first moment; when anything fails, all of it is given
/// back. The handle is the caller's, and must stay open as long as the layout.

import CHoldfast
import CPlatform
import Synchronization

/// What to ask for.
public struct LayoutRequest: Equatable, Sendable {
  /// Bytes, rounded outward to blocks; `length` 0 is the whole file.
  public var offset: UInt64 = 0
  public var length: UInt64 = 0
  /// Stores, too; the handle must be open for writing.
  public var isWrite = false
  /// Write beside handles that use the page cache: close-to-open consistency.
  public var isShared = false
  /// Gives way to who needs the map changed, within `graceSeconds` (0: the mount's default).
  public var isBreakable = false
  public var graceSeconds: UInt32 = 0
  /// Holes, unwritten and shared blocks are no error.
  public var isAsIs = false
  /// Ends by itself after so many seconds; 0 never.
  public var ttlSeconds: UInt32 = 0

  public init() {}

  var flags: UInt32 {
    (isWrite ? HOLDFAST_LAYOUT_WRITE : 0) | (isShared ? HOLDFAST_LAYOUT_SHARED : 0)
      | (isBreakable ? HOLDFAST_LAYOUT_BREAKABLE : 0) | (isAsIs ? HOLDFAST_LAYOUT_AS_IS : 0)
  }
}

/// How a layout ended.
public struct LayoutEnd: Equatable, Sendable {
  /// Of the map.
  public var generation: UInt64
  /// Bytes.
  public var fileSize: UInt64
}

public struct DirectLayout: ~Copyable, Sendable {
  /// Of the handle it is bound to.
  public let file: Int32
  public let identifier: UInt64
  public let inode: UInt64
  /// Of the map, at the grant.
  public let generation: UInt64
  /// Bytes, at the grant.
  public let fileSize: UInt64
  public let space: DirectSpace
  private let isReturned = Atomic<Bool>(false)

  /// Takes the lease and the layout.
  /// - Throws: `.lease`, `.getLayout` (LAYOUT_GET's errno; `.busy` with who; `.hole`, `.unwritten`, `.shared` with
  ///   where; `.fenced`; `.protocolViolation`), `.identify` (`.otherImage`).
  public init(file: Int32, image: consuming ImageFile, request: LayoutRequest) throws(DirectError) {
    if request.isWrite && !image.isWritable { throw DirectError(.getLayout, .readOnly) }
    var status = holdfast_identity()
    let code = holdfast_identify(file, &status)
    guard code == 0 else { throw DirectError(.lease, errno: -code) }
    try image.lease(inode: status.inode)

    var grant = LayoutGrant(file: file)
    try grant.ask(request)
    // From here on an error gives the layout back: the end of `grant`.
    let head = grant.head
    guard head.pointee.inode == status.inode, head.pointee.lease_offset == HOLDFAST_LEASE_OFFSET + status.inode else {
      throw DirectError(.getLayout, .protocolViolation)
    }
    try image.verify(
      device: head.pointee.image_device, inode: head.pointee.image_inode, rdev: head.pointee.image_rdev)
    let extents = try grant.extents(isWrite: request.isWrite)
    let (start, end) = Self.blocks(request)
    self.file = file
    identifier = head.pointee.layout_id
    inode = head.pointee.inode
    generation = head.pointee.generation
    fileSize = head.pointee.file_size
    space = DirectSpace(image: image, extents: extents, start: start, end: end, writable: request.isWrite)
    grant.keep()
  }

  deinit {
    if !isReturned.load(ordering: .relaxed) { _ = Self.giveBack(file, identifier, size: nil, setTimes: false) }
  }

  /// Releases the request. With `size` the file is that long from then on: everything between its old end and there
  /// has been stored, in blocks of this layout. With `setTimes` its modification and change times are now. Mappings
  /// stay, and the lease with them; they are no longer protected from changes of the map, only from reuse of their
  /// blocks.
  /// - Throws: `.returnLayout`: LAYOUT_RETURN's errno; the request has ended unless it says `.fenced`, when it had
  ///   before.
  /// Only the first call does anything; the end of its life does the same with no size and no times.
  public func giveBack(size: UInt64? = nil, setTimes: Bool = false) throws(DirectError) -> LayoutEnd {
    guard !isReturned.exchange(true, ordering: .relaxed) else { throw DirectError(.returnLayout, errno: ENODATA) }
    let (code, end) = Self.giveBack(file, identifier, size: size, setTimes: setTimes)
    guard code != 0 else { return end }
    // Only the size or the times were refused, maybe: do not hold the file for that.
    if code != ESTALE { _ = Self.giveBack(file, identifier, size: nil, setTimes: false) }
    throw DirectError(.returnLayout, errno: code)
  }

  /// Leaves the request to the handle: for a child after fork(2), whose parent has the same handle and layout.
  public func forget() { isReturned.store(true, ordering: .relaxed) }

  fileprivate static func giveBack(
    _ file: Int32, _ identifier: UInt64, size: UInt64?, setTimes: Bool
  ) -> (errno: Int32, end: LayoutEnd) {
    var argument = holdfast_layout_return()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = (size == nil ? 0 : HOLDFAST_LAYOUT_SET_SIZE) | (setTimes ? HOLDFAST_LAYOUT_SET_TIMES : 0)
    argument.layout_id = identifier
    argument.size = size ?? 0
    var code = holdfast_direct_ioctl(file, holdfast_ioc_layout_return, &argument)
    while code == -EINTR { code = holdfast_direct_ioctl(file, holdfast_ioc_layout_return, &argument) }
    return (-min(code, 0), LayoutEnd(generation: argument.generation, fileSize: argument.file_size))
  }

  /// The range in whole blocks.
  private static func blocks(_ request: LayoutRequest) -> (start: UInt64, end: UInt64) {
    guard request.length > 0 else { return (0, .max) }
    let mask = ExtentTable.blockBytes - 1
    let (end, overflows) = request.offset.addingReportingOverflow(request.length)
    return (request.offset & ~mask, overflows || end > .max - mask ? .max : (end + mask) & ~mask)
  }
}

/// LAYOUT_GET and its further pages. Until `keep` the end of its life returns the layout. The structure is only ever
/// touched in place: as a value its array of extents takes the compiler long.
private struct LayoutGrant: ~Copyable {
  let file: Int32
  let head: UnsafeMutablePointer<holdfast_layout>
  private var isHeld = false

  init(file: Int32) {
    self.file = file
    head = .allocate(capacity: 1)
    memset(head, 0, MemoryLayout<holdfast_layout>.size)
  }

  deinit {
    if isHeld { _ = DirectLayout.giveBack(file, head.pointee.layout_id, size: nil, setTimes: false) }
    head.deallocate()
  }

  mutating func keep() { isHeld = false }

  mutating func ask(_ request: LayoutRequest) throws(DirectError) {
    head.pointee.version = UInt32(HOLDFAST_ABI_VERSION)
    head.pointee.flags = request.flags
    head.pointee.offset = request.offset
    head.pointee.length = request.length
    head.pointee.grace_seconds = request.graceSeconds
    head.pointee.ttl_seconds = request.ttlSeconds
    let code = control()
    guard code == 0 else { throw refusal(code) }
    isHeld = true
  }

  /// A signal, or a daemon that could not tell the kernel, means that nothing was taken. The latter does not last, or
  /// for ever.
  private static let maximumAttempts = 100

  /// 0 or the errno.
  private func control() -> Int32 {
    var code = holdfast_direct_ioctl(file, holdfast_ioc_layout_get, head)
    var attempts = 1
    while code == -EINTR, attempts < Self.maximumAttempts {
      code = holdfast_direct_ioctl(file, holdfast_ioc_layout_get, head)
      attempts += 1
    }
    return -min(code, 0)
  }

  private func refusal(_ code: Int32) -> DirectError {
    var error = DirectError(.getLayout, errno: code)
    if code == EBUSY {
      error.reason = .busy
      error.busyCount = head.pointee.busy_count
      error.busy = head.pointee.busy_pid
    }
    if code == EINVAL {
      switch head.pointee.defect {
      case HOLDFAST_DEFECT_HOLE: error.reason = .hole
      case HOLDFAST_DEFECT_UNWRITTEN: error.reason = .unwritten
      case HOLDFAST_DEFECT_SHARED: error.reason = .shared
      default: return error
      }
      error.defectOffset = head.pointee.defect_offset
      error.defectLength = head.pointee.defect_length
    }
    return error
  }

  /// All of them: those that came, then page by page.
  func extents(isWrite: Bool) throws(DirectError) -> ExtentTable {
    var table = ExtentTable()
    let mask = ExtentTable.blockBytes - 1
    let sizeInBlocks = head.pointee.file_size > .max - mask ? .max : (head.pointee.file_size + mask) & ~mask
    let prepared = isWrite ? sizeInBlocks : .max
    let imageBytes = head.pointee.image_bytes
    let generation = head.pointee.generation
    while true {
      let isSound = add(to: &table, preparedFrom: prepared, imageBytes: imageBytes)
      guard isSound else { throw DirectError(.getLayout, .protocolViolation) }
      let cursor = head.pointee.cursor
      if cursor == 0 { return table }
      head.pointee.flags = HOLDFAST_LAYOUT_PAGE
      head.pointee.offset = 0
      head.pointee.length = 0
      head.pointee.grace_seconds = 0
      head.pointee.ttl_seconds = 0
      let code = control()
      guard code == 0 else { throw DirectError(.getLayout, errno: code) }
      // A grant keeps the map as it is, but for what another holder adds to the file.
      guard head.pointee.cursor == 0 || head.pointee.cursor > cursor, head.pointee.generation >= generation else {
        throw DirectError(.getLayout, .protocolViolation)
      }
    }
  }

  private func add(to table: inout ExtentTable, preparedFrom: UInt64, imageBytes: UInt64) -> Bool {
    let count = Int(head.pointee.extent_count)
    guard count <= Int(HOLDFAST_LAYOUT_EXTENTS) else { return false }
    // The structure's last member; a key path to it is nothing for Embedded Swift.
    let extentBytes = MemoryLayout<holdfast_extent>.stride * Int(HOLDFAST_LAYOUT_EXTENTS)
    let found = UnsafeRawPointer(head) + MemoryLayout<holdfast_layout>.size - extentBytes
    for index in 0..<count {
      let extent = found.load(fromByteOffset: index * MemoryLayout<holdfast_extent>.stride, as: holdfast_extent.self)
      if !Self.add(extent, to: &table, preparedFrom, imageBytes) { return false }
    }
    return true
  }

  /// An unwritten extent over the end of an as-is file is two: the part behind it was prepared.
  private static func add(
    _ extent: holdfast_extent, to table: inout ExtentTable, _ preparedFrom: UInt64, _ imageBytes: UInt64
  ) -> Bool {
    func append(_ skipped: UInt64, _ length: UInt64, _ state: DirectExtent.State) -> Bool {
      let part = DirectExtent(
        logical: extent.logical &+ skipped, physical: extent.physical &+ skipped, length: length, state: state)
      return table.append(part, imageBytes: imageBytes)
    }
    if extent.flags & HOLDFAST_EXTENT_SHARED != 0 {
      let isUnwritten = extent.flags & HOLDFAST_EXTENT_UNWRITTEN != 0
      return append(0, extent.length, isUnwritten ? .unwritten : .shared)
    }
    if extent.flags & HOLDFAST_EXTENT_UNWRITTEN == 0 { return append(0, extent.length, .written) }
    let before = extent.logical >= preparedFrom ? 0 : min(extent.length, preparedFrom - extent.logical)
    return (before == 0 || append(0, before, .unwritten))
      && (before == extent.length || append(before, extent.length - before, .prepared))
  }
}
