/// What the machine swaps to: /proc/swaps.

public enum SwapTable {
  /// The first swap file below `directory` (absolute, without symbolic links).
  public static func file(below directory: String) -> String? {
    guard let table = try? TextFile.read("/proc/swaps") else { return nil }
    return file(below: directory, in: table)
  }

  /// A line of headings, then path, type, sizes; paths with octal escapes, as in the mount table.
  static func file(below directory: String, in table: String) -> String? {
    let paths = table.split(separator: "\n").dropFirst().compactMap { line in
      line.split(whereSeparator: { $0 == " " || $0 == "\t" }).first.map { MountTable.unescape(String($0)) }
    }
    return paths.first { $0.hasPrefix(directory == "/" ? "/" : directory + "/") }
  }
}
