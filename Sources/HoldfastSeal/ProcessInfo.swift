/// What /proc tells of a process: its name, its thread group, whether it administers. Reads files, so never
/// under a lock and off the reply path where the answer can wait. No state.

import CPlatform
import Glibc
import HoldfastBase

public enum ProcessInfo {
  /// CAP_LINUX_IMMUTABLE of capabilities(7).
  private static let linuxImmutable: UInt64 = 1 << 9

  /// The command's name (/proc/PID/comm, at most 15 bytes); "" when there is no such process.
  public static func command(of pid: Int32) -> String {
    guard pid > 0, let bytes = read("/proc/\(pid)/comm", limit: 64) else { return "" }
    return String(decoding: bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes[...], as: UTF8.self)
  }

  /// The process a thread belongs to: FUSE tells thread ids. nil when there is no such thread.
  public static func process(ofThread tid: Int32) -> Int32? {
    // A process can be opened by its own id only: most callers are their process's first thread, and this is cheap.
    let pidfd = tid > 0 ? holdfast_pidfd_open(tid) : -1
    if pidfd >= 0 {
      close(pidfd)
      return tid
    }
    guard tid > 0, let status = read("/proc/\(tid)/status"), let text = field("Tgid:", of: status) else { return nil }
    return Int32(text)
  }

  /// Rule 9: uid 0, or CAP_LINUX_IMMUTABLE in the daemon's own user namespace; a capability inside an
  /// unprivileged namespace does not count. `pid` may be a thread's.
  public static func isAdministrator(pid: Int32, uid: UInt32) -> Bool {
    if uid == 0 { return true }
    guard pid > 0, let status = read("/proc/\(pid)/status"), let text = field("CapEff:", of: status),
      let capabilities = UInt64(text, radix: 16), capabilities & linuxImmutable != 0,
      let ours = userNamespace("self"), let theirs = userNamespace(String(pid))
    else { return false }
    return ours == theirs
  }

  /// Whether `gid` is among the process's groups, supplementary ones included. `pid` may be a thread's.
  public static func isMember(pid: Int32, gid own: UInt32, of gid: UInt32) -> Bool {
    if own == gid { return true }
    guard pid > 0, let status = read("/proc/\(pid)/status") else { return false }
    let key = Array("Groups:".utf8)
    guard let line = status.split(separator: UInt8(ascii: "\n")).first(where: { $0.starts(with: key) }) else {
      return false
    }
    return line.dropFirst(key.count).split(whereSeparator: { $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: " ") })
      .contains { UInt32(String(decoding: $0, as: UTF8.self)) == gid }
  }

  /// kill(2)'s rule: whether this user may send the process a signal.
  public static func mayBeSignalled(_ pid: Int32, by uid: UInt32) -> Bool {
    if uid == 0 { return true }
    guard pid > 0, let status = read("/proc/\(pid)/status") else { return false }
    let key = Array("Uid:".utf8)
    guard let line = status.split(separator: UInt8(ascii: "\n")).first(where: { $0.starts(with: key) }) else {
      return false
    }
    // Real, effective, saved, of the file system.
    let uids = line.dropFirst(key.count).split(separator: UInt8(ascii: "\t"))
      .compactMap { UInt32(String(decoding: $0, as: UTF8.self)) }
    return uids.count == 4 && (uids[0] == uid || uids[2] == uid)
  }

  private static func userNamespace(_ process: String) -> [UInt8]? {
    var target = [UInt8](repeating: 0, count: 64)
    let count = target.withUnsafeMutableBytes {
      readlink("/proc/\(process)/ns/user", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    return count > 0 ? Array(target[..<count]) : nil
  }

  /// The first word after `name` at the start of a line.
  private static func field(_ name: StaticString, of status: [UInt8]) -> String? {
    let key = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    for line in status.split(separator: UInt8(ascii: "\n")) where line.starts(with: key) {
      let isBlank = { (byte: UInt8) in byte == UInt8(ascii: "\t") || byte == UInt8(ascii: " ") }
      return String(decoding: line.dropFirst(key.count).drop(while: isBlank).prefix { !isBlank($0) }, as: UTF8.self)
    }
    return nil
  }

  /// The first `limit` bytes of a file. In `status` only the list of supplementary groups has no small bound; the
  /// default leaves room for thousands before the capabilities, which follow it, are missed.
  private static func read(_ path: String, limit: Int = 65536) -> [UInt8]? {
    let fd = holdfast_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var bytes = [UInt8](repeating: 0, count: limit)
    var filled = 0
    while filled < bytes.count {
      let count = bytes.withUnsafeMutableBytes { Glibc.read(fd, $0.baseAddress! + filled, $0.count - filled) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return nil }
      if count == 0 { break }
      filled += count
    }
    return Array(bytes[..<filled])
  }
}
