import ArgumentParser
import HoldfastFuse

/// What a daemon starts beside itself while the kernel swaps to a file of its mount; of no use to people.
struct SwapGuardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "swap-guard", shouldDisplay: false)

  func run() { GuardedConnection.run() }
}
