/// A file's blocks, held and used on the image itself (docs/CLIENT.md). Any number of threads may read, write and map
/// at once.
///
/// Sizes: a write that makes the file longer, in blocks that were preallocated, is the library's to remember and the
/// file's when the layout is returned. Stores through a mapping are the program's to tell (`giveBack(size:)`).

import CPlatform
import Glibc
import HoldfastBase
import HoldfastDirect
import Synchronization

public struct Layout: ~Copyable, Sendable {
  /// The handle it is bound to.
  public let file: OpenFile
  let direct: DirectLayout
  /// Bytes of the file: at the grant, or as heard since, where only a range is held and others may make it grow.
  private let knownSize: Atomic<UInt64>
  /// Where `write` got to behind the end of the file; 0 nowhere.
  private let writtenEnd = Atomic<UInt64>(0)
  private let hasStored = Atomic<Bool>(false)
  /// Set once anybody heard that it was taken away.
  private let isKnownFenced = Atomic<Bool>(false)

  /// Takes the lease on the image and the layout, in that order.
  /// - Parameters:
  ///   - file: open for reading, for a write layout for writing.
  ///   - image: the path of the mounted image; nil to ask the mount.
  ///   - uncached: reads and writes bypass the image's page cache (O_DIRECT); mappings never do.
  /// - Throws: EACCES (the image is not yours to open: docs/SECURITY.md), EXDEV (another image), EBUSY (`direct.busy`
  ///   names processes), EINVAL (with the defect), and what `OpenFile.seal` throws.
  public init(
    _ file: consuming OpenFile, _ request: LayoutRequest = LayoutRequest(), image: String? = nil,
    uncached: Bool = false
  ) throws(ClientError) {
    direct = try MountedImages.shared.withPath(of: file, told: image) { (path) throws(DirectError) in
      let image = try ImageFile(path: path, writable: request.isWrite, direct: uncached)
      return try DirectLayout(file: file.descriptor, image: image, request: request)
    }
    self.file = file
    knownSize = Atomic(direct.fileSize)
  }

  /// Its sizes and times are the file's after the end of its life, too. Nothing happens after `giveBack`.
  deinit { _ = try? direct.giveBack(size: grownSize, setTimes: wasStoredInto) }

  /// Of the map, at the grant.
  public var generation: UInt64 { direct.generation }
  public var inode: UInt64 { direct.inode }
  /// Bytes: at the grant, or what `write` made of it since.
  public var fileSize: UInt64 {
    max(knownSize.load(ordering: .acquiring), writtenEnd.load(ordering: .acquiring))
  }
  /// Of the grant, in the order of the file.
  public var extents: [DirectExtent] { (0..<direct.space.extents.count).map { direct.space.extents[$0] } }

  private var grownSize: UInt64? {
    let end = writtenEnd.load(ordering: .acquiring)
    return end > knownSize.load(ordering: .acquiring) ? end : nil
  }
  private var wasStoredInto: Bool { hasStored.load(ordering: .relaxed) }

  /// Releases the layout. Its mappings, and the lease with them, stay until they are unmapped.
  /// - Parameters: - size: of the file from now on: everything up to there has been stored; nil: what `write` made of
  ///   it. - setTimes: modification and change time are now; nil: if `write` stored anything or something was mapped
  ///   for writing.
  /// - Throws: `isFenced` when it had been taken away before; then no size and no time is set.
  public consuming func giveBack(size: UInt64? = nil, setTimes: Bool? = nil) throws(ClientError) -> LayoutEnd {
    do throws(DirectError) {
      return try direct.giveBack(size: size ?? grownSize, setTimes: setTimes ?? wasStoredInto)
    } catch {
      throw ClientError(error, path: file.path)
    }
  }

  /// Whether it is asked for, or was taken away. From then on its operations throw `isFenced`.
  public func recallStatus() throws(ClientError) -> RecallStatus {
    let status = try file.recallStatus()
    if case .takenAway = status { isKnownFenced.store(true, ordering: .relaxed) }
    return status
  }

  /// A descriptor that is readable (POLLIN) from when the layout is asked for until it is returned.
  public func recallDescriptor() throws(ClientError) -> RecallDescriptor { try RecallDescriptor(file) }
}

extension Layout {
  /// As pread(2): up to `buffer.count` bytes from byte `offset` on; fewer at the end of the file or the layout, 0
  /// behind the end of the file. Holes of an as-is layout read as zeros.
  /// - Throws: ERANGE (in the file, but not in the layout), `isFenced` once that is known, the image's errno.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(ClientError) -> Int {
    guard let start = buffer.baseAddress, buffer.count > 0 else { return 0 }
    return try checked { () throws(DirectError) in
      try direct.space.read(start, count: buffer.count, at: offset, fileSize: size(reaching: offset, buffer.count))
    }
  }

  public func read(_ parts: UnsafeBufferPointer<iovec>, at offset: UInt64) throws(ClientError) -> Int {
    guard let start = parts.baseAddress else { return 0 }
    let total = Self.total(parts)
    return try checked { () throws(DirectError) in
      try direct.space.readVector(start, count: parts.count, at: offset, fileSize: size(reaching: offset, total))
    }
  }

  /// As pwrite(2), but refused as a whole where the range is not all in blocks that may be stored into.
  /// - Throws: EINVAL (hole, unwritten, shared, with the defect), ERANGE, EACCES (a read layout), `isFenced` once that
  ///   is known, the image's errno.
  public func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(ClientError) -> Int {
    guard let start = buffer.baseAddress, buffer.count > 0 else { return 0 }
    return try storing(buffer.count, at: offset) { () throws(DirectError) in
      try direct.space.write(start, count: buffer.count, at: offset)
    }
  }

  public func write(_ parts: UnsafeBufferPointer<iovec>, at offset: UInt64) throws(ClientError) -> Int {
    guard let start = parts.baseAddress else { return 0 }
    let total = Self.total(parts)
    return try storing(total, at: offset) { () throws(DirectError) in
      try direct.space.writeVector(start, count: parts.count, at: offset)
    }
  }

  /// What was stored, by `write` or through mappings, is on the image's device when this returns.
  public func synchronize() throws(ClientError) {
    try checked { () throws(DirectError) in try direct.space.synchronize() }
  }

  /// Maps a range of the file, contiguous in memory over any number of extents. Asks first whether the layout still
  /// stands.
  /// - Throws: EINVAL (hole, unwritten, shared, or not aligned), ENOMEM (too many pieces), EOPNOTSUPP (`.sync` without
  ///   DAX), `isFenced`.
  public func map(
    _ range: Range<UInt64>, _ protection: Protection = .read, options: MapOptions = .direct
  ) throws(ClientError) -> DirectMapping {
    if case .takenAway = try recallStatus() { throw ClientError(DirectError(.map, .fenced), path: file.path) }
    if protection == .readWrite { hasStored.store(true, ordering: .relaxed) }
    return try checked { () throws(DirectError) in
      DirectMapping(
        try direct.space.map(
          range.lowerBound, UInt64(range.count), writable: protection == .readWrite, options: options))
    }
  }

  public enum Protection: Sendable { case read, readWrite }

  @inline(__always)
  private func checked<Result: ~Copyable>(
    _ body: () throws(DirectError) -> Result
  ) throws(ClientError) -> Result {
    if isKnownFenced.load(ordering: .relaxed) { throw ClientError(DirectError(.read, .fenced), path: file.path) }
    do throws(DirectError) { return try body() } catch { throw ClientError(error, path: file.path) }
  }

  private func storing(
    _ count: Int, at offset: UInt64, _ body: () throws(DirectError) -> Int
  ) throws(ClientError) -> Int {
    let done = try checked(body)
    if done > 0 && !wasStoredInto { hasStored.store(true, ordering: .relaxed) }
    let reached = offset + UInt64(done)
    if reached > fileSize { writtenEnd.max(reached, ordering: .releasing) }
    return done
  }

  /// The file's size for a read. Only where others may make the file grow, and the read seems to meet its end, is it
  /// asked for.
  @inline(__always)
  private func size(reaching offset: UInt64, _ count: Int) -> UInt64 {
    let known = fileSize
    return offset &+ UInt64(count) <= known || direct.space.end == .max ? known : askedSize()
  }

  private func askedSize() -> UInt64 {
    var status = stat()
    if fstat(file.descriptor, &status) == 0 { knownSize.store(UInt64(status.st_size), ordering: .releasing) }
    return fileSize
  }

  private static func total(_ parts: UnsafeBufferPointer<iovec>) -> Int { parts.reduce(0) { $0 &+ $1.iov_len } }
}
