/// Direct access's errors in words: why, and what to do about it.

import Glibc
import HoldfastBase
import HoldfastDirect

extension ClientError {
  /// A step of direct access on `path` that failed. `image`: what was opened, where that is the trouble.
  init(_ error: DirectError, path: String, image: String? = nil) {
    let operation: Operation =
      switch error.step {
      case .openImage, .identify, .lease: .image
      case .getLayout: .layout
      case .returnLayout: .layoutReturn
      case .read: .read
      case .write: .write
      case .map: .directMap
      case .sync: .imageSync
      }
    self.init(operation, path: path, errno: error.errno)
    direct = error
    self.image = image
    switch error.reason {
    case .hole: defect = Defect(kind: .hole, offset: error.defectOffset, length: error.defectLength)
    case .unwritten: defect = Defect(kind: .unwritten, offset: error.defectOffset, length: error.defectLength)
    case .shared: defect = Defect(kind: .shared, offset: error.defectOffset, length: error.defectLength)
    default: break
    }
  }

  /// The request is gone: fenced or revoked. Mappings there are stay usable and harm nobody.
  public var isFenced: Bool { errno == ESTALE }

  var directExplanation: String? {
    guard let direct else { return nil }
    if let defect {
      return "\(defect.kind.inWords) at byte \(defect.offset), \(defect.length) bytes long: holdfast prepare \(path) "
        + "gives it blocks"
    }
    return switch direct.reason {
    case .system: system(direct.step)
    case .otherImage:
      "\(image ?? "what was opened") is not the image that is mounted: open the very file or device node that is, "
        + "a loop device and the file below it have different locks"
    case .noImageName: "the mount does not say which image it has: name it"
    case .protocolViolation: "the answer makes no sense: library and daemon are of different versions"
    case .outsideLayout: "not within the layout: take one of the range"
    case .readOnly: "the layout, or the image, is for reading only: ask for a layout for writing"
    case .malformedRange: "ranges begin at a multiple of 4096 and are not empty"
    case .tooManyPieces:
      "in \(direct.pieces) pieces, too many to map (vm.max_map_count): holdfast prepare \(path) --contiguous joins "
        + "them, and an extent-size hint (holdfast.extsize) keeps them long"
    case .busy: busy(direct)
    case .fenced:
      "it was taken away (fenced or revoked): return it and open the file again; mappings stay and harm nobody"
    case .hole, .unwritten, .shared: nil
    }
  }

  private func system(_ step: DirectError.Step) -> String? {
    switch (step, errno) {
    case (.openImage, EACCES), (.openImage, EPERM):
      "\(image ?? "the image"): \(String(cString: strerror(errno))): you need the right to open the image "
        + "(docs/SECURITY.md)"
    case (.openImage, ENOTTY), (_, ENOTCONN), (_, ECONNABORTED), (.getLayout, ENOTTY): nil
    case (.openImage, _): "\(image ?? "the image"): \(String(cString: strerror(errno)))"
    case (.lease, _): "the image cannot be locked: \(String(cString: strerror(errno)))"
    case (.getLayout, EBADF): "the file is not open for what the layout asks: reading, or writing"
    case (.getLayout, EPERM):
      "the mount's seal_policy does not let you (by default only the file's owner and administrators may), or the "
        + "grace is longer than the mount's, which only administrators may ask for"
    case (.getLayout, EAGAIN), (.getLayout, EDQUOT), (.getLayout, EROFS):
      ClientError(.seal, path: path, errno: errno).explanation
    case (.getLayout, EOPNOTSUPP): "the daemon of this mount has no layouts"
    case (.returnLayout, ENODATA): "it has ended already"
    case (.returnLayout, EINVAL): "the size is outside of what the layout covers"
    case (.map, EOPNOTSUPP): "the kernel has no MAP_SYNC for this image: that takes a device or filesystem with DAX"
    case (.read, EINVAL), (.write, EINVAL):
      "O_DIRECT wants offset, length and address aligned to the image's blocks (4096 always does)"
    default: String(cString: strerror(errno))
    }
  }

  private func busy(_ direct: DirectError) -> String {
    let (a, b, c, d, e, f, g) = direct.busy
    let pids = [a, b, c, d, e, f, g].filter { $0 != 0 }.map(String.init)
    let who = pids.isEmpty ? "" : ", opened by process \(pids.joined(separator: ", "))"
    return
      "\(direct.busyCount) other handles of the file use the page cache\(who): they must close it or open it with O_DIRECT; "
      + "a `shared` layout stands beside them"
  }
}
