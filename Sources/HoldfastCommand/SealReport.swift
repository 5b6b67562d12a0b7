/// The JSON of holdfast.holders and holdfast.seals, as this command reads it.

import FoundationEssentials

/// One standing request.
public struct SealReport: Decodable, Equatable, Sendable {
  public struct Range: Equatable, Sendable {
    public var offset: UInt64
    public var length: UInt64
  }

  public var inode: UInt64?
  public var kind: String
  /// Nil: the whole file.
  public var range: Range?
  public var name: String
  public var pid: Int32
  public var uid: UInt32
  public var command: String
  public var ageMilliseconds: UInt64
  public var generation: UInt64
  public var isHandleBound: Bool
  /// By `pid=`: ends with the process.
  public var isBoundToProcess: Bool

  private enum CodingKeys: String, CodingKey {
    case lifetime
    case inode, kind, range, name, pid, uid, command, generation
    case ageMilliseconds = "age_ms"
    case isHandleBound = "handle_bound"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    inode = try values.decodeIfPresent(UInt64.self, forKey: .inode)
    kind = try values.decode(String.self, forKey: .kind)
    range = try values.decodeIfPresent(Range.self, forKey: .range)
    name = try values.decode(String.self, forKey: .name)
    pid = try values.decode(Int32.self, forKey: .pid)
    uid = try values.decode(UInt32.self, forKey: .uid)
    command = try values.decodeIfPresent(String.self, forKey: .command) ?? ""
    ageMilliseconds = try values.decodeIfPresent(UInt64.self, forKey: .ageMilliseconds) ?? 0
    generation = try values.decodeIfPresent(UInt64.self, forKey: .generation) ?? 0
    isHandleBound = try values.decodeIfPresent(Bool.self, forKey: .isHandleBound) ?? false
    isBoundToProcess = try values.decodeIfPresent(String.self, forKey: .lifetime) == "process"
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
    return "bytes \(range.offset) to \(range.offset + max(range.length, 1) - 1)"
  }

  /// `process 12 (sleep), uid 0`; a request without a process names its owner only. Named requests outlive the
  /// process that took them.
  public var holder: String {
    guard pid > 0 else { return "uid \(uid)" }
    let process = command.isEmpty ? "process \(pid)" : "process \(pid) (\(command))"
    return isBoundToProcess || isHandleBound ? "\(process), uid \(uid)" : "uid \(uid), taken by \(process)"
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
