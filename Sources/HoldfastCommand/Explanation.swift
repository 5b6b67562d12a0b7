/// `holdfast why`: what would be refused on a file now and because of whom, in plain words. Pure: everything
/// it says follows from its fields, so that tests can say what it must say. The rules are SEMANTICS' truth table;
/// Explanation+Operations.swift goes through it.

import Glibc
import HoldfastClient

public struct Explanation: Sendable {
  public var path: String
  public var size: UInt64
  public var requests: [SealReport]
  /// The file's map; nil when it could not be read.
  public var map: FileMap?
  /// Nil when the daemon did not say.
  public var volume: VolumeState?
  public var lastRefusal: RefusalReport?
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

  public var lines: [String] {
    Self.stopped(volume) + seals + operations + release + otherReasons + past
  }

  /// Of a volume that stopped after an error; none while it is sound.
  public static func stopped(_ volume: VolumeState?) -> [String] {
    switch volume?.state {
    case nil, "sound": []
    case "shut-down":
      [
        "the volume was shut down after an error (\(volume!.failure.printable)): everything answers "
          + "\"Input/output error\" until it is unmounted, checked and mounted again"
      ]
    default:
      [
        "the volume became read-only after an error (\(volume!.failure.printable)): every change is refused with "
          + "\"Read-only file system\" until it is unmounted, checked and mounted again"
      ]
    }
  }

  /// Requests told one by one; a pinned file may have tens of thousands.
  static let maximumListed = 20

  private var seals: [String] {
    guard !requests.isEmpty else { return ["\(path.printable): not sealed"] + sealability }
    let count = requests.count == 1 ? "1 request" : "\(requests.count) requests"
    var lines = ["\(path.printable): sealed (\(count))"]
    for (index, request) in requests.prefix(Self.maximumListed).enumerated() {
      lines.append("  \(index + 1). \(Self.text(request))")
    }
    if requests.count > Self.maximumListed {
      lines.append("  and \(requests.count - Self.maximumListed) more: holdfast seals \(path.shellQuoted)")
    }
    return lines
  }

  private static func text(_ request: SealReport) -> String {
    let bound =
      switch request.lifetime {
      case .handle: ", bound to an open handle"
      case .process: ", bound to the process"
      case .persistent: ", persistent"
      case .other(let word) where !word.isEmpty && word != "named": ", bound to: \(word.printable)"
      default: ""
      }
    let prospect = request.prospect.isEmpty ? "" : "; \(request.prospect)"
    return "\(request.kind.printable) \(request.thing) on \(request.scope): \(request.name.asRequest) of "
      + "\(request.holder), \(request.age) old\(bound)\(prospect)"
  }

  private var release: [String] {
    let lines = requests.map { request -> String in
      let file = path.shellQuoted
      let name = request.name.isEmpty ? "" : " --name \(request.name.shellQuoted)"
      return switch request.lifetime {
      case .handle: "to release it: \(request.holder) closes the file or ends, or: holdfast revoke \(file)"
      case .lease:
        "to release it: the process that stores into its blocks directly ends (its lock on the image is in /proc/locks); "
          + "to change the file before, its blocks kept from everybody: holdfast revoke \(file)"
      case .kernel:
        "to release it: swapoff \(file), where the machine swaps to it, and close the file; to change it before, its "
          + "blocks kept from everybody: holdfast revoke \(file)"
      case .process:
        "to release it: process \(request.pid) ends, uid \(request.uid) runs holdfast unseal \(file)\(name), or: "
          + "holdfast revoke \(file)\(name)"
      case .name, .persistent, .other:
        "to release it: uid \(request.uid) runs holdfast unseal \(file)\(name), or: holdfast revoke \(file)\(name)"
      }
    }
    var seen: Set<String> = []
    let distinct = lines.filter { seen.insert($0).inserted }
    let more = distinct.count - Self.maximumListed
    return distinct.prefix(Self.maximumListed) + (more > 0 ? ["and likewise \(more) others"] : [])
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
          + "process \(runner.pid) (\(runner.command.printable)) is running it")
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

  private var past: [String] {
    guard let refusal = lastRefusal else { return [] }
    let by = refusal.pid > 0 ? "process \(refusal.pid), uid \(refusal.uid)" : "no process of its own (writeback)"
    let holder = refusal.request.pid > 0 ? ", taken by process \(refusal.request.pid)" : ""
    return [
      "last refused: \(Self.inWords(change: refusal.change)) by \(by), "
        + "\(SealReport.text(milliseconds: refusal.ageMilliseconds)) ago, because of \(refusal.request.name.asRequest) of uid "
        + "\(refusal.request.uid)\(holder)"
    ]
  }

  private static func inWords(change: String) -> String {
    switch change {
    case "fill": "giving blocks to a hole or to unwritten or shared blocks"
    case "grow": "growing"
    case "truncate": "truncating"
    case "punch": "punching a hole or zeroing a range"
    case "shift": "collapsing or inserting a range"
    case "share": "sharing blocks"
    case "relocate": "moving blocks"
    default: change.printable
    }
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
