/// The bytes of a file on its image: an open image, the extents in a range, and what may be done with them. It knows
/// nothing of the mount; `DirectLayout` is how a space comes to be, a test may make one by hand. Immutable: any number
/// of threads use it.

import CPlatform

public struct DirectSpace: ~Copyable, Sendable {
  public let image: ImageFile
  public let extents: ExtentTable
  /// The bytes of the file it covers; `end` is `UInt64.max` where it is the whole file.
  public let start: UInt64
  public let end: UInt64
  /// May be stored into.
  public let isWritable: Bool

  public init(
    image: consuming ImageFile, extents: consuming ExtentTable, start: UInt64, end: UInt64, writable: Bool
  ) {
    self.image = image
    self.extents = extents
    self.start = start
    self.end = end
    isWritable = writable
  }

  /// Whatever was stored through the image's page cache, and through any mapping of it, is on the device.
  /// - Throws: `.sync`: fdatasync(2)'s errno.
  public func synchronize() throws(DirectError) {
    let code = holdfast_direct_datasync(image.descriptor)
    guard code == 0 else { throw DirectError(.sync, errno: -code) }
  }

  /// Refuses to store anywhere in [offset, offset + count) unless all of it may be stored into.
  @inline(__always)
  func checkStorable(_ offset: UInt64, _ count: Int, _ step: DirectError.Step) throws(DirectError) {
    guard isWritable, image.isWritable else { throw DirectError(step, .readOnly) }
    let (last, overflows) = offset.addingReportingOverflow(UInt64(count))
    guard offset >= start, !overflows, last <= end else { throw DirectError(step, .outsideLayout) }
    let (defect, _) = extents.storable(offset, UInt64(count))
    if let defect { throw DirectError(step, defect) }
  }
}
