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

  /// Offsets in `struct holdfast_json`.
  private enum Page {
    static let version = 0, length = 4, cookie = 8, offset = 16, total = 24, text = 32
    static let byteCount = text + Int(HOLDFAST_JSON_BYTES)
  }

  private func report(_ request: UInt32, _ operation: ClientError.Operation) throws(ClientError) -> [UInt8] {
    let page = UnsafeMutableRawPointer.allocate(byteCount: Page.byteCount, alignment: 8)
    defer { page.deallocate() }
    page.initializeMemory(as: UInt8.self, repeating: 0, count: Page.byteCount)
    var text: [UInt8] = []
    while true {
      page.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), toByteOffset: Page.version, as: UInt32.self)
      page.storeBytes(of: UInt64(text.count), toByteOffset: Page.offset, as: UInt64.self)
      let code = control(request, page)
      guard code == 0 else { throw ClientError(operation, path: path, errno: code) }
      let length = Int(page.load(fromByteOffset: Page.length, as: UInt32.self))
      let total = page.load(fromByteOffset: Page.total, as: UInt64.self)
      guard length <= HOLDFAST_JSON_BYTES, length > 0 || UInt64(text.count) >= total else {
        throw ClientError(operation, path: path, errno: EIO)
      }
      text += UnsafeRawBufferPointer(start: page + Page.text, count: length)
      if UInt64(text.count) >= total { return text }
    }
  }
}
