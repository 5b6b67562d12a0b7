/// The JSON of holdfast.holders and holdfast.seals, as this command reads it.

import FoundationEssentials

/// One standing request.
public struct SealReport: Decodable, Equatable, Sendable {
  public struct Range: Equatable, Sendable {
    public var offset: UInt64
    public var length: UInt64

    public var end: UInt64 {
      let (end, isBeyond) = offset.addingReportingOverflow(length)
      return isBeyond ? .max : end
    }
  }

  /// What ends a request. A newer daemon may know others.
  public enum Lifetime: Equatable, Sendable {
    case handle, process, name, persistent
    /// A lock on the image, of somebody who stores into the file's blocks directly; `pid` may be unknown.
    case lease
    /// The kernel, which was told where the file's blocks are, as for a swap file; `pid` asked it to.
    case kernel
    case other(String)

    public init(_ text: String) {
      switch text {
      case "handle": self = .handle
      case "process": self = .process
      case "name": self = .name
      case "persistent": self = .persistent
      case "lease": self = .lease
      case "kernel": self = .kernel
      default: self = .other(text)
      }
    }
  }

  public var inode: UInt64?
  public var kind: String
  /// "read", "write" or "shared write": what its holder does on the image itself. Nil: a seal or a pin.
  public var layout: String?
  /// Nil: the whole file.
  public var range: Range?
  public var name: String
  public var pid: Int32
  public var uid: UInt32
  public var command: String
  public var ageMilliseconds: UInt64
  public var generation: UInt64
  public var lifetime: Lifetime
  /// Until it ends by itself; nil without a ttl.
  public var ttlMilliseconds: UInt64?
  /// Until it is fenced; nil while nobody asks its holder to let go.
  public var recallMilliseconds: UInt64?
  /// The words of `holdfast.seal` that ask for it.
  public var specification: String

  public var isBreakable: Bool { kind != "hard" }
  public var isHandleBound: Bool { lifetime == .handle }

  /// Time its holder has to let go once asked; nil for a hard request.
  public var graceSeconds: UInt64? {
    specification.split(separator: ",").first { $0.hasPrefix("breakable=") }.flatMap { UInt64($0.dropFirst(10)) }
  }

  private enum CodingKeys: String, CodingKey {
    case inode, kind, layout, range, name, pid, uid, command, generation, lifetime, specification
    case ageMilliseconds = "age_ms"
    case ttlMilliseconds = "ttl_ms"
    case recallMilliseconds = "recall_ms"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    inode = try values.decodeIfPresent(UInt64.self, forKey: .inode)
    kind = try values.decode(String.self, forKey: .kind)
    layout = try values.decodeIfPresent(String.self, forKey: .layout)
    range = try values.decodeIfPresent(Range.self, forKey: .range)
    name = try values.decode(String.self, forKey: .name)
    pid = try values.decode(Int32.self, forKey: .pid)
    uid = try values.decode(UInt32.self, forKey: .uid)
    command = try values.decodeIfPresent(String.self, forKey: .command) ?? ""
    ageMilliseconds = try values.decodeIfPresent(UInt64.self, forKey: .ageMilliseconds) ?? 0
    generation = try values.decodeIfPresent(UInt64.self, forKey: .generation) ?? 0
    lifetime = Lifetime(try values.decodeIfPresent(String.self, forKey: .lifetime) ?? "")
    ttlMilliseconds = try values.decodeIfPresent(UInt64.self, forKey: .ttlMilliseconds)
    recallMilliseconds = try values.decodeIfPresent(UInt64.self, forKey: .recallMilliseconds)
    specification = try values.decodeIfPresent(String.self, forKey: .specification) ?? ""
  }

  /// The array in `json`. - Throws: what a daemon of another version might send instead.
  public static func decode(_ json: [UInt8]) throws(CommandError) -> [SealReport] {
    do {
      return try JSONDecoder().decode([SealReport].self, from: Data(json))
    } catch {
      throw CommandError("seals", "the daemon's answer is not what this command understands (\(error))")
    }
  }
}

extension SealReport.Range: Decodable {
  private enum CodingKeys: String, CodingKey { case offset, length }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    offset = try values.decode(UInt64.self, forKey: .offset)
    length = try values.decode(UInt64.self, forKey: .length)
  }
}

extension SealReport {
  /// `bytes 4096 to 8191`, or `the whole file`.
  public var scope: String {
    guard let range else { return "the whole file" }
    return "bytes \(range.offset) to \(max(range.end, 1) - 1)"
  }

  /// `seal`, `pin`, or `layout (write)`. Fit to print.
  public var thing: String { layout.map { "layout (\($0.printable))" } ?? (range == nil ? "seal" : "pin") }

  /// `process 12 (sleep), uid 0`; a request without a process names its owner only. Named requests outlive the
  /// process that took them. Fit to print.
  public var holder: String {
    if lifetime == .kernel {
      return "the kernel (bmap)" + (pid > 0 ? ", asked by process \(pid) (\(command.printable))" : "")
    }
    guard pid > 0 else { return lifetime == .lease ? "a process not known, by a lease on the image" : "uid \(uid)" }
    let process = command.isEmpty ? "process \(pid)" : "process \(pid) (\(command.printable))"
    return switch lifetime {
    case .lease: "\(process), by a lease on the image"
    case .handle, .process: "\(process), uid \(uid)"
    default: "uid \(uid), taken by \(process)"
    }
  }

  /// What is going to happen to it: `recalled, 4 s left; ttl 50 s left`. Empty when nothing is.
  public var prospect: String {
    var parts: [String] = []
    if let recallMilliseconds { parts.append("recalled, \(Self.text(milliseconds: recallMilliseconds)) left") }
    if let ttlMilliseconds { parts.append("ttl \(Self.text(milliseconds: ttlMilliseconds)) left") }
    return parts.joined(separator: "; ")
  }

  public var age: String { Self.text(milliseconds: ageMilliseconds) }

  public static func text(milliseconds: UInt64) -> String {
    let seconds = milliseconds / 1000
    switch seconds {
    case 0: return "\(milliseconds) ms"
    case ..<120: return "\(seconds) s"
    case ..<7200: return "\(seconds / 60) min"
    case ..<172_800: return "\(seconds / 3600) h"
    default: return "\(seconds / 86_400) days"
    }
  }
}
