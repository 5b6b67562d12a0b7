/// Other JSON of the daemon, as this command reads it: the mount's state, and the last refusal on a file.

import FoundationEssentials

/// What `why` looks at in HOLDFAST_IOC_INFO's object.
public struct VolumeState: Decodable, Equatable, Sendable {
  /// `sound`, `read-only` or `shut-down`.
  public var state: String
  /// What made it so; empty while sound.
  public var failure: String

  public init(state: String, failure: String) {
    self.state = state
    self.failure = failure
  }

  /// Nil for what another daemon might send instead.
  public init?(json: [UInt8]) {
    guard let value = try? JSONDecoder().decode(Self.self, from: Data(json)) else { return nil }
    self = value
  }
}

/// `holdfast.last_refusal`: a change that was refused, and the request that stood against it.
public struct RefusalReport: Decodable, Equatable, Sendable {
  public struct Request: Decodable, Equatable, Sendable {
    public var name: String
    public var uid: UInt32
    public var pid: Int32
  }

  public var change: String
  public var pid: Int32
  public var uid: UInt32
  public var ageMilliseconds: UInt64
  public var request: Request

  private enum CodingKeys: String, CodingKey {
    case change, pid, uid, request
    case ageMilliseconds = "age_ms"
  }

  /// Nil for what another daemon might send instead.
  public init?(json: [UInt8]) {
    guard let value = try? JSONDecoder().decode(Self.self, from: Data(json)) else { return nil }
    self = value
  }
}
