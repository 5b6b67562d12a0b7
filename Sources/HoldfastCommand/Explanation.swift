/// `holdfast why`: what would be refused on a file now and because of whom, in plain words. Pure: everything
/// it says follows from its fields, so that tests can say what it must say. The rules are SEMANTICS' truth table.

import Glibc
import HoldfastClient

public struct Explanation: Sendable {
  public var path: String
  public var size: UInt64
  public var requests: [SealReport]
  /// The file's map; nil when it could not be read.
  public var map: FileMap?
  /// Processes that run the file: the kernel refuses to open a running program for writing, seal or none.
  public var runners: [RunningProgram]
  public var isReadOnlyMount: Bool
  /// chattr +i or +a.
  public var isImmutable: Bool
  public var isAppendOnly: Bool

  public init(path: String, size: UInt64, requests: [SealReport], map: FileMap?) {
    self.path = path
    self.size = size
    self.requests = requests
    self.map = map
    runners = []
    isReadOnlyMount = false
    isImmutable = false
    isAppendOnly = false
  }

  public var lines: [String] { seals + refusals + otherReasons }

  private var hard: [SealReport] { requests.filter { $0.kind == "hard" } }
  private var breakable: [SealReport] { requests.filter { $0.kind != "hard" } }

  private var seals: [String] {
    guard !requests.isEmpty else { return ["\(path): not sealed"] + sealability }
    let count = requests.count == 1 ? "1 request" : "\(requests.count) requests"
    return ["\(path): sealed (\(count))"] + requests.map { "  " + Self.text($0) }
  }

  private static func text(_ request: SealReport) -> String {
    let name = request.name.isEmpty ? "the default request" : "request '\(request.name)'"
    let bound = request.isHandleBound ? ", bound to an open handle" : ""
    return "\(request.kind) seal on \(request.scope): \(name) of \(request.holder), \(request.age) old\(bound)"
  }

  private var refusals: [String] {
    guard !requests.isEmpty else { return [] }
    var lines: [String] = []
    if hard.contains(where: { $0.range == nil }) {
      lines += [
        "refused now, with \"Text file busy\" (ETXTBSY):",
        "  truncating to another size, opening with O_TRUNC, writing or appending past byte \(size),",
        "  punching holes, zeroing ranges, preallocating, sharing blocks\(unfilled)",
      ]
    } else if !hard.isEmpty {
      let ranges = hard.map(\.scope).joined(separator: " and ")
      lines += [
        "refused now, with \"Text file busy\" (ETXTBSY), where it touches \(ranges):",
        "  truncating, punching holes, zeroing ranges, sharing blocks, filling holes",
      ]
    }
    if !breakable.isEmpty {
      lines += ["made to wait, while the holder of a breakable seal is asked to let go: the same operations"]
    }
    lines += [
      "allowed: reading, overwriting what is written, fsync, mmap, rename, link, chmod, and unlink (blocks freed later)"
    ]
    return lines + release
  }

  /// Rule 3 of `as-is` seals: stores into blocks that are not there yet.
  private var unfilled: String {
    guard let defect = map?.firstDefect(size: size) else { return "" }
    return ",\n  writing into \(defect.kind.inWords) (the first at byte \(defect.offset))"
  }

  private var release: [String] {
    var lines: [String] = []
    for request in requests {
      if request.isHandleBound {
        lines.append(
          "to release it: \(request.holder) closes the file or ends, or: holdfast revoke \(Self.quoted(path))")
      } else {
        let name = request.name.isEmpty ? "" : " --name \(request.name)"
        lines.append(
          "to release it: uid \(request.uid) runs holdfast unseal \(Self.quoted(path))\(name), or: "
            + "holdfast revoke \(Self.quoted(path))\(name)")
      }
    }
    return lines.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  private var sealability: [String] {
    guard let map else { return [] }
    guard let defect = map.firstDefect(size: size) else { return ["it could be sealed as it stands"] }
    return [
      "it cannot be sealed as it stands: \(defect.kind.inWords) at byte \(defect.offset), \(defect.length) bytes long",
      "  holdfast seal --fill gives it blocks and seals; --as-is freezes it as it is (holes stay holes)",
    ]
  }

  private var otherReasons: [String] {
    var lines: [String] = []
    for runner in runners {
      lines.append(
        "opening it for writing is refused with \"Text file busy\" by the kernel, not by a seal: "
          + "process \(runner.pid) (\(runner.command)) is running it")
    }
    if isReadOnlyMount {
      lines.append("every change is refused with \"Read-only file system\": the mount is read-only")
    }
    if isImmutable {
      lines.append("every change is refused with \"Operation not permitted\": the file is immutable (chattr -i)")
    }
    if isAppendOnly {
      lines.append("changes other than appending are refused with \"Operation not permitted\": chattr -a lifts that")
    }
    return lines
  }

  /// Fit for a shell.
  public static func quoted(_ text: String) -> String {
    let isPlain =
      !text.isEmpty
      && text.utf8.allSatisfy {
        SealRequest.isValid(name: String(UnicodeScalar($0))) || "/.,+:@%".utf8.contains($0)
      }
    return isPlain
      ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }
}

/// A process and the name of its program.
public struct RunningProgram: Equatable, Sendable {
  public var pid: Int32
  public var command: String

  public init(pid: Int32, command: String) {
    self.pid = pid
    self.command = command
  }
}
