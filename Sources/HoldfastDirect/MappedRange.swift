/// Blocks of a file mapped from the image, contiguous in virtual memory over any number of extents.
///
/// First a stretch of addresses is reserved that nobody can touch, then the extents are mapped over it one by one
/// (MAP_FIXED): a thread that maps something meanwhile cannot come between, and when a piece fails nothing stays. A
/// mapping holds the image's open file description, and so the lease, until it is unmapped or the process ends.

import CPlatform

public struct MapOptions: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// All pages are there when the call returns (MAP_POPULATE): no fault later.
  public static let populate = MapOptions(rawValue: 1)
  /// MAP_SYNC: stores are durable once the CPU's caches are flushed; only where the image has DAX, else EOPNOTSUPP.
  public static let sync = MapOptions(rawValue: 2)
  /// Every byte is the image's, or there is no mapping. Without it a mapping for reading shows zeros where an as-is
  /// layout has a hole or unwritten blocks; one for writing is always direct.
  public static let direct = MapOptions(rawValue: 4)
}

public struct MappedRange: ~Copyable, @unchecked Sendable {
  public let start: UnsafeMutableRawPointer
  /// Bytes, whole pages.
  public let length: Int
  public let isWritable: Bool

  fileprivate init(start: UnsafeMutableRawPointer, length: Int, isWritable: Bool) {
    self.start = start
    self.length = length
    self.isWritable = isWritable
  }

  private var isReleased = false

  deinit {
    if !isReleased { _ = holdfast_direct_unmap(UInt(bitPattern: start), length) }
  }

  /// Leaves the mapping, and with it the lease, to the caller, who unmaps it by munmap(2) of all of it.
  public consuming func release() -> UnsafeMutableRawBufferPointer {
    isReleased = true
    return UnsafeMutableRawBufferPointer(start: start, count: length)
  }
}

extension DirectSpace {
  /// Every piece is a mapping of its own, and Linux lets a process have vm.max_map_count of them: 65,530 unless told
  /// otherwise. This leaves it over five thousand for everything else.
  public static let maximumPieces = 60_000
  /// What one entry of a page table's second level maps on x86-64 and Arm with 4 KiB pages.
  static let hugePageBytes: UInt64 = 2 << 20
  /// Below it Linux maps nothing of ours: room for every address a reservation may get.
  private static let maximumBytes: UInt64 = 1 << 46

  /// Maps bytes [offset, offset + length) of the file, whole pages (`length` is rounded up), MAP_SHARED. At an address
  /// that is congruent to the bytes' place on the image modulo 2 MiB where one whole such unit lies in the first
  /// extent, so that an image in huge pages is mapped by huge pages.
  /// - Throws: `.map`: `.malformedRange`, `.outsideLayout`, `.hole`, `.unwritten`, `.shared`, `.tooManyPieces`,
  ///   `.readOnly`; the kernel's errno (EOPNOTSUPP for `.sync` without DAX, ENOMEM).
  public func map(
    _ offset: UInt64, _ length: UInt64, writable: Bool, options: MapOptions = []
  ) throws(DirectError) -> MappedRange {
    let mask = ExtentTable.blockBytes - 1
    guard offset & mask == 0, length > 0, length <= Self.maximumBytes, offset <= UInt64(Int64.max) - Self.maximumBytes
    else { throw DirectError(.map, .malformedRange) }
    let length = (length + mask) & ~mask
    guard offset >= start, offset + length <= end else { throw DirectError(.map, .outsideLayout) }
    guard !writable || (isWritable && image.isWritable) else { throw DirectError(.map, .readOnly) }
    let pieces: Int
    if writable || options.contains(.direct) {
      let found = extents.storable(offset, length)
      if let defect = found.defect { throw DirectError(.map, defect) }
      pieces = found.pieces
    } else {
      pieces = extents.pieces(offset, length)
    }
    guard pieces <= Self.maximumPieces else { throw Self.tooManyPieces(pieces) }

    let first = extents.piece(at: offset, limit: length)
    let address = try Self.reserve(length, congruentTo: first)
    let range = MappedRange(
      start: UnsafeMutableRawPointer(bitPattern: address)!, length: Int(length), isWritable: writable)
    // From here on an error unmaps what is there: the end of `range`.
    var done: UInt64 = 0
    while done < length {
      let piece = extents.piece(at: offset + done, limit: length - done)
      let code = place(piece, at: address + UInt(done), writable: writable, options: options)
      if code == ENOMEM && pieces > 1 { throw Self.tooManyPieces(pieces) }
      guard code == 0 else { throw DirectError(.map, errno: code) }
      done += piece.length
    }
    return range
  }

  /// Maps a piece over reserved addresses; 0 or the errno.
  private func place(_ piece: Piece, at address: UInt, writable: Bool, options: MapOptions) -> Int32 {
    guard piece.isOnImage else {
      let flags = holdfast_map_reserve | holdfast_map_fixed
      let result = holdfast_direct_map(address, Int(piece.length), PROT_READ, flags, -1, 0)
      return result < 0 ? Int32(-result) : 0
    }
    let flags =
      (options.contains(.sync) ? holdfast_map_shared_sync : holdfast_map_shared) | holdfast_map_fixed
      | (options.contains(.populate) ? holdfast_map_populate : 0)
    let protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
    let result = holdfast_direct_map(
      address, Int(piece.length), protection, flags, image.descriptor, Int64(piece.physical))
    return result < 0 ? Int32(-result) : 0
  }

  private static func tooManyPieces(_ pieces: Int) -> DirectError {
    var error = DirectError(.map, .tooManyPieces)
    error.pieces = pieces
    return error
  }

  /// Addresses nobody can touch yet.
  private static func reserve(_ length: UInt64, congruentTo first: Piece) throws(DirectError) -> UInt {
    let huge = hugePageBytes
    let toBoundary = (huge - first.physical % huge) % huge
    let slack = first.isOnImage && first.length >= toBoundary + huge ? huge : 0
    let result = holdfast_direct_map(0, Int(length + slack), PROT_NONE, holdfast_map_reserve, -1, 0)
    guard result >= 0 else { throw DirectError(.map, errno: Int32(-result)) }
    guard slack > 0 else { return UInt(result) }
    let reserved = UInt64(result)
    let head = (first.physical % huge + huge - reserved % huge) % huge
    if head > 0 { _ = holdfast_direct_unmap(UInt(reserved), Int(head)) }
    if slack > head { _ = holdfast_direct_unmap(UInt(reserved + head + length), Int(slack - head)) }
    return UInt(reserved + head)
  }
}
