/// Memory that a test wants swapped out.

import CMountedSupport
import Glibc

private nonisolated(unsafe) var memory: UnsafeMutableRawBufferPointer?

/// Every word of a page tells which page it is; what no page of anything else holds.
private func word(ofPage page: Int) -> UInt64 { 0x686f_6c64_6661_7374 &+ UInt64(page) }

/// `fill-memory BYTES`, `page-out`, `swapped` (KiB of this process in swap), `major-faults`,
/// `check-memory` (words that are wrong).
func memoryRequests(_ request: Request) -> Outcome? {
  let pageBytes = 4096
  switch request.name {
  case "fill-memory":
    let count: Int = request.number(1)
    guard let start = hmt_map_private(count) else { return Outcome(-1) }
    memory = UnsafeMutableRawBufferPointer(start: start, count: count)
    for offset in stride(from: 0, to: count, by: 8) {
      start.storeBytes(of: word(ofPage: offset / pageBytes), toByteOffset: offset, as: UInt64.self)
    }
    return Outcome(0)
  case "page-out":
    guard let memory else { return Outcome(0) }
    return Outcome(hmt_page_out(memory.baseAddress!, memory.count))
  case "major-faults": return Outcome(hmt_major_faults())
  case "swapped": return Outcome(swappedKibibytes())
  case "check-memory":
    guard let memory else { return Outcome(0) }
    let wrong = stride(from: 0, to: memory.count, by: 8).count {
      memory.load(fromByteOffset: $0, as: UInt64.self) != word(ofPage: $0 / pageBytes)
    }
    return Outcome(wrong)
  default: return nil
  }
}

private func swappedKibibytes() -> Int {
  guard let file = fopen("/proc/self/status", "r") else { return -1 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 256)
  while fgets(&line, Int32(line.count), file) != nil {
    let text = line.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    if text.hasPrefix("VmSwap:") {
      return Int(text.dropFirst(7).trimmingPrefix { $0 == " " || $0 == "\t" }.prefix { $0.isNumber }) ?? -1
    }
  }
  return 0
}
