/// What taking and returning a layout costs, beside an ioctl that does nothing, while others hold leases. That is
/// RECALL_STATUS: FS_IOC_GETFLAGS would not do, for the kernel's FUSE opens and closes the file once more for it.

import CHoldfast
import CPlatform
import Glibc
import HoldfastClient

public struct LayoutBench {
  /// A folder on the mount, and the mounted image.
  let folder: String
  let image: String
  public static let leases = 100
  private static let rounds = 4_000

  public init(folder: String, image: String) {
    self.folder = folder
    self.image = image
  }

  public func run(_ report: (Measurement) -> Void) throws {
    let holders = try (0..<Self.leases).map { try Holder("\(folder)/leased-\($0)", image: image) }
    try withExtendedLifetime(holders) {
      let path = "\(folder)/layout"
      try Holder.make(path)
      let descriptor = holdfast_open(path, O_RDWR | O_CLOEXEC, 0)
      guard descriptor >= 0 else { throw BenchmarkTrouble(path) }
      defer { close(descriptor) }
      let get = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<holdfast_layout>.size, alignment: 8)
      defer { get.deallocate() }
      var both: [Double] = []
      var empty: [Double] = []
      var status = holdfast_recall_status()
      status.version = UInt32(HOLDFAST_ABI_VERSION)
      try whenSettled { try Self.getAndReturn(descriptor, get) }
      for _ in 0..<Self.rounds {
        empty.append(
          try Clock.time { () throws(BenchmarkTrouble) in
            guard holdfast_ioctl(descriptor, UInt(holdfast_ioc_recall_status), &status) == 0 else {
              throw BenchmarkTrouble("RECALL_STATUS")
            }
          })
        both.append(
          try Clock.time { () throws(BenchmarkTrouble) in
            try Self.getAndReturn(descriptor, get)
          })
      }
      report(
        Measurement(
          "layout get and return, \(Self.leases) leases held, p50", against: "an ioctl that does nothing",
          .microseconds, Turns.median(both) / 1000, Turns.median(empty) / 1000, budget: .atMost(4),
          isSpeedRatio: false))
    }
  }

  private static func getAndReturn(_ descriptor: Int32, _ get: UnsafeMutableRawPointer) throws(BenchmarkTrouble) {
    // The structures as docs/ABI.md has them: version, flags; layout_id at byte 32 and 8.
    memset(get, 0, 48)
    get.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), as: UInt32.self)
    get.storeBytes(of: HOLDFAST_LAYOUT_WRITE, toByteOffset: 4, as: UInt32.self)
    guard holdfast_ioctl(descriptor, UInt(holdfast_ioc_layout_get), get) == 0 else {
      throw BenchmarkTrouble("LAYOUT_GET")
    }
    var giveBack = holdfast_layout_return()
    giveBack.version = UInt32(HOLDFAST_ABI_VERSION)
    giveBack.layout_id = get.load(fromByteOffset: 32, as: UInt64.self)
    guard holdfast_ioctl(descriptor, UInt(holdfast_ioc_layout_return), &giveBack) == 0 else {
      throw BenchmarkTrouble("LAYOUT_RETURN")
    }
  }

  /// Somebody with a lease and a layout of a file of his own.
  private final class Holder {
    private let layout: Layout

    init(_ path: String, image: String) throws {
      try Self.make(path)
      var request = LayoutRequest()
      request.isWrite = true
      layout = try whenSettled { try Layout(try OpenFile(path, access: .readWrite), request, image: image) }
    }

    static func make(_ path: String) throws {
      let descriptor = holdfast_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw BenchmarkTrouble(path) }
      defer { close(descriptor) }
      let block = [UInt8](repeating: 1, count: 4096)
      guard pwrite(descriptor, block, block.count, 0) == block.count, fsync(descriptor) == 0 else {
        throw BenchmarkTrouble(path)
      }
    }
  }
}
