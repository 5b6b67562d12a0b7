/// What /proc/self/mountinfo says of a mount. Reading it asks nothing of the mounts in it, so a daemon may look
/// up its own while it serves it.

import CPlatform
import Glibc

enum MountTable {
  struct Device: Equatable, Sendable {
    var major: UInt32
    var minor: UInt32
  }

  /// The device number of the topmost mount on `path` (absolute, without symbolic links).
  static func device(mountedOn path: String) -> Device? {
    guard let table = SmallFile.read("/proc/self/mountinfo") else { return nil }
    return device(mountedOn: path, in: table)
  }

  static func device(mountedOn path: String, in table: String) -> Device? {
    var found: Device?
    for line in table.split(separator: "\n") {
      // id, parent, major:minor, root, mount point, …
      let fields = line.split(separator: " ", maxSplits: 5)
      guard fields.count == 6, unescaped(fields[4]) == path else { continue }
      let numbers = fields[2].split(separator: ":")
      guard numbers.count == 2, let major = UInt32(numbers[0]), let minor = UInt32(numbers[1]) else { continue }
      found = Device(major: major, minor: minor)
    }
    return found
  }

  /// The kernel writes space, tab, newline and backslash in octal.
  static func unescaped(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = field.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), rest.count >= 3, let code = UInt8(String(Substring(rest.prefix(3))), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// Files of /proc and /sys.
enum SmallFile {
  static func read(_ path: String) -> String? {
    let descriptor = holdfast_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Best effort: what cannot be written stays as it is.
  static func write(_ text: String, to path: String) {
    let descriptor = holdfast_open(path, O_WRONLY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { return }
    _ = text.withCString { Glibc.write(descriptor, $0, strlen($0)) }
    close(descriptor)
  }
}
