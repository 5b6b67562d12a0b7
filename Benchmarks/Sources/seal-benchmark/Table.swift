/// The table of requests without a filesystem: acquire, release and conflict check beside so many standing requests.

import BenchmarkSupport
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

private enum Shape: String, CaseIterable {
  case hard = "hard, whole file"
  case pins = "hard pins"
  case breakablePins = "breakable pins"

  /// Request `index` of the file: of its own handle; pins lie one behind the other.
  func request(_ index: Int) -> SealRequest {
    SealRequest(
      kind: self == .breakablePins ? .breakable(graceSeconds: 30) : .hard,
      scope: self == .hard ? .wholeFile : .range(byteOffset: UInt64(index) << 13, byteCount: 4096),
      lifetime: .handle(UInt64(index + 1)), name: "", taker: caller)
  }
}

/// Far more calls than standing requests: what is measured does not grow with the calls.
private let calls = 200_000
private let sizes = [1, 1000, 100_000]

private func table(_ shape: Shape, requests: Int, files: Int) throws -> SealTable {
  let table = SealTable()
  for index in 0..<requests {
    try table.insert(shape.request(index), inode: UInt64(16 + index % files), createOnly: false, generation: 1)
  }
  return table
}

/// Of one request more, by another handle, on the first file.
private func acquireAndRelease(_ table: SealTable, _ shape: Shape, _ index: Int) throws {
  var request = shape.request(index % 1_000_000 + 200_000)
  request.lifetime = .handle(.max)
  try table.insert(request, inode: 16, createOnly: false, generation: 1)
  table.handleClosed(.max)
}

/// Whether a write into a hole may go on: it lies between pins, or a hard seal of the whole file is in the way.
private func check(_ table: SealTable, _ index: Int) -> Bool {
  let block = UInt64(index &* 7919 % 100_000) * 2 + 1
  return table.conflict(
    .fill(BlockRange(start: block, count: 1)), inode: 16, by: Actor(credentials: caller, handle: nil))
    == nil
}

func benchmarkTable() throws {
  var unit = 0.0
  for (where_, spread) in [("on one file", false), ("one on each file", true)] {
    for shape in Shape.allCases {
      for size in sizes {
        let table = try table(shape, requests: size, files: spread ? size : 1)
        let story = "\(shape.rawValue), \(size) \(where_)"
        let each = try measure("acquire + release: \(story)", calls, unit: unit > 0 ? unit : nil) {
          try acquireAndRelease(table, shape, $0)
        }
        if unit == 0 { unit = each }
        measure("conflict check: \(story)", calls, unit: unit) { _ = check(table, $0) }
      }
    }
  }
  for count in [10_000] {
    for files in [1, count] {
      for isProcess in [false, true] {
        let table = SealTable()
        for index in 0..<count {
          var request = Shape.pins.request(index)
          request.lifetime = isProcess ? .process(7) : .handle(7)
          request.name = isProcess ? "n\(index)" : ""
          try table.insert(request, inode: UInt64(16 + index % files), createOnly: false, generation: 1)
        }
        let start = now()
        if isProcess { table.processDied(7) } else { table.handleClosed(7) }
        let spent = Double(now() - start) / 1e6
        precondition(table.totalCount == 0)
        print(
          "a dead \(isProcess ? "process" : "handle") lets go of \(count) pins on \(files) files: "
            + "\(Double(Int(spent * 100)) / 100) ms (limit 100)")
      }
    }
  }
}

/// Taking a seal looks at the whole map.
func benchmarkExtents() throws {
  let device = Memory(mebibytes: 256)
  try Store.format(device, options: FormatOptions())
  var options = StoreOptions()
  options.backgroundThread = false
  let store = try Store(mounting: device, options: options)
  let page = AlignedBuffer(byteCount: 4096)
  var unit = 0.0
  for count in [1, 10_000] {
    let file = try store.makeFile(count)
    for index in 0..<count {
      try store.overwrite(file, UnsafeRawBufferPointer(page.bytes), at: UInt64(index) * 8192)
    }
    try store.syncAll()
    let request = SealRequest(lifetime: .handle(1), name: "", taker: caller, preparation: .asIs)
    let each = try measure("acquire + release as-is: a file of \(count) extents", 2000, unit: unit > 0 ? unit : nil) {
      _ in
      _ = try store.seal(request, createOnly: false, of: file)
      store.seals.handleClosed(1)
    }
    if unit == 0 { unit = each }
  }
  // The same without holes, so that every extent is looked at.
  let file = try store.makeFile(0)
  let other = try store.makeFile(-1)
  for _ in 0..<10_000 {
    try store.append(UnsafeRawBufferPointer(page.bytes), to: file)
    try store.append(UnsafeRawBufferPointer(page.bytes), to: other)
  }
  try store.syncAll()
  let extents = try store.extents(of: file, from: 0, limit: 20_000).count
  let request = SealRequest(lifetime: .handle(1), name: "", taker: caller)
  try measure("acquire + release, verified: a file of \(extents) extents", 200, unit: unit) { _ in
    _ = try store.seal(request, createOnly: false, of: file)
    store.seals.handleClosed(1)
  }
  try store.unmount()
}
