/// What the machine swaps to: /proc/swaps.

import CFuse3
import CPlatform
import Glibc

enum SwapFiles {
  /// Whether any is on the filesystem of this number. Asks its daemon, so not for a thread that answers requests.
  static func isAny(on device: MountTable.Device) -> Bool {
    paths(in: SmallFile.read("/proc/swaps") ?? "").contains { path in
      var status = stat()
      return stat(path, &status) == 0 && MountTable.Device(of: status.st_dev) == device
    }
  }

  /// Of files; a line of headings first, octal escapes as in the mount table.
  static func paths(in table: String) -> [String] {
    table.split(separator: "\n").dropFirst().compactMap { line in
      let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
      return fields.count > 1 && fields[1] == "file" ? MountTable.unescaped(fields[0]) : nil
    }
  }
}

extension MountTable.Device {
  /// As glibc's gnu_dev_major and gnu_dev_minor have it.
  init(of number: dev_t) {
    let number = UInt64(number)
    self.init(
      major: UInt32(truncatingIfNeeded: (number >> 8 & 0xfff) | (number >> 32 & ~0xfff)),
      minor: UInt32(truncatingIfNeeded: (number & 0xff) | (number >> 12 & 0xffff_ff00)))
  }
}
