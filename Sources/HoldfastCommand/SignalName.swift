/// Signals as kill(1) takes and shows them.

public struct SignalName: Equatable, Sendable {
  /// 1 to 64.
  public var number: Int32

  /// Linux's, from 1 on.
  private static let names = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
  ]
  /// SIGRTMAX.
  private static let highest: Int32 = 64

  /// A number from 1 to 64, or a name in either case, with or without SIG. Nil for anything else.
  public init?(_ text: String) {
    let word = text.uppercased()
    let name = word.hasPrefix("SIG") ? String(word.dropFirst(3)) : word
    if let index = Self.names.firstIndex(of: name) {
      number = Int32(index) + 1
    } else if let number = Int32(text), (1...Self.highest).contains(number) {
      self.number = number
    } else {
      return nil
    }
  }
}

extension SignalName: CustomStringConvertible {
  /// `SIGTERM`; those without a name of their own as `signal 34`.
  public var description: String {
    number <= Self.names.count ? "SIG" + Self.names[Int(number) - 1] : "signal \(number)"
  }
}
