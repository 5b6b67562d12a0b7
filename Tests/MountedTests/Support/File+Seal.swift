/// The ioctls of include/holdfast.h on an open file, with nothing between test and structure.

import CHoldfast
import CMountedSupport
import Glibc

extension holdfast_seal {
  init(flags: UInt32 = 0, name: String = "") {
    self.init()
    version = UInt32(HOLDFAST_ABI_VERSION)
    self.flags = flags
    withUnsafeMutableBytes(of: &self.name) { $0.copyBytes(from: name.utf8.prefix($0.count)) }
  }
}

extension holdfast_revoke {
  init(flags: UInt32) {
    self.init()
    version = UInt32(HOLDFAST_ABI_VERSION)
    self.flags = flags
  }
}

extension File {
  /// SEAL; the structure as it came back.
  @discardableResult
  func seal(_ flags: UInt32 = 0, name: String = "") throws(Errno) -> holdfast_seal {
    var argument = holdfast_seal(flags: flags, name: name)
    try control(UInt(holdfast_ioc_seal), &argument)
    return argument
  }

  @discardableResult
  func unseal(_ flags: UInt32 = 0, name: String = "") throws(Errno) -> holdfast_seal {
    var argument = holdfast_seal(flags: flags, name: name)
    try control(UInt(holdfast_ioc_unseal), &argument)
    return argument
  }

  /// PIN of so many bytes from `offset` on; the structure as it came back.
  @discardableResult
  func pin(_ offset: Int, _ count: Int, _ flags: UInt32 = 0, name: String = "") throws(Errno) -> holdfast_seal {
    try pin(holdfast_ioc_pin, offset, count, flags, name)
  }

  @discardableResult
  func unpin(_ offset: Int, _ count: Int, _ flags: UInt32 = 0, name: String = "") throws(Errno) -> holdfast_seal {
    try pin(holdfast_ioc_unpin, offset, count, flags, name)
  }

  private func pin(
    _ request: UInt32, _ offset: Int, _ count: Int, _ flags: UInt32, _ name: String
  ) throws(Errno) -> holdfast_seal {
    var argument = holdfast_seal(flags: flags, name: name)
    argument.offset = UInt64(offset)
    argument.length = UInt64(count)
    try control(UInt(request), &argument)
    return argument
  }

  /// SEAL, breakable, of the whole file.
  @discardableResult
  func sealBreakable(graceSeconds: Int, _ flags: UInt32 = 0, name: String = "") throws(Errno) -> holdfast_seal {
    var argument = holdfast_seal(flags: flags | HOLDFAST_SEAL_BREAKABLE, name: name)
    argument.grace_seconds = UInt32(graceSeconds)
    try control(UInt(holdfast_ioc_seal), &argument)
    return argument
  }

  /// PREPARE; so many bytes from `offset` on, all of the file by default.
  func prepare(_ offset: Int = 0, _ count: Int = 0) throws(Errno) {
    var argument = holdfast_prepare()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.offset = UInt64(offset)
    argument.length = UInt64(count)
    try control(UInt(holdfast_ioc_prepare), &argument)
  }

  /// PREPARE with CONTIGUOUS.
  @discardableResult
  func prepareContiguously(_ offset: Int = 0, _ count: Int = 0, alignment: Int = 0) throws(Errno) -> holdfast_prepare {
    var argument = holdfast_prepare(
      version: UInt32(HOLDFAST_ABI_VERSION), flags: HOLDFAST_PREPARE_CONTIGUOUS, offset: UInt64(offset),
      length: UInt64(count))
    argument.alignment = UInt64(alignment)
    try control(UInt(holdfast_ioc_prepare), &argument)
    return argument
  }

  /// DEFRAG; so many bytes from `offset` on, all of the file by default.
  @discardableResult
  func defragment(_ offset: Int = 0, _ count: Int = 0, flags: UInt32 = 0) throws(Errno) -> holdfast_defrag {
    var argument = holdfast_defrag()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = flags
    argument.offset = UInt64(offset)
    argument.length = UInt64(count)
    try control(UInt(holdfast_ioc_defrag), &argument)
    return argument
  }

  /// RECALL_STATUS: until the fence, nil when nobody asks.
  func recallMilliseconds() throws(Errno) -> UInt64? {
    var argument = holdfast_recall_status()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    try control(UInt(holdfast_ioc_recall_status), &argument)
    return argument.recalled == 0 ? nil : argument.remaining_ms
  }

  /// poll(2); the events there are within so many milliseconds.
  func poll(_ events: Int16, milliseconds: Int32 = 5000) throws(Errno) -> Int16 {
    var entry = pollfd(fd: descriptor, events: events, revents: 0)
    try check(Glibc.poll(&entry, 1, milliseconds))
    return entry.revents
  }

  /// REVOKE of every request of this file; how many ended.
  @discardableResult
  func revokeAll() throws(Errno) -> UInt64 {
    var argument = holdfast_revoke(flags: 0)
    try control(UInt(holdfast_ioc_revoke), &argument)
    return argument.revoked
  }

  /// One page of HOLDERS, SEALS or INFO from `offset` of snapshot `cookie` on.
  func jsonPage(_ request: UInt32, cookie: UInt64 = 0, offset: UInt64 = 0) throws -> JSONPage {
    var bytes = [UInt8](repeating: 0, count: JSONPage.byteCount)
    try bytes.withUnsafeMutableBytes { page in
      page.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), as: UInt32.self)
      page.storeBytes(of: cookie, toByteOffset: 8, as: UInt64.self)
      page.storeBytes(of: offset, toByteOffset: 16, as: UInt64.self)
      try control(UInt(request), page.baseAddress!)
    }
    return JSONPage(bytes)
  }

  /// All pages of HOLDERS, SEALS or INFO.
  func json(_ request: UInt32) throws -> [UInt8] {
    var page = try jsonPage(request)
    var text = page.text
    while UInt64(text.count) < page.total {
      page = try jsonPage(request, cookie: page.cookie, offset: UInt64(text.count))
      if page.text.isEmpty { break }
      text += page.text
    }
    return text
  }
}

/// `struct holdfast_json`, whose text is too long an array for Swift to import.
struct JSONPage {
  static let byteCount = 32 + Int(HOLDFAST_JSON_BYTES)
  let cookie: UInt64
  let total: UInt64
  let text: [UInt8]

  init(_ bytes: [UInt8]) {
    (cookie, total, text) = bytes.withUnsafeBytes { page in
      let length = Int(page.load(fromByteOffset: 4, as: UInt32.self))
      return (
        page.load(fromByteOffset: 8, as: UInt64.self), page.load(fromByteOffset: 24, as: UInt64.self),
        Array(page[32..<(32 + min(length, Int(HOLDFAST_JSON_BYTES)))])
      )
    }
  }
}

extension holdfast_prepare {
  init(version: UInt32, flags: UInt32, offset: UInt64, length: UInt64) {
    self.init()
    self.version = version
    self.flags = flags
    self.offset = offset
    self.length = length
  }
}
