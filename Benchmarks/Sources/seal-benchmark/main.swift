/// What seals cost, and whether it depends on how many there are: the table by itself, then a mount.
///
///   swift run -c release --package-path Benchmarks seal-benchmark [HOLDFAST]
///
/// HOLDFAST (default .build/release/holdfast): the program to mount with, as root; an image of 512 MiB lies in /dev/shm for
/// the time of the run. Compare the ratios: figures of one table are of one run, taken by turns.

import Glibc

try benchmarkTable()
try benchmarkExtents()
let program = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : ".build/release/holdfast"
guard geteuid() == 0, access(program, X_OK) == 0 else {
  print("no mounted figures: they want root and \(program)")
  exit(0)
}
try benchmarkMount(program: program)
