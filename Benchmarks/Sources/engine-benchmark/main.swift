/// The engine without FUSE, over memory: what each operation costs, beside copying 4 KiB as the unit of the machine.
/// Every figure of one run is of the same machine at the same time; compare the ratios, not the nanoseconds.

import BenchmarkSupport
import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

let files = 200_000
let root = RootDirectory.inode
let device = Memory(mebibytes: 1024)
let page = AlignedBuffer(byteCount: 4096)
let bytes = UnsafeRawBufferPointer(page.bytes)
let unit = measure("copy 4 KiB between far places", 200_000) { index in
  memcpy(page.bytes.baseAddress!, device.memory.bytes.baseAddress! + (index &* 7919 % 200_000) * 4096, 4096)
}
try Store.format(device, options: FormatOptions())
var options = StoreOptions()
options.backgroundThread = false
let store = try Store(mounting: device, options: options)

try measure("create", files, unit: unit) { index in _ = try store.makeFile(index) }
try measure("lookup", files, unit: unit) { index in
  _ = try named(index &* 7919 % files) { try store.lookup($0, in: root) }
}
let file = try store.makeFile(-1)
try measure("getattr", files, unit: unit) { index in _ = try store.attributes(of: 16 + UInt64(index &* 7919 % files)) }
try measure("append 4 KiB", 50_000, unit: unit) { _ in try store.append(bytes, to: file) }
try measure("overwrite 4 KiB, random", 200_000, unit: unit) { index in
  try store.overwrite(file, bytes, at: UInt64(index &* 7919 % 50_000) * 4096)
}
try measure("read 4 KiB, random", 200_000, unit: unit) { index in
  _ = try store.read(file, into: page.bytes, at: UInt64(index &* 7919 % 50_000) * 4096)
}
try measure("append 100 bytes and fsync", 20_000, unit: unit) { _ in
  try store.append(UnsafeRawBufferPointer(rebasing: bytes[..<100]), to: file)
  try store.sync(file, dataOnly: false)
}
let request = SealRequest(lifetime: .handle(1), name: "", taker: caller)
try store.syncAll()
try measure("seal and release by handle", 50_000, unit: unit) { _ in
  _ = try store.seal(request, createOnly: false, of: file)
  store.seals.handleClosed(1)
}
try measure("100 creates and a commit", 200, unit: unit) { round in
  for index in 0..<100 { _ = try store.makeFile(1_000_000 + round * 100 + index) }
  try store.syncAll()
}
try measure("unlink", files, unit: unit) { index in
  try named(index) { try store.unlink($0, in: root) }
  if index % 1000 == 999 { try store.housekeep() }
}
try store.unmount()
