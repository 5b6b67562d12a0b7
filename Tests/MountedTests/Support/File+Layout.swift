/// LAYOUT_GET and LAYOUT_RETURN on an open file, with nothing between test and structure.

import CHoldfast
import CMountedSupport
import Glibc

/// A granted layout, or what a refused one told.
struct Layout {
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

  init(_ argument: holdfast_layout) {
    id = argument.layout_id
    cursor = argument.cursor
    generation = argument.generation
    inode = argument.inode
    leaseOffset = argument.lease_offset
    fileSize = Int(argument.file_size)
    busyCount = Int(argument.busy_count)
    defect = argument.defect
    image = (argument.image_device, argument.image_inode)
    var argument = argument
    let count = Int(argument.extent_count)
    extents = withUnsafeBytes(of: &argument.extents) { Array($0.bindMemory(to: holdfast_extent.self).prefix(count)) }
    busy = withUnsafeBytes(of: &argument.busy_pid) { Array($0.bindMemory(to: Int32.self)) }.filter { $0 != 0 }
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
  var told: Layout
}

extension File {
  func layout(
    _ flags: UInt32, _ offset: Int = 0, _ length: Int = 0, graceSeconds: Int = 0
  ) throws(LayoutRefusal) -> Layout {
    var argument = holdfast_layout()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = flags
    argument.offset = UInt64(offset)
    argument.length = UInt64(length)
    argument.grace_seconds = UInt32(graceSeconds)
    return try layout(&argument)
  }

  /// More extents of one that stands.
  func page(of layout: Layout, from cursor: UInt64) throws(LayoutRefusal) -> Layout {
    var argument = holdfast_layout()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = HOLDFAST_LAYOUT_PAGE
    argument.layout_id = layout.id
    argument.cursor = cursor
    return try self.layout(&argument)
  }

  private func layout(_ argument: inout holdfast_layout) throws(LayoutRefusal) -> Layout {
    do throws(Errno) {
      try control(UInt(holdfast_ioc_layout_get), &argument)
    } catch {
      throw LayoutRefusal(errno: error, told: Layout(argument))
    }
    return Layout(argument)
  }

  /// The file's size afterwards.
  @discardableResult
  func returnLayout(_ layout: Layout, size: Int? = nil, touches: Bool = false) throws(Errno) -> Int {
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
      let granted = try layout(flags, offset, length)
      try? returnLayout(granted)
      return nil
    } catch {
      return error
    }
  }
}
