/// Whole small files, read and written without Foundation: /proc, /sys, and what `--svg` writes.

import CPlatform
import Glibc

public enum TextFile {
  public static func read(_ path: String) throws(CommandError) -> String {
    String(decoding: try bytes(path), as: UTF8.self)
  }

  public static func bytes(_ path: String) throws(CommandError) -> [UInt8] {
    let descriptor = holdfast_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw CommandError(path, errno: errno) }
    defer { close(descriptor) }
    return try all(from: descriptor, name: path)
  }

  /// Everything up to the end of an open file or pipe.
  public static func all(from descriptor: Int32, name: String) throws(CommandError) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count == 0 { return bytes }
      if count > 0 {
        bytes += buffer[..<count]
      } else if errno != EINTR {
        throw CommandError(name, errno: errno)
      }
    }
  }

  /// Creates or replaces the file; `-` is stdout.
  public static func write(_ text: String, to path: String) throws(CommandError) {
    let isOutput = path == "-"
    let descriptor = isOutput ? STDOUT_FILENO : holdfast_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw CommandError(path, errno: errno) }
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else {
        let code = errno
        if !isOutput { close(descriptor) }
        throw CommandError(path, errno: code)
      }
      rest = rest.dropFirst(count)
    }
    if !isOutput, close(descriptor) != 0 { throw CommandError(path, errno: errno) }
  }
}

public enum Path {
  /// realpath(3).
  public static func resolved(_ path: String) throws(CommandError) -> String {
    guard let resolved = realpath(path, nil) else { throw CommandError(path, errno: errno) }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// realpath(3) of the directory a path is in, with its last component as it is: for a mount point whose
  /// daemon is dead and which therefore answers nothing.
  public static func resolvedParent(_ path: String) throws(CommandError) -> String {
    var trimmed = Substring(path)
    while trimmed.count > 1 && trimmed.hasSuffix("/") { trimmed.removeLast() }
    guard let slash = trimmed.lastIndex(of: "/") else { return try resolved(".") + "/" + trimmed }
    let parent = try resolved(slash == trimmed.startIndex ? "/" : String(trimmed[..<slash]))
    return (parent == "/" ? "" : parent) + "/" + trimmed[trimmed.index(after: slash)...]
  }
}
