/// Direct access on a mount that is there already: `direct-benchmark FILE IMAGE`. The file is in one run of blocks, all
/// written (`holdfast prepare --contiguous`), 256 MiB or more; what it holds is overwritten. `holdfast bench` makes
/// volumes of its own for the same measurements.

import Foundation
import HoldfastBench

guard CommandLine.arguments.count == 3 else {
  print("usage: direct-benchmark FILE IMAGE")
  exit(64)
}
let file = CommandLine.arguments[1]
let image = CommandLine.arguments[2]
let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int ?? 0
let report = { (row: Measurement) in
  print(
    "\(row.name), against \(row.reference): \(row.value) \(row.unit.rawValue), \(row.referenceValue), \(row.ratio) x")
}
try MemoryBench(path: file, image: image, byteCount: size).run(report)
try LayoutBench(folder: (file as NSString).deletingLastPathComponent, image: image).run(report)
