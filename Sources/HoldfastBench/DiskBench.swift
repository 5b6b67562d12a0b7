/// Direct access past every page cache (O_DIRECT), against the same on the image itself.

import CPlatform
import Glibc
import HoldfastClient

public struct DiskBench {
  let path: String
  let image: String
  let byteCount: Int
  private static let large = 1 << 20
  private static let small = 4096
  private static let smallTransfers = 4_000

  public init(path: String, image: String, byteCount: Int) {
    self.path = path
    self.image = image
    self.byteCount = byteCount
  }

  public func run(_ report: (Measurement) -> Void) throws {
    var request = LayoutRequest()
    request.isWrite = true
    let layout = try Layout(try OpenFile(path, access: .readWrite), request, image: image, uncached: true)
    let extent = layout.extents[0]
    guard Int(extent.length) >= byteCount else { throw BenchmarkTrouble("\(path) is not one extent", errno: EINVAL) }
    let place = off_t(extent.physical)
    let descriptor = holdfast_open(image, O_RDWR | O_DIRECT | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw BenchmarkTrouble(image) }
    defer { close(descriptor) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.large, alignment: 4096)
    buffer.initializeMemory(as: UInt8.self, repeating: 0x44)
    defer { buffer.deallocate() }
    for size in [Self.small, Self.large] {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<size])
      let count = size == Self.small ? Self.smallTransfers : byteCount / size
      func each(_ transfer: (UInt64) throws -> Int) throws -> Double {
        var offsets = ScatteredOffsets(count: UInt64(byteCount / size), unit: UInt64(size))
        let taken = try Clock.time {
          for _ in 0..<count where try transfer(offsets.next()) != size { throw BenchmarkTrouble("O_DIRECT transfer") }
        }
        return taken / Double(count) / 1000
      }
      let reads = try Turns.run(
        { try each { try layout.read(into: part, at: $0) } },
        { try each { pread(descriptor, part.baseAddress!, size, place + off_t($0)) } })
      let writes = try Turns.run(
        { try each { try layout.write(UnsafeRawBufferPointer(part), at: $0) } },
        { try each { pwrite(descriptor, part.baseAddress!, size, place + off_t($0)) } })
      for (what, times) in [("read", reads), ("write", writes)] {
        report(
          Measurement(
            "O_DIRECT \(what), \(size >> 10) KiB at random, on a disk", against: "the same on the image", .microseconds,
            times.0, times.1, budget: .atLeast(0.97)))
      }
    }
    _ = try layout.giveBack()
  }
}
