/// LAYOUT_GET and LAYOUT_RETURN on an open file, with nothing between test and structure.

import CHoldfast
import CMountedSupport
import Glibc

/// A granted layout, or what a refused one told.
struct GrantedLayout {
  var id: UInt64
  var cursor: UInt64
  var generation: UInt64
  var inode: UInt64
  var leaseOffset: UInt64
  var fileSize: Int
  var extents: [holdfast_extent]
  var busy: [Int32]
  var busyCount: Int
  var defect: UInt32
  var image: (device: UInt64, inode: UInt64)

  fileprivate init(_ argument: UnsafeRawPointer) {
    func word(_ offset: Int) -> UInt64 { argument.load(fromByteOffset: offset, as: UInt64.self) }
    func half(_ offset: Int) -> UInt32 { argument.load(fromByteOffset: offset, as: UInt32.self) }
    id = word(32)
    cursor = word(40)
    generation = word(48)
    inode = word(56)
    fileSize = Int(word(64))
    leaseOffset = word(72)
    image = (word(80), word(88))
    defect = half(128)
    busyCount = Int(half(132))
    busy = (0..<Int(HOLDFAST_LAYOUT_BUSY)).map { Int32(bitPattern: half(152 + 4 * $0)) }.filter { $0 != 0 }
    extents = (0..<Int(half(180))).map {
      argument.load(fromByteOffset: 184 + 32 * $0, as: holdfast_extent.self)
    }
  }

  /// Where byte `offset` of the file lies on the image.
  func place(_ offset: Int) -> Int {
    for extent in extents where UInt64(offset) >= extent.logical && UInt64(offset) < extent.logical + extent.length {
      return Int(extent.physical) + offset - Int(extent.logical)
    }
    preconditionFailure("no extent of the layout has byte \(offset)")
  }
}

/// A refused LAYOUT_GET.
struct LayoutRefusal: Error {
  var errno: Errno
  var told: GrantedLayout
}

/// `struct holdfast_layout` as bytes (docs/ABI.md): as a value of Swift, with its array of extents, it takes long to compile.
private final class LayoutArgument {
  static let byteCount = 952
  let start: UnsafeMutableRawPointer

  init() {
    start = .allocate(byteCount: Self.byteCount, alignment: 8)
    start.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCount)
    start.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), as: UInt32.self)
  }

  deinit { start.deallocate() }
}

extension File {
  func layout(
    _ flags: UInt32, _ offset: Int = 0, _ length: Int = 0, graceSeconds: Int = 0
  ) throws(LayoutRefusal) -> GrantedLayout {
    let end = now() + 2
    while true {
      do throws(LayoutRefusal) {
        return try layoutAtOnce(flags, offset, length, graceSeconds: graceSeconds)
      } catch {
        // A handle that was closed may be there for a moment: RELEASE comes behind close(2), and behind an exec elsewhere.
        guard error.errno == Errno(EBUSY), now() < end else { throw error }
        usleep(2000)
      }
    }
  }

  private func layoutAtOnce(
    _ flags: UInt32, _ offset: Int, _ length: Int, graceSeconds: Int = 0
  ) throws(LayoutRefusal) -> GrantedLayout {
    let argument = LayoutArgument()
    argument.start.storeBytes(of: flags, toByteOffset: 4, as: UInt32.self)
    argument.start.storeBytes(of: UInt64(offset), toByteOffset: 8, as: UInt64.self)
    argument.start.storeBytes(of: UInt64(length), toByteOffset: 16, as: UInt64.self)
    argument.start.storeBytes(of: UInt32(graceSeconds), toByteOffset: 24, as: UInt32.self)
    return try layout(argument)
  }

  /// More extents of one that stands.
  func page(of layout: GrantedLayout, from cursor: UInt64) throws(LayoutRefusal) -> GrantedLayout {
    let argument = LayoutArgument()
    argument.start.storeBytes(of: HOLDFAST_LAYOUT_PAGE, toByteOffset: 4, as: UInt32.self)
    argument.start.storeBytes(of: layout.id, toByteOffset: 32, as: UInt64.self)
    argument.start.storeBytes(of: cursor, toByteOffset: 40, as: UInt64.self)
    return try self.layout(argument)
  }

  private func layout(_ argument: LayoutArgument) throws(LayoutRefusal) -> GrantedLayout {
    do throws(Errno) {
      try control(UInt(holdfast_ioc_layout_get), argument.start)
    } catch {
      throw LayoutRefusal(errno: error, told: GrantedLayout(argument.start))
    }
    return GrantedLayout(argument.start)
  }

  /// The file's size afterwards.
  @discardableResult
  func returnLayout(_ layout: GrantedLayout, size: Int? = nil, touches: Bool = false) throws(Errno) -> Int {
    var argument = holdfast_layout_return()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.layout_id = layout.id
    if let size {
      argument.flags |= HOLDFAST_LAYOUT_SET_SIZE
      argument.size = UInt64(size)
    }
    if touches { argument.flags |= HOLDFAST_LAYOUT_SET_TIMES }
    try control(UInt(holdfast_ioc_layout_return), &argument)
    return Int(argument.file_size)
  }

  /// The errno LAYOUT_GET is refused with, and what it told; nil when it was granted (and is returned again).
  func layoutRefusal(_ flags: UInt32, _ offset: Int = 0, _ length: Int = 0) throws -> LayoutRefusal? {
    do throws(LayoutRefusal) {
      let granted = try layoutAtOnce(flags, offset, length)
      _ = try? returnLayout(granted)
      return nil
    } catch {
      return error
    }
  }
}
