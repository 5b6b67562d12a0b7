/// The engine without FUSE, over memory: what each operation costs, beside copying 4 KiB as the unit of the machine.
/// Every figure of one run is of the same machine at the same time; compare the ratios, not the nanoseconds.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

final class Memory: BlockDevice, @unchecked Sendable {
  let memory: AlignedBuffer
  init(mebibytes: Int) {
    memory = AlignedBuffer(byteCount: mebibytes << 20)
    super.init(byteCount: UInt64(mebibytes) << 20)
  }
  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    memcpy(buffer.baseAddress!, memory.bytes.baseAddress! + Int(offset), buffer.count)
  }
  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    memcpy(memory.bytes.baseAddress! + Int(offset), bytes.baseAddress!, bytes.count)
  }
  override func barrier() throws(FSError) {}
}

func now() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

nonisolated(unsafe) var unit = 0.0

func measure(_ what: String, _ count: Int, _ body: (Int) throws -> Void) rethrows {
  let start = now()
  for index in 0..<count { try body(index) }
  let each = Double(now() - start) / Double(count)
  if unit == 0 { unit = each }
  let name = what + String(repeating: " ", count: max(0, 34 - what.count))
  print("\(name) \(Int(each)) ns   \(Int(each / unit * 10) / 10) x")
}

let files = 200_000
let device = Memory(mebibytes: 1024)
let target = AlignedBuffer(byteCount: 4096)
measure("copy 4 KiB between far places", 200_000) { index in
  memcpy(target.bytes.baseAddress!, device.memory.bytes.baseAddress! + (index &* 7919 % 200_000) * 4096, 4096)
}
try Store.format(device, options: FormatOptions())
var options = StoreOptions()
options.backgroundThread = false
let store = try Store(mounting: device, options: options)
let caller = Credentials(uid: 0, gid: 0, pid: 1)
let root = RootDirectory.inode

func named<Result>(_ index: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
  try Array("file-\(index)".utf8).withUnsafeBytes { try body($0) }
}

try measure("create", files) { index in
  _ = try named(index) { try store.make(NewInode(mode: 0o100644, umask: 0), $0, in: root, by: caller) }
}
try measure("lookup", files) { index in
  _ = try named(index &* 7919 % files) { try store.lookup($0, in: root) }
}
let file = try named(-1) { try store.make(NewInode(mode: 0o100644, umask: 0), $0, in: root, by: caller).inode }
try measure("getattr", files) { index in
  _ = try store.attributes(of: 16 + UInt64(index &* 7919 % files))
}
try measure("append 4 KiB", 50_000) { _ in
  _ = try store.write(
    file, UnsafeRawBufferPointer(target.bytes), at: 0, append: true, dropPrivileges: false, handle: nil, by: caller)
}
try measure("overwrite 4 KiB, random", 200_000) { index in
  _ = try store.write(
    file, UnsafeRawBufferPointer(target.bytes), at: UInt64(index &* 7919 % 50_000) * 4096, append: false,
    dropPrivileges: false, handle: nil, by: caller)
}
try measure("read 4 KiB, random", 200_000) { index in
  _ = try store.read(file, into: target.bytes, at: UInt64(index &* 7919 % 50_000) * 4096)
}
try measure("append 100 bytes and fsync", 20_000) { _ in
  _ = try store.write(
    file, UnsafeRawBufferPointer(rebasing: target.bytes[..<100]), at: 0, append: true, dropPrivileges: false,
    handle: nil, by: caller)
  try store.sync(file, dataOnly: false)
}
let request = SealRequest(lifetime: .handle(1), name: "", taker: caller)
try store.syncAll()
try measure("seal and release by handle", 50_000) { _ in
  _ = try store.seal(request, createOnly: false, of: file)
  store.seals.handleClosed(1)
}
try measure("100 creates and a commit", 200) { round in
  for index in 0..<100 {
    _ = try named(1_000_000 + round * 100 + index) {
      try store.make(NewInode(mode: 0o100644, umask: 0), $0, in: root, by: caller)
    }
  }
  try store.syncAll()
}
try measure("unlink", files) { index in
  try named(index) { try store.unlink($0, in: root) }
  if index % 1000 == 999 { try store.housekeep() }
}
try store.unmount()
