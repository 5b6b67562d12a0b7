/// What durability costs: syncs on a real image file beside the bare pwrite + fdatasync they are made of, group commit,
/// checkpoints and who notices them, recovery of a full journal. Takes some 20 s.
///
///   swift run -c release --package-path Benchmarks durability-benchmark [FOLDER]
///
/// FOLDER (default /var/tmp) is where the image goes, 1 GiB for the time of the run. Compare the ratios.

import BenchmarkSupport
import Foundation
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore
import Synchronization

let folder = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "/var/tmp"
let imagePath = "\(folder)/holdfast-benchmark-\(getpid()).img"
let imageBytes = 1 << 30
let page = AlignedBuffer(byteCount: 4096)

func options() -> StoreOptions {
  var options = StoreOptions()
  options.backgroundThread = false
  return options
}

/// Creates the image, all of it allocated.
func makeImage() throws -> ImageFile {
  let descriptor = open(imagePath, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
  precondition(descriptor >= 0, "cannot create \(imagePath): errno \(errno)")
  defer { close(descriptor) }
  let status = posix_fallocate(descriptor, 0, off_t(imageBytes))
  precondition(status == 0, "cannot allocate \(imagePath): errno \(status)")
  return try ImageFile(path: imagePath, mode: .readWrite)
}

func syncs() throws {
  let image = try makeImage()
  defer { unlink(imagePath) }
  // The first pass over the blocks pays for the host filesystem's own bookkeeping.
  for index in 0..<4096 { try image.write(UnsafeRawBufferPointer(page.bytes), at: UInt64(index) * 4096) }
  try image.barrier()
  let rounds = 300
  let bare = try measure("pwrite 4 KiB + fdatasync of the image", rounds) { index in
    try image.write(UnsafeRawBufferPointer(page.bytes), at: UInt64(index % 4096) * 4096)
    try image.barrier()
  }
  try Store.format(image, options: FormatOptions())
  let store = try Store(mounting: image, options: options())
  let log = try store.makeFile(0)
  try measure("append 100 bytes and fsync (two barriers)", rounds, unit: bare) { _ in
    try store.append(UnsafeRawBufferPointer(rebasing: page.bytes[..<100]), to: log)
    try store.sync(log, dataOnly: false)
  }
  let table = try store.makeFile(1)
  for _ in 0..<1024 { try store.append(UnsafeRawBufferPointer(page.bytes), to: table) }
  try store.syncAll()
  try measure("overwrite 4 KiB and fdatasync (one barrier)", rounds, unit: bare) { index in
    try store.overwrite(table, UnsafeRawBufferPointer(page.bytes), at: UInt64(index &* 7919 % 1024) * 4096)
    try store.sync(table, dataOnly: true)
  }
  let threads = 8
  let files = try (0..<threads).map { try store.makeFile(100 + $0) }
  let start = now()
  let done = DispatchSemaphore(value: 0)
  for file in files {
    Thread.detachNewThread {
      for _ in 0..<rounds {
        try! store.append(UnsafeRawBufferPointer(rebasing: page.bytes[..<100]), to: file)
        try! store.sync(file, dataOnly: false)
      }
      done.signal()
    }
  }
  for _ in files { done.wait() }
  report(
    "the same fsync by 8 threads, each (shared commits)", Double(now() - start) / Double(threads * rounds), unit: bare)
  try store.unmount()
}

/// The slowest of a hundred and of all, in nanoseconds.
func percentiles(_ samples: [UInt64]) -> (p99: Double, worst: Double) {
  let sorted = samples.sorted()
  return (Double(sorted[sorted.count * 99 / 100]), Double(sorted[sorted.count - 1]))
}

func checkpoints() throws {
  let device = Memory(mebibytes: 1024)
  try Store.format(device, options: FormatOptions())
  let store = try Store(mounting: device, options: options())
  let files = 100_000
  for index in 0..<files {
    _ = try store.makeFile(index)
    if index % 10_000 == 0 { try store.housekeep() }
  }
  @Sendable func lookups(_ count: Int) throws -> [UInt64] {
    try (0..<count).map { index in
      let start = now()
      _ = try named(index &* 7919 % files) { try store.lookup($0, in: RootDirectory.inode) }
      return now() - start
    }
  }
  _ = try lookups(50_000)
  let quiet = percentiles(try lookups(50_000))
  // Attributes of every inode change, a checkpoint writes all leaves; another thread looks names up meanwhile.
  let isDone = Atomic<Bool>(false)
  let samples = Mutex<[UInt64]>([])
  let done = DispatchSemaphore(value: 0)
  Thread.detachNewThread {
    var mine: [UInt64] = []
    while !isDone.load(ordering: .relaxed) { mine += try! lookups(1000) }
    samples.withLock { $0 = mine }
    done.signal()
  }
  var dirty = 0
  let start = now()
  for round in 0..<5 {
    for index in 0..<files {
      var changes = AttributeChanges()
      changes.mode = 0o100600 + UInt32(round)
      _ = try store.setAttributes(changes, of: 16 + UInt64(index), handle: nil, by: caller)
    }
    dirty += store.statistics.dirtyNodes
    try store.housekeep()
  }
  let spent = Double(now() - start)
  isDone.store(true, ordering: .relaxed)
  done.wait()
  let busy = percentiles(samples.withLock { $0 })
  report("chmod of a file, commits and checkpoints included", spent / Double(5 * files), unit: quiet.p99)
  report("lookup, slowest of a hundred, quiet", quiet.p99, unit: quiet.p99)
  report("lookup, slowest of a hundred, during the chmods", busy.p99, unit: quiet.p99)
  report("lookup, slowest of all, during the chmods", busy.worst, unit: quiet.p99)
  // A checkpoint by itself: the nodes of 100,000 changed inodes.
  let clean = store.statistics.checkpoint
  let unmountStart = now()
  try store.unmount()
  print(
    "\(dirty) dirty nodes before housekeeping in five rounds, \(clean) checkpoints, unmount \((now() - unmountStart) / 1_000_000) ms"
  )
}

/// Fills the journal by commits and drops the store as a crash would; then times the mount.
func recovery() throws {
  for (what, makesFiles) in [("creations", true), ("deletions of files of many extents", false)] {
    let device = Memory(mebibytes: 2048)
    try Store.format(device, options: FormatOptions(journalBlocks: Geometry.maximumJournalBlocks))
    var store = try Store(mounting: device, options: options())
    let limit = store.statistics.journalBlocks - 256
    var index = 0
    if makesFiles {
      while store.statistics.journalUsedBlocks < limit {
        _ = try store.makeFile(index)
        index += 1
        if index % 500 == 0 { try store.syncAll() }
      }
    } else {
      // Every other block of 400 files: deletions are the shortest mutations, so the most to a block.
      let files = try (0..<400).map { try store.makeFile($0) }
      for block in 0..<1200 {
        for file in files { try store.overwrite(file, UnsafeRawBufferPointer(page.bytes), at: UInt64(block) * 8192) }
        try store.housekeep()
      }
      try store.unmount()
      store = try Store(mounting: device, options: options())
      while store.statistics.journalUsedBlocks < limit, index < files.count {
        try named(index) { try store.unlink($0, in: RootDirectory.inode) }
        index += 1
        try store.housekeep()
      }
    }
    let used = store.statistics.journalUsedBlocks
    let start = now()
    let recovered = try Store(mounting: device, options: options())
    print("recovery of \(used) journal blocks (\(what)): \((now() - start) / 1_000_000) ms")
    try recovered.unmount()
  }
}

try syncs()
try checkpoints()
try recovery()
