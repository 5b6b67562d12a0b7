/// The fuzzer as a command: scripts/fuzz-images.sh and the tests run it.

import Glibc
import HoldfastFuzz

let usage = """
  image-fuzzer run SECONDS [SEED]      inputs SEED, SEED + 1, … for so long; exit status 1 when anything is found
  image-fuzzer input SEED [FILE]       one input, told step by step; FILE: keep it there before it runs
  image-fuzzer replay FILE…            kept inputs
  image-fuzzer make-golden FOLDER      this version's golden images, where there are none yet
  image-fuzzer worker FIRST COUNT      what `run` starts

  """

func number(_ index: Int) -> UInt64? {
  CommandLine.arguments.indices.contains(index) ? UInt64(CommandLine.arguments[index]) : nil
}

func tell(_ summary: FuzzSupervisor.Summary) {
  for (event, count) in summary.events.sorted(by: { $0.key < $1.key }) { print("  \(count) × \(event)") }
  print("\(summary.inputs) inputs, \(summary.mutations) mutations, \(summary.findings.count) findings")
  if let first = summary.findings.first { print("again: \(CommandLine.arguments[0]) input \(first.seed)") }
}

switch (CommandLine.arguments.dropFirst().first, number(2), number(3)) {
case ("run", let seconds?, let seed):
  let seed = seed ?? UInt64.random(in: 0..<1 << 60)
  FuzzWorker.say("fuzz seed \(seed)")
  var supervisor = FuzzSupervisor(executable: "/proc/self/exe")
  supervisor.onFinding = { FuzzWorker.say("FOUND by input \($0.seed): \($0.text)") }
  let summary = try supervisor.run(seed: seed, seconds: Int(seconds))
  tell(summary)
  exit(summary.findings.isEmpty ? 0 : 1)
case ("input", let seed?, _):
  var input = FuzzInput(seed: seed, bases: try GoldenImages.names.map { try FuzzBase($0) }, trace: true)
  if CommandLine.arguments.count > 3 { try Regression.save(input, to: CommandLine.arguments[3]) }
  exit(input.run().violations.isEmpty ? 0 : 1)
case ("replay", _, _):
  let bases = try GoldenImages.names.map { try FuzzBase($0) }
  FuzzWorker.limit()
  var failed = false
  for path in CommandLine.arguments.dropFirst(2) {
    var input = try Regression.load(path, bases: bases)
    let outcome = input.run()
    failed = failed || !outcome.violations.isEmpty
    print("\(path): \(outcome.violations.isEmpty ? "held" : outcome.violations.joined(separator: "; "))")
  }
  exit(failed ? 1 : 0)
case ("make-golden", _, _) where CommandLine.arguments.count == 3:
  try GoldenImages.make(in: CommandLine.arguments[2])
case ("worker", let first?, let count?):
  try FuzzWorker.run(first: first, count: count)
default:
  print(usage)
  exit(2)
}
