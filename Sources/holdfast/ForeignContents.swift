/// A second opinion on what an image holds: blkid(8), where it is installed, knows more kinds than our table.

import CPlatform
import Glibc
import HoldfastCommand

enum ForeignContents {
  /// Its name for what it finds, nil for nothing or where there is no blkid.
  static func byBlkid(_ path: String) -> String? {
    // Absolute, so that no path is taken for an option.
    guard let resolved = try? Path.resolved(path) else { return nil }
    guard let (output, status) = try? Subprocess.output(of: ["/sbin/blkid", "-p", "-o", "export", "--", resolved])
    else {
      return nil
    }
    var values: [String: String] = [:]
    for line in output.split(separator: "\n") {
      guard let equals = line.firstIndex(of: "=") else { continue }
      values[String(line[..<equals])] = String(line[line.index(after: equals)...])
    }
    if let type = values["TYPE"] { return "a volume of type \(type)" }
    if let table = values["PTTYPE"] { return "a partition table of type \(table)" }
    // Its answer to marks of several kinds at once.
    return status == 8 ? "several filesystems' marks" : nil
  }
}
