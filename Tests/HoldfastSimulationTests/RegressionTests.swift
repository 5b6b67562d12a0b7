import Testing

@testable import HoldfastSimulation

/// Logs the stress wrote when it found something, shortened; each bug keeps its own.
@Suite struct RegressionTests {
  static let logs: [(String, String)] = [
    (
      "copyRange within a file read what it had just written behind the source's end",
      """
      create 0/7 h3 448
      write h3 0 28672 442
      copy h3 25600 h3 37379 8704
      read h3 0 50000
      """
    ),
    (
      "a punched tail behind an unsynced cut",
      """
      create 0/12 h1 448
      write h1 0 2224 725
      sync h1 0
      truncate h1 1306
      fallocate h1 3 482 32768
      crash 1 3154683209
      sync h1 0
      """
    ),
    (
      "an overwrite that failed on the device took the set-user-id bit; the model wanted its bytes with that",
      """
      create 0/1 h1 2541
      write h1 0 5859 1
      sync h1 0
      device-error 1 0 1
      write h1 0 5859 3
      """
    ),
  ]

  @Test(arguments: logs) func staysFixed(_ story: String, _ text: String) throws {
    let log = try OperationLog(text: OperationLog.title + "\n" + text)
    let outcome = replayDeviceStress(log)
    #expect(outcome.failure == nil, "\(story): \(outcome.summary)")
  }
}
