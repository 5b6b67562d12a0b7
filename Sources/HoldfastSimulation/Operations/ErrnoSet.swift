/// A small set of error numbers: what an operation may answer.

import Glibc

public struct ErrnoSet: Equatable, Sendable, ExpressibleByArrayLiteral {
  private var low: UInt64 = 0
  private var high: UInt64 = 0

  public init() {}
  public init(arrayLiteral elements: Int32...) {
    for code in elements { insert(code) }
  }

  public var isEmpty: Bool { low | high == 0 }

  public mutating func insert(_ code: Int32) {
    if code < 64 { low |= 1 << UInt64(code) } else { high |= 1 << UInt64(code & 63) }
  }

  public func contains(_ code: Int32) -> Bool {
    guard code > 0, code < 128 else { return false }
    return code < 64 ? low & (1 << UInt64(code)) != 0 : high & (1 << UInt64(code & 63)) != 0
  }

  public func union(_ other: ErrnoSet) -> ErrnoSet {
    var result = self
    result.low |= other.low
    result.high |= other.high
    return result
  }

  public var codes: [Int32] { (1..<128).filter { contains($0) } }
}

/// The name of an error number, for reports: "ETXTBSY".
public func errnoName(_ code: Int32) -> String { names[code] ?? "errno \(code)" }

private let names: [Int32: String] = [
  0: "success", EPERM: "EPERM", ENOENT: "ENOENT", EINTR: "EINTR", EIO: "EIO", ENXIO: "ENXIO", E2BIG: "E2BIG",
  EBADF: "EBADF", EAGAIN: "EAGAIN", ENOMEM: "ENOMEM", EACCES: "EACCES", EBUSY: "EBUSY", EEXIST: "EEXIST",
  EXDEV: "EXDEV", ENODEV: "ENODEV", ENOTDIR: "ENOTDIR", EISDIR: "EISDIR", EINVAL: "EINVAL", EMFILE: "EMFILE",
  ENOTTY: "ENOTTY", ETXTBSY: "ETXTBSY", EFBIG: "EFBIG", ENOSPC: "ENOSPC", EROFS: "EROFS", EMLINK: "EMLINK",
  ERANGE: "ERANGE", ENAMETOOLONG: "ENAMETOOLONG", ENOSYS: "ENOSYS", ENOTEMPTY: "ENOTEMPTY", ELOOP: "ELOOP",
  ENODATA: "ENODATA", EOVERFLOW: "EOVERFLOW", EOPNOTSUPP: "EOPNOTSUPP", ENOTCONN: "ENOTCONN", ESTALE: "ESTALE",
  EDQUOT: "EDQUOT", ETIME: "ETIME", ESRCH: "ESRCH", ECONNABORTED: "ECONNABORTED",
]

extension ErrnoSet: CustomStringConvertible {
  public var description: String {
    isEmpty ? "success" : codes.map(errnoName).joined(separator: " or ")
  }
}
