/// Seals and pins as values: held as long as they live, each by a handle of its own.

import Glibc

/// A seal of a whole file, bound to its handle: released by `release`, or by the end of its life.
public struct Seal: ~Copyable, Sendable {
  public let file: OpenFile
  private let name: String
  private var isReleased = false

  /// Takes `request` (its `range` and `lifetime` are not asked: the whole file, this handle) on a file opened for it.
  /// - Throws: what `OpenFile.seal` throws.
  public init(_ file: consuming OpenFile, _ request: SealRequest = SealRequest()) throws(ClientError) {
    var request = request
    request.range = nil
    request.lifetime = .handle
    try file.seal(request)
    self.file = file
    name = request.name
  }

  deinit {
    if !isReleased { _ = try? file.unseal(name: name) }
  }

  /// The map is free when this returns, as far as this seal goes.
  /// - Throws: `isFenced` when it had been taken away before.
  public consuming func release() throws(ClientError) {
    isReleased = true
    try file.unseal(name: name)
  }
}

/// The same for a range of bytes, rounded outward to blocks of 4096.
public struct Pin: ~Copyable, Sendable {
  public let file: OpenFile
  private let name: String
  private let offset: UInt64
  private let length: UInt64
  private var isReleased = false

  public init(
    _ file: consuming OpenFile, _ range: Range<UInt64>, _ request: SealRequest = SealRequest()
  ) throws(ClientError) {
    var request = request
    request.range = (range.lowerBound, UInt64(range.count))
    request.lifetime = .handle
    try file.seal(request)
    self.file = file
    name = request.name
    offset = range.lowerBound
    length = UInt64(range.count)
  }

  deinit {
    if !isReleased { _ = try? file.unseal(name: name, range: (offset, length)) }
  }

  /// - Throws: `isFenced` when it had been taken away before.
  public consuming func release() throws(ClientError) {
    isReleased = true
    try file.unseal(name: name, range: (offset, length))
  }
}
