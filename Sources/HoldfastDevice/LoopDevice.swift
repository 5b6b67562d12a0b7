/// Loop devices (loop(4)): a block device that shows a file's bytes, which others may reach by the file itself.

import Glibc

public enum LoopDevice {
  private static let pathBytes = 4096

  /// The path of the file that the loop device open as `fd` shows, from sysfs; nil for anything else.
  static func backingFile(of fd: Int32) -> String? {
    var status = stat()
    guard fstat(fd, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else { return nil }
    let device = UInt64(status.st_rdev)
    // As glibc's gnu_dev_major and gnu_dev_minor have it.
    let major = (device >> 8 & 0xfff) | (device >> 32 & ~0xfff)
    let minor = (device & 0xff) | (device >> 12 & 0xffff_ff00)
    return line(of: "/sys/dev/block/\(major):\(minor)/loop/backing_file")
  }

  /// Paths of the loop devices that show the file at `path`.
  public static func devices(showing path: String) -> [String] {
    var file = stat()
    return stat(path, &file) == 0 ? devices(showing: file) : []
  }

  /// Likewise, of the file with this `stat`.
  static func devices(showing file: stat) -> [String] {
    guard file.st_mode & S_IFMT == S_IFREG, let folder = opendir("/sys/block") else { return [] }
    defer { closedir(folder) }
    var found: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      var backing = stat()
      if name.hasPrefix("loop"), let path = line(of: "/sys/block/\(name)/loop/backing_file"), stat(path, &backing) == 0,
        backing.st_dev == file.st_dev, backing.st_ino == file.st_ino
      {
        found.append("/dev/\(name)")
      }
    }
    return found
  }

  /// The one line of an attribute in sysfs.
  private static func line(of path: String) -> String? {
    let attribute = open(path, O_RDONLY | O_CLOEXEC)
    guard attribute >= 0 else { return nil }
    defer { close(attribute) }
    var bytes = [UInt8](repeating: 0, count: pathBytes)
    let count = read(attribute, &bytes, bytes.count)
    guard count > 1 else { return nil }
    return String(validating: bytes[..<(count - 1)], as: UTF8.self)
  }
}
