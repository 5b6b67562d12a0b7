/// What the text of `holdfast.seal` asks for, and its canonical text. The parser is
/// SealSpecification+Parsing.swift; docs/ABI.md has the grammar.

import HoldfastBase

public struct SealSpecification: Equatable, Sendable {
  public enum Kind: Equatable, Sendable {
    case hard
    /// nil: the mount's default grace.
    case breakable(graceSeconds: UInt32?)
  }

  public var kind: Kind = .hard
  public var scope: SealScope = .wholeFile
  /// Bound to this process; greater than 0.
  public var pid: Int32?
  /// Sent to the process when it is asked to let go; with `pid` and breakable requests only.
  public var signal: Int32?
  /// Greater than 0.
  public var ttlSeconds: UInt32?
  public var isPersistent = false
  public var preparation: SealPreparation = .verify

  public init() {}

  /// A day, as `grace=` of the mount allows: while an operation waits for a holder, others that change the same file wait in
  /// the kernel behind it, and no signal reaches them.
  public static let maximumGraceSeconds: UInt32 = 86_400

  /// SIGRTMAX of Linux.
  public static let highestSignal: UInt32 = 64

  /// A signal is for the process that is asked.
  public var allowsSignal: Bool { pid != nil && kind != .hard }

  /// The text that parses to this value: every word that is not a default, and the kind, in a fixed order.
  public var text: String {
    var text =
      switch kind {
      case .hard: "hard"
      case .breakable(nil): "breakable"
      case .breakable(let grace?): "breakable=\(grace)"
      }
    if let pid { text += ",pid=\(pid)" }
    if let signal { text += ",signal=\(signal)" }
    if let ttlSeconds { text += ",ttl=\(ttlSeconds)" }
    if isPersistent { text += ",persistent" }
    if case .range(let offset, let count) = scope { text += ",range=\(offset)+\(count)" }
    switch preparation {
    case .verify: break
    case .fill: text += ",fill"
    case .asIs: text += ",as-is"
    }
    return text
  }
}
