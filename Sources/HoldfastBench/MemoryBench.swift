/// Direct access to a file on an image in memory (tmpfs), against the same on the image itself and through the mount.

import CPlatform
import Glibc
import HoldfastClient

public struct MemoryBench {
  /// The file, of one extent, and the image it lies on.
  let path: String
  let image: String
  let byteCount: Int
  private static let page = 4096
  /// Of the mapping that is loaded and stored: beyond every cache.
  private static let bandwidthBytes = 256 << 20
  private static let latencyBytes = 256 << 20
  private static let latencySteps = 1 << 20
  private static let transfers = 100_000
  private static let mountTransfers = 5_000
  private static let mountStoreBytes = 64 << 20

  public init(path: String, image: String, byteCount: Int) {
    self.path = path
    self.image = image
    self.byteCount = byteCount
  }

  public func run(_ report: (Measurement) -> Void) throws {
    try report(storesThroughMappings())
    let layout = try writeLayout()
    let extent = layout.extents[0]
    guard Int(extent.length) >= byteCount else { throw BenchmarkTrouble("\(path) is not one extent", errno: EINVAL) }
    let place = Int(extent.physical)
    try report(mapAndPopulate(layout, place))
    try bandwidth(layout, place).forEach(report)
    try report(latency(layout, place))
    try reads(layout, place).forEach(report)
    _ = try layout.giveBack()
  }

  private func writeLayout() throws -> Layout {
    var request = LayoutRequest()
    request.isWrite = true
    return try Layout(try OpenFile(path, access: .readWrite), request, image: image)
  }

  private func openImage(_ flags: Int32 = O_RDWR) throws -> Int32 {
    let descriptor = holdfast_open(image, flags | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw BenchmarkTrouble(image) }
    return descriptor
  }

  /// A plain mapping of the image, as any program could make one.
  private func plainMapping(_ descriptor: Int32, at place: Int, _ count: Int) throws -> UnsafeMutableRawBufferPointer {
    let start = mmap(
      nil, count, PROT_READ | PROT_WRITE, MAP_SHARED | Int32(MAP_POPULATE), descriptor, off_t(place))
    guard let start, start != MAP_FAILED else { throw BenchmarkTrouble("mmap of \(image)") }
    return UnsafeMutableRawBufferPointer(start: start, count: count)
  }

  // MARK: Mappings

  private func mapAndPopulate(_ layout: borrowing Layout, _ place: Int) throws -> Measurement {
    let descriptor = try openImage()
    defer { close(descriptor) }
    let range = 0..<UInt64(byteCount)
    func direct() throws -> Double {
      let start = Clock.now()
      let mapping = try layout.map(range, .readWrite, options: [.direct, .populate])
      let taken = Double(Clock.now() - start)
      mapping.unmap()
      return taken / 1e6
    }
    func plain() throws -> Double {
      let start = Clock.now()
      let mapping = try plainMapping(descriptor, at: place, byteCount)
      let taken = Double(Clock.now() - start)
      munmap(mapping.baseAddress, mapping.count)
      return taken / 1e6
    }
    let (value, reference) = try Turns.run(direct, plain)
    return Measurement(
      "map and populate \(byteCount >> 20) MiB, one extent", against: "mmap of the image, MAP_POPULATE", .milliseconds,
      value, reference, budget: .atMost(1.1), isSpeedRatio: false)
  }

  private func bandwidth(_ layout: borrowing Layout, _ place: Int) throws -> [Measurement] {
    let descriptor = try openImage()
    defer { close(descriptor) }
    let count = min(Self.bandwidthBytes, byteCount)
    let mapping = try layout.map(0..<UInt64(count), .readWrite, options: [.direct, .populate])
    let plain = try plainMapping(descriptor, at: place, count)
    defer { munmap(plain.baseAddress, plain.count) }
    func load(_ bytes: UnsafeMutableRawBufferPointer) -> Double {
      let words = bytes.bindMemory(to: SIMD8<UInt64>.self)
      var sum = SIMD8<UInt64>(repeating: 0)
      let taken = Clock.time { for word in words { sum &+= word } }
      consume(sum.wrappedSum())
      return Double(count) / taken
    }
    func store(_ bytes: UnsafeMutableRawBufferPointer) -> Double {
      Double(count) / Clock.time { memset(bytes.baseAddress!, 0x5a, bytes.count) }
    }
    let loads = Turns.run({ load(mapping.bytes) }, { load(plain) })
    let stores = Turns.run({ store(mapping.bytes) }, { store(plain) })
    return [
      Measurement(
        "loads from a direct mapping", against: "from a mapping of the image", .gigabytesPerSecond, loads.0, loads.1,
        budget: .atLeast(0.97)),
      Measurement(
        "stores to a direct mapping", against: "to a mapping of the image", .gigabytesPerSecond, stores.0, stores.1,
        budget: .atLeast(0.97)),
    ]
  }

  /// A chain of places, each telling the next: no load can begin before the one before it has ended.
  private func latency(_ layout: borrowing Layout, _ place: Int) throws -> Measurement {
    let descriptor = try openImage()
    defer { close(descriptor) }
    let count = min(Self.latencyBytes, byteCount)
    let mapping = try layout.map(0..<UInt64(count), .readWrite, options: [.direct, .populate])
    let plain = try plainMapping(descriptor, at: place, count)
    defer { munmap(plain.baseAddress, plain.count) }
    // One cycle through all cache lines, in the order of a full-period congruence over a power of two.
    let lines = UInt64(count / 64)
    let mask = (UInt64(1) << UInt64(63 - lines.leadingZeroBitCount)) - 1
    var line: UInt64 = 0
    for _ in 0...mask {
      let next = (line &* 1_664_525 &+ 1_013_904_223) & mask
      mapping.bytes.storeBytes(of: next * 64, toByteOffset: Int(line * 64), as: UInt64.self)
      line = next
    }
    func chase(_ bytes: UnsafeMutableRawBufferPointer) -> Double {
      let start = bytes.baseAddress!
      var at: UInt64 = 0
      let taken = Clock.time {
        for _ in 0..<Self.latencySteps { at = start.load(fromByteOffset: Int(at), as: UInt64.self) }
      }
      consume(at)
      return taken / Double(Self.latencySteps)
    }
    let (value, reference) = Turns.run({ chase(mapping.bytes) }, { chase(plain) })
    return Measurement(
      "random load from a direct mapping", against: "from a mapping of the image", .nanoseconds, value, reference,
      budget: .atLeast(0.97))
  }

  // MARK: Transfers

  private func reads(_ layout: borrowing Layout, _ place: Int) throws -> [Measurement] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.page, alignment: Self.page)
    defer { buffer.deallocate() }
    let descriptor = try openImage(O_RDONLY)
    // Beside the layout: every read comes to the daemon. As an unmodified program's would with O_DIRECT.
    let mounted = holdfast_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard mounted >= 0 else { throw BenchmarkTrouble(path) }
    defer {
      close(descriptor)
      close(mounted)
    }
    func each(_ transfers: Int, _ read: (UInt64) throws -> Int) throws -> Double {
      var offsets = ScatteredOffsets(count: UInt64(byteCount / Self.page), unit: UInt64(Self.page))
      let taken = try Clock.time {
        for _ in 0..<transfers where try read(offsets.next()) != Self.page { throw BenchmarkTrouble("read") }
      }
      return taken / Double(transfers)
    }
    func direct(_ transfers: Int) throws -> Double {
      try each(transfers) { try layout.read(into: buffer, at: $0) }
    }
    let plain = try Turns.run(
      { try direct(Self.transfers) },
      { try each(Self.transfers) { pread(descriptor, buffer.baseAddress!, Self.page, off_t($0) + off_t(place)) } })
    let through = try Turns.run(
      { try direct(Self.mountTransfers) },
      { try each(Self.mountTransfers) { pread(mounted, buffer.baseAddress!, Self.page, off_t($0)) } })
    return [
      Measurement(
        "library read, 4 KiB at random", against: "pread of the image", .nanoseconds, plain.0, plain.1,
        budget: .atLeast(0.95)),
      Measurement(
        "library read, 4 KiB at random", against: "pread through the mount, uncached", .nanoseconds, through.0,
        through.1, budget: .atLeast(10)),
    ]
  }

  /// New stores to pages that are on the device afterwards: mapped, stored to, msync'ed, unmapped.
  private func storesThroughMappings() throws -> Measurement {
    let count = min(Self.mountStoreBytes, byteCount)
    func store(_ bytes: UnsafeMutableRawBufferPointer) throws {
      memset(bytes.baseAddress!, 0x33, bytes.count)
      guard msync(bytes.baseAddress!, bytes.count, MS_SYNC) == 0 else { throw BenchmarkTrouble("msync") }
    }
    func direct() throws -> Double {
      let layout = try writeLayout()
      let taken = try Clock.time {
        let mapping = try layout.map(0..<UInt64(count), .readWrite, options: [.direct, .populate])
        try store(mapping.bytes)
        mapping.unmap()
      }
      _ = try layout.giveBack()
      return Double(count) / taken
    }
    func mounted() throws -> Double {
      let descriptor = holdfast_open(path, O_RDWR | O_CLOEXEC, 0)
      guard descriptor >= 0 else { throw BenchmarkTrouble(path) }
      defer { close(descriptor) }
      let taken = try Clock.time {
        let mapping = try plainMapping(descriptor, at: 0, count)
        try store(mapping)
        munmap(mapping.baseAddress, mapping.count)
      }
      return Double(count) / taken
    }
    let (value, reference) = try Turns.run(rounds: 5, { try whenSettled(direct) }, mounted)
    return Measurement(
      "stores through mmap and msync", against: "the same through the mount", .gigabytesPerSecond, value, reference,
      budget: .atLeast(5))
  }
}
