/// HOLDFAST_IOC_HOLDERS, _SEALS, _INFO: JSON, paged by bytes of one snapshot. The structure is handled as
/// bytes, since Swift does not import arrays as long as its text.

import CHoldfast
import Glibc

extension OpenFile {
  /// The standing requests of this file: a JSON array (docs/CLI.md says of what).
  public func holders() throws(ClientError) -> [UInt8] { try report(holdfast_ioc_holders, .holders) }

  /// Every standing request on this file's mount: a JSON array.
  public func seals() throws(ClientError) -> [UInt8] { try report(holdfast_ioc_seals, .seals) }

  /// About the mount: a JSON object.
  public func mountInfo() throws(ClientError) -> [UInt8] { try report(holdfast_ioc_info, .info) }

  private func report(_ request: UInt32, _ operation: ClientError.Operation) throws(ClientError) -> [UInt8] {
    let buffer = ReportBuffer()
    return try PagedReport.read(operation, path: path) { (cookie, offset, text) throws(ClientError) in
      buffer.ask(cookie: cookie, offset: offset)
      let code = control(request, buffer.start)
      guard code == 0 else { throw ClientError(operation, path: path, errno: code) }
      guard let page = buffer.page else { throw ClientError(operation, path: path, errno: EIO) }
      text += page.text
      return (page.cookie, page.total)
    }
  }
}

/// Reading all pages of a snapshot, whoever hands them out.
public enum PagedReport {
  /// Each start pushes out a snapshot of somebody else, who starts over: many at once need patience, not more.
  static let maximumAttempts = 1000

  /// `page` is asked for the snapshot `cookie` (0: a new one) from `offset` on; it appends to the text and returns the
  /// cookie to go on with and the whole text's length. A snapshot dropped in between (ESTALE) is started over.
  public static func read(
    _ operation: ClientError.Operation, path: String,
    page: (_ cookie: UInt64, _ offset: UInt64, _ text: inout [UInt8]) throws(ClientError) -> (
      cookie: UInt64, total: UInt64
    )
  ) throws(ClientError) -> [UInt8] {
    var text: [UInt8] = []
    var cookie: UInt64 = 0
    var attempt = 1
    while true {
      do throws(ClientError) {
        let before = text.count
        let next = try page(cookie, UInt64(before), &text)
        if UInt64(text.count) >= next.total { return text }
        guard text.count > before else { throw ClientError(operation, path: path, errno: EIO) }
        cookie = next.cookie
      } catch {
        guard error.errno == ESTALE, cookie != 0, attempt < maximumAttempts else { throw error }
        attempt += 1
        text = []
        cookie = 0
      }
    }
  }
}

/// A `struct holdfast_json` as bytes.
private final class ReportBuffer {
  private enum Offset {
    static let version = 0, length = 4, cookie = 8, offset = 16, total = 24, text = 32
    static let byteCount = text + Int(HOLDFAST_JSON_BYTES)
  }

  let start: UnsafeMutableRawPointer

  init() {
    start = .allocate(byteCount: Offset.byteCount, alignment: 8)
    start.initializeMemory(as: UInt8.self, repeating: 0, count: Offset.byteCount)
  }

  deinit { start.deallocate() }

  func ask(cookie: UInt64, offset: UInt64) {
    start.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), toByteOffset: Offset.version, as: UInt32.self)
    start.storeBytes(of: cookie, toByteOffset: Offset.cookie, as: UInt64.self)
    start.storeBytes(of: offset, toByteOffset: Offset.offset, as: UInt64.self)
  }

  /// What came back; nil when its length is impossible.
  var page: (text: UnsafeRawBufferPointer, cookie: UInt64, total: UInt64)? {
    let length = Int(start.load(fromByteOffset: Offset.length, as: UInt32.self))
    guard length <= HOLDFAST_JSON_BYTES else { return nil }
    return (
      UnsafeRawBufferPointer(start: start + Offset.text, count: length),
      start.load(fromByteOffset: Offset.cookie, as: UInt64.self),
      start.load(fromByteOffset: Offset.total, as: UInt64.self)
    )
  }
}
