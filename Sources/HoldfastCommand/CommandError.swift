/// How a subcommand fails: one line `holdfast: what: why` on stderr and an exit status.

import Glibc

public struct CommandError: Error, Equatable, Sendable {
  /// The thing that could not be done, or the path it was to be done to.
  public var what: String
  public var why: String
  public var exitStatus: Int32

  public init(_ what: String, _ why: String, exitStatus: Int32 = 1) {
    self.what = what
    self.why = why
    self.exitStatus = exitStatus
  }

  /// From a line that says `what: why` already.
  public init(line: String) {
    let halves = line.split(separator: ":", maxSplits: 1).map(String.init)
    self.init(halves.first ?? "failed", halves.count > 1 ? String(halves[1].drop { $0 == " " }) : "failed")
  }

  /// `what` failed with the errno of a system call.
  public init(_ what: String, errno code: Int32, exitStatus: Int32 = 1) {
    self.init(what, String(cString: strerror(code)), exitStatus: exitStatus)
  }
}

extension CommandError: CustomStringConvertible {
  public var description: String { "\(what): \(why)" }
}
