/// The bytes of a persistent request's record. The format layer stores them as they are; this is the only reader
/// and writer. Little-endian:
///
///      0 u8  version (1)            1 u8  kind: 0 hard, 1 breakable      2 u8 scope: 0 whole file, 1 range
///      3 u8  preparation            4 u32 grace seconds                  8 u64 range offset, 16 u64 range length
///     24 u32 uid                   28 u32 gid                           32 i32 pid
///     36 u32 ttl seconds, 0 none   40 i64 taken at, seconds since 1970  48 u64 pinned bytes
///     56 u8  name bytes            57 u8  command bytes                 58 u16 zero
///     60 name, command, UTF-8, nothing after
///
/// Fields that do not apply are zero. Bytes of any other shape are not a record: `init` answers nil.

import HoldfastBase

extension SealRequest {
  public static let persistentVersion: UInt8 = 1
  public static let maximumPersistentBytes = headerBytes + SealName.maximumBytes + Int(UInt8.max)

  private static let headerBytes = 60
  /// About 126 years. Further from now is clock trouble or hostility, and would overflow the monotonic clock.
  private static let maximumAgeSeconds: Int64 = 4_000_000_000

  public func encodePersistent() -> [UInt8] {
    let nameBytes = Array(name.utf8)
    let commandBytes = Self.truncated(command)
    precondition(nameBytes.count <= SealName.maximumBytes, "an invalid name was accepted")
    var bytes = [UInt8](repeating: 0, count: Self.headerBytes)
    bytes.withUnsafeMutableBytes { raw in
      let record = raw.baseAddress!
      record.put(Self.persistentVersion, 0)
      if case .breakable(let grace) = kind {
        record.put(UInt8(1), 1)
        record.put(grace, 4)
      }
      if case .range(let offset, let count) = scope {
        record.put(UInt8(1), 2)
        record.put(offset, 8)
        record.put(count, 16)
      }
      record.put(preparation.rawValue, 3)
      record.put(uid, 24)
      record.put(gid, 28)
      record.put(UInt32(bitPattern: pid), 32)
      record.put(ttlSeconds ?? 0, 36)
      let ageSeconds = (Clocks.monotonicNanoseconds() - takenAt) / Clocks.nanosecondsPerSecond
      record.put(Clocks.realtimeSeconds() - ageSeconds, 40)
      record.put(pinnedBytes, 48)
      record.put(UInt8(nameBytes.count), 56)
      record.put(UInt8(commandBytes.count), 57)
    }
    return bytes + nameBytes + commandBytes
  }

  /// The request of a record, with `.persistent` lifetime and its age carried on; it may have expired meanwhile.
  public init?(decodingPersistent bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= Self.headerBytes, let record = bytes.baseAddress else { return nil }
    let nameCount = Int(record.u8(56))
    let commandCount = Int(record.u8(57))
    guard record.u8(0) == Self.persistentVersion, record.u8(58) == 0, record.u8(59) == 0,
      bytes.count == Self.headerBytes + nameCount + commandCount,
      let kind = Self.kind(record.u8(1), grace: record.u32(4)),
      let scope = Self.scope(record.u8(2), offset: record.u64(8), count: record.u64(16)),
      let preparation = SealPreparation(rawValue: record.u8(3)),
      let name = String(validating: bytes[60..<60 + nameCount], as: UTF8.self), SealName.isValidOrDefault(name),
      let command = String(validating: bytes[(60 + nameCount)...], as: UTF8.self)
    else { return nil }
    let taker = Credentials(uid: record.u32(24), gid: record.u32(28), pid: Int32(bitPattern: record.u32(32)))
    let ttl = record.u32(36)
    let (age, overflowed) = Clocks.realtimeSeconds().subtractingReportingOverflow(record.i64(40))
    let ageSeconds = overflowed ? Self.maximumAgeSeconds : min(max(age, 0), Self.maximumAgeSeconds)
    self.init(
      kind: kind, scope: scope, lifetime: .persistent, name: name, taker: taker, ttlSeconds: ttl == 0 ? nil : ttl,
      preparation: preparation, command: command, pinnedBytes: record.u64(48),
      takenAt: Clocks.monotonicNanoseconds() - ageSeconds * Clocks.nanosecondsPerSecond)
  }

  public init?(decodingPersistent bytes: [UInt8]) {
    guard let request = bytes.withUnsafeBytes({ Self(decodingPersistent: $0) }) else { return nil }
    self = request
  }

  private static func kind(_ code: UInt8, grace: UInt32) -> SealKind? {
    switch code {
    case 0: grace == 0 ? .hard : nil
    case 1: grace <= SealSpecification.maximumGraceSeconds ? .breakable(graceSeconds: grace) : nil
    default: nil
    }
  }

  private static func scope(_ code: UInt8, offset: UInt64, count: UInt64) -> SealScope? {
    switch code {
    case 0: offset == 0 && count == 0 ? .wholeFile : nil
    case 1:
      count > 0 && offset <= Limits.fileBytes && count <= Limits.fileBytes - offset
        ? .range(byteOffset: offset, byteCount: count) : nil
    default: nil
    }
  }

  /// As much of a command's name as the record holds, cut between characters.
  private static func truncated(_ command: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for scalar in command.unicodeScalars {
      let encoded = UTF8.encode(scalar)!
      guard bytes.count + encoded.count <= Int(UInt8.max) else { break }
      bytes.append(contentsOf: encoded)
    }
    return bytes
  }
}
